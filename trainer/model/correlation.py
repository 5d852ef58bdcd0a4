"""Global-guided correlation estimation (GCE): where in a crop is what the whole tracklet agrees on."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CorrelationEstimation(nn.Module):
    """R_t = σ(BN(w₃ ReLU(BN(W₂ BN(W₁ [X_t ; G]))))) with G = ReLU(BN(W_g g + b))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, eighth = channels // 2, channels // 8
        self.context = nn.Linear(channels, half)
        self.context_norm = nn.BatchNorm1d(half)
        self.reduce = nn.Conv2d(channels + half, half, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(half)
        self.squeeze = nn.Conv2d(half, eighth, 1, bias=False)
        self.squeeze_norm = nn.BatchNorm2d(eighth)
        self.score = nn.Conv2d(eighth, 1, 1, bias=False)
        self.score_norm = nn.BatchNorm2d(1)

    def forward(self, maps: Tensor, context: Tensor) -> Tensor:
        """R (N, 1, h, w) of maps X (N, C, h, w), each seen against its context g (N, C)."""
        G = F.relu(self.context_norm(self.context(context))).to(maps.dtype)
        # [X ; G] is never built: G is the same in every cell, so its share is one vector per crop.
        C = maps.shape[1]
        mixed = F.conv2d(maps, self.reduce.weight[:, :C])
        mixed = mixed + F.linear(G, self.reduce.weight[:, C:, 0, 0])[:, :, None, None]
        mixed = self.squeeze_norm(self.squeeze(self.reduce_norm(mixed)))
        return torch.sigmoid(self.score_norm(self.score(F.relu(mixed))))

    def fused(self) -> "FusedCorrelation":
        """The same function in evaluation mode at a quarter of the cost."""
        return FusedCorrelation(self)


class FusedCorrelation(nn.Module):
    """GCE for inference: nothing but BN stands between W₁ and W₂, so they are one matrix, 3072 to 256."""

    def __init__(self, source: CorrelationEstimation) -> None:
        super().__init__()
        self.context, self.context_norm = source.context, source.context_norm
        self.score, self.score_norm = source.score, source.score_norm
        scale_1, shift_1 = _affine(source.reduce_norm)
        scale_2, shift_2 = _affine(source.squeeze_norm)
        W_1, W_2 = (
            source.reduce.weight[:, :, 0, 0].double(),
            source.squeeze.weight[:, :, 0, 0].double(),
        )
        W = scale_2[:, None] * (W_2 @ (scale_1[:, None] * W_1))
        bias = scale_2 * (W_2 @ shift_1) + shift_2
        eighth, C = len(W), source.context.in_features
        self.maps = nn.Conv2d(C, eighth, 1, bias=False)
        self.vector = nn.Linear(W.shape[1] - C, eighth)
        self.maps.weight.data = W[:, :C, None, None].float()
        self.vector.weight.data = W[:, C:].float()
        self.vector.bias.data = bias.float()

    def forward(self, maps: Tensor, context: Tensor) -> Tensor:
        """As `CorrelationEstimation.forward`."""
        G = F.relu(self.context_norm(self.context(context)))
        mixed = self.maps(maps) + self.vector(G).to(maps.dtype)[:, :, None, None]
        return torch.sigmoid(self.score_norm(self.score(F.relu(mixed))))


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift, in double, of a BatchNorm in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale
