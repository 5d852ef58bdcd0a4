"""What a training step adds up, and which weights it moves."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.trainer.tiny_training import CHANNELS, QUICK, TABLES, tiny_network
from trainer.losses import hard_triplet_loss
from trainer.objective import Objective, normalised
from trainer.recipes import Mode

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


@pytest.fixture
def clips() -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (6, 3, 32, 16, 3), dtype=torch.uint8, generator=generator)


def test_the_paper_s_sum(clips):
    """OIM(each f_t) + OIM(p) + 20·BCE(pair score of p) + triplet(p) + OIM(u), from the outputs."""
    objective = Objective(tiny_network(), 5, TABLES, Mode.CLIP).eval()
    generator = torch.Generator().manual_seed(5)
    tables = torch.randn(2, 5, CHANNELS, generator=generator)
    objective.identity_high.table, objective.identity_low.table = F.normalize(tables, dim=-1)
    high, low = objective.identity_high.table, objective.identity_low.table
    with torch.inference_mode():
        out = objective.network(normalised(clips))
        terms = objective(clips, LABELS)
        scores = objective.network.pair_pooled(out.pooled[0::2], out.pooled[1::2])
        frames = [F.cross_entropy(30 * out.high[:, t] @ high.T, LABELS) for t in range(3)]
        wanted = {
            "frames": sum(frames) / 3,
            "pooled": F.cross_entropy(30 * out.pooled @ high.T, LABELS),
            "low": F.cross_entropy(30 * out.low @ low.T, LABELS),
            "triplet": hard_triplet_loss(out.pooled, LABELS),
            # Firsts against seconds: the same person on the diagonal only.
            "pairs": 20 * F.cross_entropy(scores.flatten(0, 1), torch.eye(3).long().flatten()),
        }
    assert terms.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recipe", [TABLES, QUICK])
def test_identities_start_at_what_the_network_says_of_them(clips, recipe):
    """The mean of an identity's vectors at length 1; whoever is not shown keeps what there was."""
    objective = Objective(tiny_network(), 4, recipe, Mode.CAUSAL)
    labels = torch.tensor([0, 0, 2, 2, 1, 1])
    before = objective.identity_high.vectors[3].clone()
    objective.meet([(clips[:4], labels[:4]), (clips[4:], labels[4:])])
    assert objective.training
    with torch.inference_mode():
        f = objective.network.eval().causal_outputs(normalised(clips)).high
    for identity, rows in ((0, f[:2]), (2, f[2:4]), (1, f[4:])):
        wanted = F.normalize(rows.flatten(0, 1).mean(dim=0), dim=0)
        torch.testing.assert_close(objective.identity_high.vectors[identity], wanted)
    assert torch.equal(objective.identity_high.vectors[3], before)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("recipe", [TABLES, QUICK])
def test_every_weight_that_wants_a_gradient_gets_one(clips, mode, recipe):
    """Processes would wait for the others for ever."""
    objective = Objective(tiny_network(), 3, recipe, mode)
    objective(clips, LABELS)  # fills the tables
    objective.zero_grad(set_to_none=True)
    sum(objective(clips, LABELS).values()).backward()
    idle = [n for n, p in objective.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    backward = objective.network.backward_in_time.parameters()
    assert all(p.requires_grad == (mode is Mode.CLIP) for p in backward)


def test_every_prefix_is_trained(clips):
    """What is said after the first frame alone moves the weights too."""
    objective = Objective(tiny_network(), 3, QUICK, Mode.CAUSAL).eval()
    whole = objective(clips, LABELS)
    changed = clips.clone()
    changed[:, 1:] = 0
    assert objective(changed, LABELS)["pooled"] != whole["pooled"]
    f, p, u, embedding = objective._vectors(normalised(clips))
    after_one = objective._vectors(normalised(clips[:, :1]))
    for vectors, first in zip((f, p, u, embedding), after_one, strict=True):
        torch.testing.assert_close(vectors[:, :1], first, rtol=1e-4, atol=1e-5)


def test_a_teacher_pulls_every_prefix(clips):
    torch.manual_seed(0)
    objective = Objective(tiny_network(1), 3, replace(QUICK, teacher_weight=1.0), Mode.CAUSAL)
    target = tiny_network(2).eval()(normalised(clips)).embedding.detach()
    optimiser = torch.optim.Adam(objective.parameters(), 3e-3)
    distances = []
    for _ in range(30):
        distance = objective(clips, LABELS, target)["teacher"]
        optimiser.zero_grad()
        distance.backward()
        optimiser.step()
        distances.append(float(distance.detach()))
    assert distances[-1] < 0.5 * distances[0]


def test_backbone_and_correlation_learn_at_half_the_rate_of_the_rest():
    network = tiny_network()
    slow, fast = Objective(network, 3, TABLES, Mode.CLIP).parameter_groups()
    counted = sum(
        p.numel() for part in (network.backbone, network.correlation) for p in part.parameters()
    )
    assert sum(p.numel() for p in slow["params"]) == counted
    assert fast["lr"] == 2 * slow["lr"]
