"""Layers that a CPU trains faster than with torch's own kernels: the same numbers, but for their rounding.

Two things take much of a light network's step on a CPU: how the weights of filters wider than 3×3 are corrected,
channel by channel, and the many passes over the maps for normalisation and activation in bfloat16. Both have loops of
their own here, in numba. They are for trainings that have one core each, side by side: where torch has several threads,
it shares the work among them, and they, waiting in a spin, would leave threads of ours no core. No parameter changes
its name, and whatever the loops do not know is left to torch.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Kernel = TypeVar("Kernel", bound=Callable[..., None])
Bits = NDArray[np.uint16]
"""bfloat16, which numpy does not know: the upper half of a float32."""
Floats = NDArray[np.float32]
_BLOCK = 64
"""Channels, or rows, that are summed up in float32 and in the cache."""


def quicken(network: nn.Module) -> None:
    """Let a network's layers train as fast as a CPU can."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.groups > 1 and max(part.kernel_size) > 3:
            part.__class__ = WideFilter
        elif isinstance(part, nn.BatchNorm2d) and _limits(part) is not None:
            part.forward = partial(_normalised, part)  # type: ignore[method-assign]


class WideFilter(nn.Conv2d):
    """A convolution that stays in float32 when its neighbours do not.

    Channel by channel, filters wider than 3×3 have no fast way back in bfloat16 on CPUs, and on one thread none but the
    one here in float32 either.
    """

    def forward(self, maps: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            wide = maps.float()
            if self._is_known() and _is_alone(wide):
                made: Tensor = _ChannelFilter.apply(  # type: ignore[no-untyped-call]
                    wide, self.weight, self.stride[0], self.padding[0]
                )
            else:
                made = super().forward(wide)
            return made.to(maps.dtype)

    def _is_known(self) -> bool:
        """One matrix for each channel, square and centred."""
        return (
            self.groups == self.in_channels == self.out_channels
            and self.bias is None
            and self.padding_mode == "zeros"
            and self.dilation == (1, 1)
            and len({*self.kernel_size}) == len({*self.stride}) == 1
            and self.padding == tuple(size // 2 for size in self.kernel_size)
        )


class _Context(Protocol):
    """What torch carries from the way there to the way back."""

    known: tuple[Any, ...]
    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor) -> None: ...
    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...


class _ChannelFilter(torch.autograd.Function):
    """A convolution of each channel by itself."""

    @staticmethod
    def forward(ctx: _Context, maps: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.known = stride, padding
        return F.conv2d(maps, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(
        ctx: _Context, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        maps, weight = ctx.saved_tensors
        stride, padding = ctx.known
        of_maps = of_weight = None
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if ctx.needs_input_grad[0]:
            of_maps = torch.ops.aten.convolution_backward(
                gradient, maps, weight, [0], [stride] * 2, [padding] * 2, [1, 1], False, [0, 0],
                len(weight), [True, False, False],
            )[0]  # fmt: skip
        if ctx.needs_input_grad[1]:
            size = weight.shape[-1]
            sums = np.empty((size * size, len(weight)), np.float32)
            _correlate(_rows(maps), _rows(gradient), stride, size, sums)
            of_weight = torch.from_numpy(sums.T.reshape(weight.shape))
        return of_maps, of_weight, None, None


def _normalised(norm: nn.BatchNorm2d, values: Tensor) -> Tensor:
    """What `norm(values)` would be, with the activation that timm's layers carry."""
    if not (norm.training and values.dtype is torch.bfloat16 and _is_alone(values)):
        return type(norm).forward(norm, values)
    out, mean, variance = _NormClamp.apply(  # type: ignore[no-untyped-call]
        values, norm.weight, norm.bias, norm.eps, *cast(tuple[float, float], _limits(norm))
    )
    if norm.running_mean is not None and norm.running_var is not None:
        assert norm.num_batches_tracked is not None
        count = values.numel() // values.shape[1]
        rate = 0.1 if norm.momentum is None else norm.momentum
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, rate)
        norm.running_var.lerp_(variance * (count / max(count - 1, 1)), rate)
    return cast(Tensor, out)


def _is_alone(maps: Tensor) -> bool:
    """Whether maps are on a CPU, of which torch uses one core, and lie as the loops want them."""
    return (
        maps.device.type == "cpu"
        and torch.get_num_threads() == 1
        and maps.is_contiguous(memory_format=torch.channels_last)
    )


def _limits(norm: nn.BatchNorm2d) -> tuple[float, float] | None:
    """Between which values the activation leaves all as it is; None for other activations."""
    if not isinstance(getattr(norm, "drop", nn.Identity()), nn.Identity):
        return None
    limits = {nn.Identity: (-math.inf, math.inf), nn.ReLU: (0.0, math.inf), nn.ReLU6: (0.0, 6.0)}
    return limits.get(type(getattr(norm, "act", nn.Identity())))


class _NormClamp(torch.autograd.Function):
    """Normalisation by the batch, and an activation that clamps, in bfloat16: also mean and variance."""

    @staticmethod
    def forward(
        ctx: _Context,
        maps: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        low: float,
        high: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        bits = _rows(maps)
        mean, variance = _moments(bits)
        inverse = 1 / np.sqrt(variance + eps)
        scale = (weight.detach().double().numpy() * inverse).astype(np.float32)
        shift = (bias.detach().double().numpy() - mean * scale).astype(np.float32)
        limits = np.array((low, high), np.float32)
        out = torch.empty_like(maps)
        _scale(bits, scale, shift, limits, _rows(out))
        ctx.save_for_backward(maps)
        ctx.known = mean, inverse, scale, shift, limits
        told = torch.from_numpy(mean).float(), torch.from_numpy(variance).float()
        ctx.mark_non_differentiable(*told)
        return out, *told

    @staticmethod
    def backward(ctx: _Context, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        (maps,) = ctx.saved_tensors
        mean, inverse, scale, shift, limits = ctx.known
        bits = _rows(maps)
        slopes = _rows(gradient.contiguous(memory_format=torch.channels_last))
        of_bias, products = np.zeros((2, bits.shape[-1]))
        _gather(bits, slopes, scale, shift, limits, mean.astype(np.float32), of_bias, products)
        of_weight = products * inverse
        count = bits.size / bits.shape[-1]
        along = -scale * inverse * of_weight / count
        level = -scale * of_bias / count - along * mean
        out = torch.empty_like(maps)
        _spread(
            bits, slopes, scale, shift, limits, along.astype(np.float32), level.astype(np.float32), _rows(out)
        )  # fmt: skip
        told = (torch.from_numpy(each).float() for each in (of_weight, of_bias))
        return out, *told, None, None, None


def _rows(maps: Tensor) -> NDArray[Any]:
    """Maps (N, C, H, W) that lie channels last as an array (N, H, W, C), of the same memory."""
    lying = maps.detach().permute(0, 2, 3, 1)
    bits = lying.view(torch.uint16) if lying.dtype is torch.bfloat16 else lying
    return bits.numpy()


def _moments(bits: Bits) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of each channel."""
    sums = np.zeros((2, bits.shape[-1]))
    near = (bits[0, 0, 0].astype(np.uint32) << 16).view(np.float32)  # small sums have small errors
    _sum(bits, near, *sums)
    off, squares = sums / (bits.size / bits.shape[-1])
    return near + off, np.maximum(squares - off**2, 0)


def _compiled(kernel: Kernel) -> Kernel:
    options = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}
    try:
        return cast(Kernel, numba.njit(cache=True, **options)(kernel))
    except RuntimeError:  # there is no folder to keep what was compiled
        return cast(Kernel, numba.njit(**options)(kernel))


@_compiled
def _correlate(maps: Floats, slopes: Floats, stride: int, size: int, sums: Floats) -> None:
    """sums (size², C): how maps (N, H, W, C), shifted to each place of a filter, go with slopes (N, h, w, C)."""
    count, height, width, channels = maps.shape
    tall, wide = slopes.shape[1:3]
    reach = size // 2
    block = np.empty((size * size, _BLOCK), np.float32)
    for first in range(0, channels, _BLOCK):
        some = min(_BLOCK, channels - first)
        block[:] = 0
        for n in range(count):
            for row in range(tall):
                for column in range(wide):
                    slope = slopes[n, row, column, first : first + some]
                    for i in range(size):
                        y = row * stride + i - reach
                        if y < 0 or y >= height:
                            continue
                        for j in range(size):
                            x = column * stride + j - reach
                            if x < 0 or x >= width:
                                continue
                            values = maps[n, y, x, first : first + some]
                            total = block[i * size + j]
                            for c in range(some):
                                total[c] += values[c] * slope[c]
        for place in range(size * size):
            for c in range(some):
                sums[place, first + c] = block[place, c]


@_compiled
def _sum(bits: Bits, near: Floats, sums: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
    """Sums of each channel's distances from `near`, and of their squares."""
    count, height, width, channels = bits.shape
    halves = np.empty(channels, np.uint32)
    values = halves.view(np.float32)
    some, more = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    waiting = 0
    for n in range(count):
        for y in range(height):
            for x in range(width):
                row = bits[n, y, x]
                for c in range(channels):
                    halves[c] = np.uint32(row[c]) << np.uint32(16)
                for c in range(channels):
                    off = values[c] - near[c]
                    some[c] += off
                    more[c] += off * off
                waiting += 1
                if waiting == _BLOCK:
                    waiting = 0
                    for c in range(channels):
                        sums[c] += some[c]
                        squares[c] += more[c]
                    some[:] = 0
                    more[:] = 0
    for c in range(channels):
        sums[c] += some[c]
        squares[c] += more[c]


@_compiled
def _scale(bits: Bits, scale: Floats, shift: Floats, limits: Floats, out: Bits) -> None:
    """out = clamp(scale · bits + shift)"""
    count, height, width, channels = bits.shape
    halves = np.empty(channels, np.uint32)
    values = halves.view(np.float32)
    low, high = limits
    for n in range(count):
        for y in range(height):
            for x in range(width):
                row, to = bits[n, y, x], out[n, y, x]
                for c in range(channels):
                    halves[c] = np.uint32(row[c]) << np.uint32(16)
                for c in range(channels):
                    values[c] = min(max(values[c] * scale[c] + shift[c], low), high)
                for c in range(channels):
                    even = (halves[c] >> np.uint32(16)) & np.uint32(1)
                    to[c] = np.uint16((halves[c] + np.uint32(0x7FFF) + even) >> np.uint32(16))


@_compiled
def _gather(
    bits: Bits, slopes: Bits, scale: Floats, shift: Floats, limits: Floats, mean: Floats,
    sums: NDArray[np.float64], products: NDArray[np.float64],
) -> None:  # fmt: skip
    """Sums of each channel's slopes where nothing was clamped, and of them times the distance from the mean."""
    count, height, width, channels = bits.shape
    halves, upper = np.empty(channels, np.uint32), np.empty(channels, np.uint32)
    values, slope = halves.view(np.float32), upper.view(np.float32)
    some, more = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    low, high = limits
    waiting = 0
    for n in range(count):
        for y in range(height):
            for x in range(width):
                row, other = bits[n, y, x], slopes[n, y, x]
                for c in range(channels):
                    halves[c] = np.uint32(row[c]) << np.uint32(16)
                    upper[c] = np.uint32(other[c]) << np.uint32(16)
                for c in range(channels):
                    made = values[c] * scale[c] + shift[c]
                    through = slope[c] if (made > low) & (made < high) else np.float32(0)
                    some[c] += through
                    more[c] += through * (values[c] - mean[c])
                waiting += 1
                if waiting == _BLOCK:
                    waiting = 0
                    for c in range(channels):
                        sums[c] += some[c]
                        products[c] += more[c]
                    some[:] = 0
                    more[:] = 0
    for c in range(channels):
        sums[c] += some[c]
        products[c] += more[c]


@_compiled
def _spread(
    bits: Bits, slopes: Bits, scale: Floats, shift: Floats, limits: Floats, along: Floats, level: Floats,
    out: Bits,
) -> None:  # fmt: skip
    """out = scale · (slopes where nothing was clamped) + along · bits + level"""
    count, height, width, channels = bits.shape
    halves, upper = np.empty(channels, np.uint32), np.empty(channels, np.uint32)
    values, slope = halves.view(np.float32), upper.view(np.float32)
    low, high = limits
    for n in range(count):
        for y in range(height):
            for x in range(width):
                row, other, to = bits[n, y, x], slopes[n, y, x], out[n, y, x]
                for c in range(channels):
                    halves[c] = np.uint32(row[c]) << np.uint32(16)
                    upper[c] = np.uint32(other[c]) << np.uint32(16)
                for c in range(channels):
                    made = values[c] * scale[c] + shift[c]
                    through = slope[c] if (made > low) & (made < high) else np.float32(0)
                    slope[c] = scale[c] * through + along[c] * values[c] + level[c]
                for c in range(channels):
                    even = (upper[c] >> np.uint32(16)) & np.uint32(1)
                    to[c] = np.uint16((upper[c] + np.uint32(0x7FFF) + even) >> np.uint32(16))
