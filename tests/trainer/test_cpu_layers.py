"""Layers that a CPU trains faster give the numbers of torch's own."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainer.cpu_layers import WideFilter, quicken
from trainer.model import create_model

LAST = torch.channels_last
pytestmark = pytest.mark.usefixtures("one_thread")


def random_maps(count, channels, height, width, seed=0):
    maps = torch.randn(count, channels, height, width, generator=torch.manual_seed(seed))
    return maps.contiguous(memory_format=LAST)


def slopes_of(layer, maps, upstream):
    """What `layer` makes of maps, and the gradients of maps and parameters."""
    maps = maps.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    made = layer(maps)
    return made, torch.autograd.grad(made, (maps, *layer.parameters()), upstream.to(made.dtype))


@pytest.mark.parametrize(
    ("channels", "size", "stride", "height", "width"),
    [(70, 5, 1, 8, 4), (64, 5, 2, 9, 6), (3, 7, 1, 3, 2), (130, 5, 2, 2, 2)],
)
def test_wide_filters_learn_as_torch_has_them_learn(channels, size, stride, height, width):
    plain = nn.Conv2d(channels, channels, size, stride, size // 2, groups=channels, bias=False).to(
        memory_format=LAST
    )
    ours = deepcopy(plain)
    quicken(ours)
    assert type(ours) is WideFilter
    maps = random_maps(5, channels, height, width)
    upstream = random_maps(5, channels, -(-height // stride), -(-width // stride), seed=1)
    made, found = slopes_of(ours, maps, upstream)
    expected, wanted = slopes_of(plain, maps, upstream)
    assert torch.equal(made, expected)
    for got, truth in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, truth, rtol=1e-4, atol=1e-4)


def test_wide_filters_of_single_channels_stay_in_float32():
    """And so do those of the copy that is judged and kept."""
    network = create_model("grl-edge")
    names = list(network.state_dict())
    quicken(network)
    copied = deepcopy(network)
    assert list(copied.state_dict()) == names
    wide = [part for part in copied.modules() if isinstance(part, WideFilter)]
    assert wide
    assert {part.kernel_size for part in wide} == {(5, 5)}
    maps = torch.randn(2, wide[0].in_channels, 8, 4, generator=torch.manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        seen = wide[0](maps.bfloat16())
    layer = wide[0]
    exact = F.conv2d(
        maps.bfloat16().float(), layer.weight, None, layer.stride, layer.padding, 1, layer.groups
    )
    assert torch.equal(seen, exact.bfloat16())


@pytest.mark.parametrize("act", [nn.Identity(), nn.ReLU(), nn.ReLU6(), None])
@pytest.mark.parametrize("level", [0.0, 100.0])
def test_normalised_maps_are_exact_but_for_their_rounding(act, level):
    """Beside torch in float64, on the same bfloat16 maps: 3·7·5 rows are no whole number of blocks."""
    norm = nn.BatchNorm2d(70)
    nn.init.uniform_(norm.weight, 0.5, 3.0, generator=torch.manual_seed(2))
    nn.init.uniform_(norm.bias, -1.0, 3.0, generator=torch.manual_seed(3))
    exact = deepcopy(norm).double()
    if act is not None:
        norm.act, norm.drop = act, nn.Identity()  # as timm's layers have them
    quicken(norm)
    maps = (random_maps(3, 70, 7, 5) + level).bfloat16()
    upstream = random_maps(3, 70, 7, 5, seed=1).bfloat16()
    made, found = slopes_of(norm, maps, upstream)
    sure = act or nn.Identity()
    expected, wanted = slopes_of(_Both(exact, sure), maps.double(), upstream.double())
    assert made.dtype is torch.bfloat16
    torch.testing.assert_close(made.double(), expected, rtol=2**-8, atol=1e-3)
    for got, truth in zip(found, wanted, strict=True):
        off = (got.double() - truth).norm() / truth.norm()
        assert off < 0.01
    torch.testing.assert_close(norm.running_mean.double(), exact.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), exact.running_var, rtol=1e-4, atol=1e-6)
    assert norm.num_batches_tracked == exact.num_batches_tracked == 1


class _Both(nn.Module):
    """A layer and its activation."""

    def __init__(self, norm, act):
        super().__init__()
        self.norm, self.act = norm, act

    def forward(self, maps):
        return self.act(self.norm(maps))


def test_what_is_judged_and_kept_is_torch_s_own():
    """In evaluation, in float32, and in other layouts; and a copy looks at its own parameters."""
    network = create_model("grl-edge").eval()
    crops = torch.randn(2, 3, 64, 32, generator=torch.manual_seed(0))
    with torch.no_grad():
        expected = network.backbone(crops)
    quicken(network)
    with torch.no_grad():
        assert torch.equal(network.backbone(crops), expected)
    copied = deepcopy(network)
    norms = [part for part in copied.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 55
    assert all(part.forward.args[0] is part for part in norms)


def test_where_torch_has_several_threads_it_is_left_alone():
    plain = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False).to(memory_format=LAST)
    ours = deepcopy(plain)
    quicken(ours)
    maps = random_maps(2, 8, 6, 4).requires_grad_()
    ways = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ways.append(type(ours(maps).grad_fn).__name__)
    assert ways[0] == "_ChannelFilterBackward"
    assert ways[1] == type(plain(maps).grad_fn).__name__


def test_a_step_in_bfloat16_goes_where_one_in_float32_does():
    plain = create_model("grl-edge").backbone.train().to(memory_format=LAST)
    ours = deepcopy(plain)
    quicken(ours)
    crops = random_maps(8, 3, 64, 32)
    slopes = []
    for network, half in ((plain, False), (plain, True), (ours, True)):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = network(crops).float().square().mean()
        found = torch.autograd.grad(loss, tuple(network.parameters()))
        slopes.append(torch.cat([slope.flatten() for slope in found]))
    exact, usual, quick = slopes
    assert (
        F.cosine_similarity(quick, exact, dim=0) > F.cosine_similarity(usual, exact, dim=0) - 0.02
    )
