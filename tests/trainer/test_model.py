"""The network against the reference's numbers, and its three modes against one another."""

import copy
import time

import numpy as np
import pytest
import torch
from torch import nn

from engines.streaming import REMEMBERED
from trainer.errors import WeightsError
from trainer.model import GRL, create_model, load_model, save_model
from trainer.model.grl import REMEMBERED_SEGMENTS, SEGMENT
from trainer.model.pooling import PoolingHead

SIZE = (64, 32)  # small crops keep the long sequences affordable


def random_crops(seed: int, *shape: int, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.randn(*shape, 3, *size, generator=torch.Generator().manual_seed(seed))


def state_norm(state) -> float:
    return float(torch.cat([tensor.flatten() for tensor in state]).norm())


# ---- clip mode: golden/grl_reference.npz --------------------------------------------------------


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "grl_reference.npz")


@pytest.fixture(scope="module")
def clip_output(golden_grl):
    rng = np.random.Generator(np.random.PCG64(20210307))
    clip = np.kron(rng.normal(0, 1.5, (2, 8, 3, 8, 4)), np.ones((1, 1, 1, 32, 32)))
    with torch.no_grad():
        return golden_grl(torch.from_numpy(clip.astype(np.float32)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("correlation", "corr_map"),
        ("low", "uncorr"),
        ("high", "corr"),
        ("pooled", "attention"),
        ("embedding", "feature"),
    ],
)
def test_clip_mode_gives_the_reference_numbers(clip_output, reference, ours, theirs):
    value = getattr(clip_output, ours).numpy().reshape(reference[theirs].shape)
    np.testing.assert_allclose(value, reference[theirs], atol=1e-5, rtol=0)


@torch.no_grad()
def test_pair_heads_give_the_reference_scores(golden_grl, clip_output, reference):
    f, u = clip_output.high, clip_output.low
    firsts, seconds = f, 0.9 * f.flip(1)
    pooled = golden_grl.pooling(torch.cat([firsts, seconds]), torch.ones(1, 1, 8))[:, 0]
    np.testing.assert_allclose(pooled[:, :256].numpy(), reference["siamese_out"], atol=1e-5, rtol=0)
    scores = golden_grl.pair_pooled(pooled[:2], pooled[2:])
    np.testing.assert_allclose(scores.numpy(), reference["siamese_scores"], atol=1e-5, rtol=0)
    rolled = torch.stack([u[0].roll(3), u[1].roll(3)])
    scores = golden_grl.pair_low(u, rolled)
    np.testing.assert_allclose(scores.numpy(), reference["siamese_video_scores"], atol=1e-5, rtol=0)


# ---- any length, any size ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grl-r50", "grl-edge"])
@pytest.mark.parametrize(("frames", "size"), [(1, (256, 128)), (3, (70, 200)), (9, (64, 32))])
@torch.no_grad()
def test_takes_any_length_and_size(name, frames, size):
    model = create_model(name).eval()
    output = model(random_crops(0, 2, frames, size=size))
    rows, columns = -(-size[0] // 16), -(-size[1] // 16)
    assert output.correlation.shape == (2, frames, 1, rows, columns)
    assert output.high.shape == (2, frames, model.channels)
    assert output.embedding.shape == (2, model.embedding_size) == (2, 3 * model.channels)
    assert output.embedding.isfinite().all()


def test_pooling_is_the_papers_attention():
    """Against softmax attention as written in the paper, frame by frame, for prefixes too."""
    torch.manual_seed(5)
    head = PoolingHead(32).eval()
    f = torch.nn.functional.normalize(torch.randn(3, 6, 32), dim=-1)
    got = head(f, torch.ones(6, 6).tril()[None])
    for t in range(1, 7):
        part = f[:, :t]
        Q = torch.nn.functional.normalize(
            head.query_norm(head.query(part).transpose(1, 2)).transpose(1, 2), dim=-1
        )
        K = torch.nn.functional.normalize(
            head.key_norm(head.key(part).transpose(1, 2)).transpose(1, 2), dim=-1
        )
        A = torch.softmax(Q @ K.transpose(1, 2), dim=-1)
        want = torch.nn.functional.normalize((A @ part).sum(dim=1), dim=-1)
        torch.testing.assert_close(got[:, t - 1], want, atol=1e-6, rtol=0)


@torch.no_grad()
def test_maps_stay_bounded_though_a_channel_hardly_ever_fires():
    """Such a channel's BatchNorm multiplies by hundreds whatever does come through."""
    torch.manual_seed(6)
    model = create_model("grl-edge").eval()
    for module in model.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var[:2] = 1e-12
    maps = model.features(5 * random_crops(8, 2, 2))
    assert maps.max() <= 6
    assert maps.std() > 0


# ---- stream ---------------------------------------------------------------------------------------


@torch.no_grad()
def stream(model, clips: torch.Tensor) -> torch.Tensor:
    """The embedding after each frame of clips (B, T, 3, H, W), one step at a time."""
    state = model.initial_state(len(clips), clips.shape[-2:])
    out = []
    for crops in clips.unbind(1):
        embedding, state = model.step(crops, state)
        out.append(embedding)
    return torch.stack(out, dim=1)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 16, 23, 40])
