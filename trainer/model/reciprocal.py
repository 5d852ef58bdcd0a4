"""Temporal reciprocal learning (TRL): one direction over time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def spatial_mean(maps: Tensor) -> Tensor:
    """GAP: the last two dimensions averaged away, in float32 whatever the maps are in."""
    return maps.float().mean(dim=(-2, -1))


class Bottleneck(nn.Module):
    """B: what the memory adds to a sum of itself and the new low-correlation map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // 4
        self.layers = nn.Sequential(
            nn.Conv2d(channels, quarter, 1, bias=False),
            nn.BatchNorm2d(quarter),
            nn.ReLU(),
            nn.Conv2d(quarter, quarter, 1, bias=False),
            nn.BatchNorm2d(quarter),
            nn.ReLU(),
            nn.Conv2d(quarter, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.layers(maps)
        return out


class ReciprocalLearning(nn.Module):
    """One direction: a_t weighs the channels of H_t against the memory M, which then takes in L_t."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        self.phi_memory = nn.Conv2d(channels, channels, 1)
        self.phi_high = nn.Conv2d(channels, channels, 1)
        self.attend_in = nn.Linear(channels, hidden, bias=False)
        self.attend_out = nn.Linear(hidden, channels, bias=False)
        self.bottleneck = Bottleneck(channels)

    def forward(self, high: Tensor, low: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One frame: H, L and M_{t−1} (N, C, h, w) to f (N, C) and M_t."""
        difference = F.relu(self.phi_memory(memory)) - F.relu(self.phi_high(high))
        hidden = F.relu(self.attend_in(spatial_mean(difference.float().square())))
        attention = torch.sigmoid(self.attend_out(hidden))
        total = memory + low
        return (1 + attention) * spatial_mean(high), F.relu(total + self.bottleneck(total))
