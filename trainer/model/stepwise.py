"""What a recurrence gives after each frame of a segment, brought to one mean and one spread."""

import torch
from torch import Tensor, nn

_MOST = 4.0
"""By which a channel is stretched, at most."""


class Stepwise(nn.Module):
    """A scale and a shift for each frame of a segment, before the batch normalisation that all of them share.

    A memory that adds up over frames is not distributed after one of them as after eight, so the statistics over
    all fit none: the first frames of everybody come out alike, and unlike the later ones. Statistics by frame are
    what recurrent batch normalisation has as well (arXiv 1603.09025). Nothing is changed until `fit`, or in training.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(frames, channels))
        self.register_buffer("shift", torch.zeros(frames, channels))

    def forward(self, values: Tensor) -> Tensor:
        """(N, T, C) after each of the first T frames."""
        if self.training:
            return values
        frames = values.shape[1]
        return values * self.scale[:frames] + self.shift[:frames]

    def at(self, frame: Tensor, values: Tensor) -> Tensor:
        """(B, C) after `frame` (B, 1), counted from 0, of each."""
        if self.training:
            return values
        every = torch.arange(len(self.scale), device=values.device, dtype=torch.float32)[None]
        here = (every == frame).to(values.dtype)
        return values * (here @ self.scale) + here @ self.shift

    def forget(self) -> None:
        """Change nothing any more."""
        self.scale.fill_(1.0)
        self.shift.fill_(0.0)

    def fit(self, mean: Tensor, variance: Tensor, norm: nn.BatchNorm1d) -> None:
        """Make what has this mean and variance (T, C) by frame be distributed as `norm` expects."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        usual = norm.running_var + norm.eps
        # A channel that hardly ever speaks after so few frames is not to drown the others when it does.
        scale = (usual / variance.clamp(min=usual / _MOST**2)).sqrt()
        self.scale.copy_(scale)
        self.shift.copy_(norm.running_mean - mean * scale)