@torch.no_grad()
def test_step_equals_causal_at_every_frame(lively_edge, length):
    clips = random_crops(length, 2, length)
    torch.testing.assert_close(
        stream(lively_edge, clips), lively_edge.causal(clips), atol=1e-4, rtol=0
    )


@torch.no_grad()
def test_step_equals_causal_with_the_reference_weights(golden_grl):
    clips = random_crops(3, 1, 18)
    torch.testing.assert_close(
        stream(golden_grl, clips), golden_grl.causal(clips), atol=1e-4, rtol=0
    )


@torch.no_grad()
def test_causal_knows_only_the_past(lively_edge):
    clips = random_crops(1, 1, 12)
    changed = clips.clone()
    changed[:, 9:] += 1
    before, after = lively_edge.causal(clips), lively_edge.causal(changed)
    torch.testing.assert_close(before[:, :9], after[:, :9], atol=1e-5, rtol=0)
    assert (before[:, 9:] - after[:, 9:]).abs().max() > 1e-3


@torch.no_grad()
def test_a_finished_segment_is_folded_into_the_mean_of_clips(lively_edge):
    """The published protocol: a long tracklet's embedding is the mean over its 8-frame clips."""
    clips = random_crops(4, 1, 24)
    each = torch.stack([lively_edge.causal(part)[:, -1] for part in clips.split(SEGMENT, dim=1)])
    torch.testing.assert_close(
        lively_edge.causal(clips)[:, -1], each.mean(dim=0), atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_one_frame_of_a_stream_is_the_clip_of_one_frame_seen_forward(golden_grl):
    """With one frame there is no order, so only the missing direction may tell the two modes apart."""
    crops = random_crops(8, 2, 1)
    high = golden_grl.clip(golden_grl.features(crops)).correlation
    torch.testing.assert_close(
        golden_grl.causal_outputs(crops).correlation, high, atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_tracklets_in_a_batch_do_not_touch_one_another(lively_edge):
    """Six tracklets of different ages, batched in changing company and order, against each alone."""
    lengths = [1, 5, 8, 9, 14, 17]
    clips = random_crops(9, len(lengths), max(lengths))
    alone = [stream(lively_edge, clips[i : i + 1, :n])[0, -1] for i, n in enumerate(lengths)]
    rng = np.random.default_rng(2)
    state = lively_edge.initial_state(len(lengths), SIZE)
    tensors = [tensor.clone() for tensor in state]
    seen = np.zeros(len(lengths), int)
    last: dict[int, torch.Tensor] = {}
    while (seen < lengths).any():
        waiting = np.flatnonzero(seen < lengths)
        chosen = rng.permutation(waiting)[: rng.integers(1, len(waiting) + 1)]
        crops = torch.stack([clips[i, seen[i]] for i in chosen])
        embedding, after = lively_edge.step(crops, type(state)(*(t[chosen] for t in tensors)))
        for tensor, row in zip(tensors, after, strict=True):
            tensor[chosen] = row
        last |= {int(i): e for i, e in zip(chosen, embedding, strict=True)}
        seen[chosen] += 1
    for i, want in enumerate(alone):
        torch.testing.assert_close(last[i], want, atol=1e-5, rtol=0)


class Pebbles(nn.Module):
    """The smallest backbone that there can be: the recurrence over it is the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 32, 16, 16), nn.ReLU())

    def forward(self, crops):
        return self.net(crops)


@torch.no_grad()
def test_ten_thousand_steps_stay_bounded(one_thread):
    torch.manual_seed(4)
    model = GRL(Pebbles(), 32, SIZE).eval()
    state, crops = model.initial_state(1), random_crops(6, 97)
    norms = []
    for i in range(10_000):
        embedding, state = model.step(crops[i % 97][None], state)
        norms.append(state_norm(state))
    assert embedding.isfinite().all()
    assert max(norms[64:]) <= 1.5 * max(norms[:64])
    assert float(state.count[0, 1]) == 1  # all the segments that are remembered
    old, new = state, model.initial_state(1)
    seconds = np.zeros((500, 2))
    for i in range(500):  # in turn, for the machine may be busy with other things
        begin = time.perf_counter()
        _, new = model.step(crops[i % 97][None], new)
        between = time.perf_counter()
        _, old = model.step(crops[i % 97][None], old)
        seconds[i] = between - begin, time.perf_counter() - between
    young, aged = np.median(seconds, axis=0)
    assert aged < 1.5 * young


@torch.no_grad()
def test_the_reference_weights_stay_bounded(golden_grl, one_thread):
    """Without segments these very weights overflow float32 within 200 frames."""
    state, norms = golden_grl.initial_state(1, SIZE), []
    crops = random_crops(7, 16)
    for i in range(128):
        embedding, state = golden_grl.step(crops[i % 16][None], state)
        norms.append(state_norm(state))
    assert embedding.isfinite().all()
    assert max(norms[64:]) <= 1.5 * max(norms[:64])


# ---- window ---------------------------------------------------------------------------------------


@torch.no_grad()
def test_window_is_the_exact_clip_of_the_last_frames(lively_edge):
    clips = random_crops(2, 2, 16)
    windows = lively_edge.window(clips, length=8, hop=4)
    assert windows.shape == (2, 4, lively_edge.embedding_size)
    for i, (start, end) in enumerate([(0, 4), (0, 8), (4, 12), (8, 16)]):
        want = lively_edge(clips[:, start:end]).embedding
        torch.testing.assert_close(windows[:, i], want, atol=1e-5, rtol=0)


@torch.no_grad()
def test_window_as_long_as_the_clip_is_clip_mode(golden_grl):
    clips = random_crops(12, 1, 6)
    windows = golden_grl.window(clips, length=6, hop=6)
    torch.testing.assert_close(windows[:, -1], golden_grl(clips).embedding, atol=1e-5, rtol=0)


# ---- training form ----------------------------------------------------------------------------------


def test_every_causal_weight_learns():
    torch.manual_seed(0)
    model = create_model("grl-edge").train()
    out = model.causal_outputs(random_crops(0, 2, 8))
    (out.embedding.square().sum() + out.embedding[:, -1].sum()).backward()
    silent = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all()
    ]
    assert all(name.startswith(("backward_in_time.", "pair_")) for name in silent), silent


# ---- weights on disk ---------------------------------------------------------------------------------


def test_weights_come_back_as_they_were(lively_edge, tmp_path):
    path = tmp_path / "edge.safetensors"
    save_model(lively_edge, "grl-edge", path)
    again = load_model(path)
    assert not again.training
    for key, value in lively_edge.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_weights_say_which_crops_they_were_trained_for(lively_edge, tmp_path):
    small = copy.deepcopy(lively_edge)
    small.size = (128, 64)
    save_model(small, "grl-edge", tmp_path / "small.safetensors")
    assert load_model(tmp_path / "small.safetensors").size == (128, 64)
    assert lively_edge.size == (256, 128)


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign", "nan", "shape"])
def test_bad_weights_are_one_sentence(lively_edge, tmp_path, damage):
    from safetensors.torch import save_file

    path = tmp_path / "edge.safetensors"
    save_model(lively_edge, "grl-edge", path)
    state = {key: value.clone() for key, value in lively_edge.state_dict().items()}
    if damage == "missing":
        path, expected = tmp_path / "nowhere.safetensors", "there is no weights file"
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
        expected = "not a whole safetensors file"
    elif damage == "foreign":
        save_file(state, path)
        expected = "does not say which network"
    elif damage == "nan":
        state["pooling.key.bias"][3] = float("nan")
        save_file(state, path, metadata={"network": "grl-edge"})
        expected = "not finite in pooling.key.bias"
    else:
        state["pooling.key.bias"] = state["pooling.key.bias"][:-1]
        save_file(state, path, metadata={"network": "grl-edge"})
        expected = r"pooling.key.bias is \(63,\), not \(64,\)"
    with pytest.raises(WeightsError, match=expected) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_frames_that_an_embedding_is_a_mean_of_are_known_where_torch_is_not():
    assert REMEMBERED == SEGMENT * REMEMBERED_SEGMENTS
