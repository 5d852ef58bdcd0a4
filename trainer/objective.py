"""A network together with the losses it is trained by, as one module over whole batches."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.distributed import gathered
from trainer.losses import (
    IdentityTable,
    SmoothedClassifier,
    hard_triplet_loss,
    likeness_loss,
    pair_loss,
)
from trainer.model import GRL
from trainer.model.backbones import imagenet_normalised
from trainer.recipes import Mode, Recipe


class Objective(nn.Module):
    """Loss = identity(each f_t) + identity(p) + identity(u) + w·pair(p) + triplet(p) (+ teacher).

    Identity losses of f and p share their vectors of each identity, u has its own. In causal mode p
    and u exist after every frame, and each prefix is judged like a clip; in mean mode f_t is the
    averaged map of a frame, p their mean, and there is no u and no pair head.
    """

    def __init__(self, network: GRL, identities: int, recipe: Recipe, mode: Mode) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.mode = mode
        self.identity_high = self._identity_loss(identities)
        self.identity_low = self._identity_loss(identities)
        others = min(recipe.family, identities) - 1
        self.alike: Tensor
        """(identities, family − 1): who looked most like each when they were met."""
        self.register_buffer("alike", torch.zeros(identities, others, dtype=torch.int64))
        self._rest_what_is_not_used()

    def forward(
        self, clips: Tensor, labels: Tensor, target: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Weighted terms whose sum is the loss, over the clips of all processes together.

        clips (B, T, H, W, 3) uint8 BGR, rows of a pair side by side; labels (B,) from 0; target
        (B, E): what a teacher says of the clips.
        """
        f, p, u, embedding = self._vectors(normalised(clips))
        with torch.autocast(clips.device.type, enabled=False):
            f, p = gathered(f.float()), gathered(p.float())
            labels = gathered(labels)
            terms = {
                "frames": self._identity(self.identity_high, f, labels),
                "pooled": self._identity(self.identity_high, p, labels),
                "triplet": hard_triplet_loss(p.transpose(0, 1), labels),
            }
            if u is not None:
                terms["low"] = self._identity(self.identity_low, gathered(u.float()), labels)
                terms["pairs"] = self.recipe.pair_weight * self._pairs(p, labels)
            if target is not None:
                student = gathered(embedding.float()).transpose(0, 1)
                distance = likeness_loss(student, gathered(target.float()))
                terms["teacher"] = self.recipe.teacher_weight * distance
        return terms

    @torch.no_grad()
    def meet(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Let the vector of each identity start at what the network already says of that person.

        batches: clips and labels as for `forward`. Whoever is in none keeps the vector there was.
        """
        losses = self.identity_high, self.identity_low
        sums = [torch.zeros_like(loss.vectors) for loss in losses]
        self.eval()
        for clips, mine in batches:
            f, _, u, _ = self._vectors(normalised(clips))
            labels = gathered(mine)
            for total, vectors in zip(sums, (f, u), strict=True):
                if vectors is not None:
                    total.index_add_(0, labels, gathered(vectors.float().mean(dim=1)))
        self.train()
        for loss, total in zip(losses, sums, strict=True):
            met = total.norm(dim=1) > 0
            loss.vectors[met] = F.normalize(total[met], dim=1)
        if self.alike.numel():
            vectors = F.normalize(self.identity_high.vectors, dim=1)
            cosines = (vectors @ vectors.T).fill_diagonal_(-1.0)
            self.alike.copy_(cosines.topk(self.alike.shape[1], dim=1).indices)

    def parameter_groups(self) -> list[dict[str, object]]:
        """Parameters with their rates: backbone and GCE as given, everything else scaled."""
        slow = {
            id(parameter)
            for part in (self.network.backbone, self.network.correlation)
            for parameter in part.parameters()
        }
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        recipe = self.recipe
        return [
            {"params": [p for p in trained if id(p) in slow], "lr": recipe.lr},
            {
                "params": [p for p in trained if id(p) not in slow],
                "lr": recipe.lr * recipe.head_lr,
            },
        ]

    def _vectors(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """f (B, T, C), p and u (B, P, C) and the embedding (B, P, E) after each of P prefixes."""
        if self.mode is Mode.MEAN:
            frames = self.network.features(clips).mean(dim=(-2, -1))
            mean = frames.mean(dim=1, keepdim=True)
            return F.normalize(frames, dim=-1), F.normalize(mean, dim=-1), None, mean
        if self.mode is Mode.CAUSAL:
            causal = self.network.causal_outputs(clips)
            return causal.high, causal.pooled, causal.low, causal.embedding
        clip = self.network(clips)
        return clip.high, clip.pooled[:, None], clip.low[:, None], clip.embedding[:, None]

    def _identity(self, loss: nn.Module, vectors: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = loss(vectors.flatten(0, 1), labels.repeat_interleave(vectors.shape[1]))
        return value

    def _pairs(self, p: Tensor, labels: Tensor) -> Tensor:
        """Every first of a pair against every second, after whichever prefixes."""
        prefixes = p.shape[1]
        first, second = p[0::2].flatten(0, 1), p[1::2].flatten(0, 1)
        whose = labels[0::2].repeat_interleave(prefixes), labels[1::2].repeat_interleave(prefixes)
        scores: Tensor = self.network.pair_pooled(first, second)
        return pair_loss(scores, whose[0][:, None] == whose[1][None])

    def _identity_loss(self, identities: int) -> IdentityTable | SmoothedClassifier:
        if self.recipe.identity == "oim":
            return IdentityTable(identities, self.network.channels)
        return SmoothedClassifier(identities, self.network.channels)

    def _rest_what_is_not_used(self) -> None:
        """Processes wait for the gradient of every parameter that wants one."""
        network = self.network
        unused: list[nn.Module] = [network.pair_low]
        if self.mode is Mode.CAUSAL:
            unused.append(network.backward_in_time)
        if self.mode is Mode.MEAN:
            unused += [m for name, m in network.named_children() if name != "backbone"]
            unused.append(self.identity_low)
        for module in unused:
            module.requires_grad_(False)


def normalised(clips: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) BGR to the networks' input (B, T, 3, H, W)."""
    crops = imagenet_normalised(clips.flatten(0, 1))
    return crops.view(*clips.shape[:2], *crops.shape[1:])
