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
        G = F.relu(self.context_norm(self.context(context)))
        # [X ; G] is never built: G is the same in every cell, so its share is one vector per crop.
        C = maps.shape[1]
        mixed = F.conv2d(maps, self.reduce.weight[:, :C])
        mixed = mixed + F.linear(G, self.reduce.weight[:, C:, 0, 0])[:, :, None, None]
        mixed = self.squeeze_norm(self.squeeze(self.reduce_norm(mixed)))
        return torch.sigmoid(self.score_norm(self.score(F.relu(mixed))))
