"""The pooling head, which weighs the frames of a clip by one another, and the pair head, which compares two clips."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PoolingHead(nn.Module):
    """p = L2(Σ_i (A f)_i) with A = softmax(QKᵀ), over whichever frames are valid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // 4
        self.query = nn.Linear(channels, quarter)
        self.query_norm = nn.BatchNorm1d(quarter)
        self.key = nn.Linear(channels, quarter)
        self.key_norm = nn.BatchNorm1d(quarter)

    def forward(self, high: Tensor, valid: Tensor) -> Tensor:
        """Pool f (B, T, C) over R choices of frames: valid (B or 1, R, T) of 0 and 1 gives (B, R, C).

        A clip pools over all frames, a causal clip over every prefix, a stream over what it has seen: one
        formula, since the softmax over a subset only divides by another sum.
        """
        Q = self._unit(self.query(high), self.query_norm)
        K = self._unit(self.key(high), self.key_norm)
        E = torch.exp(Q @ K.transpose(1, 2))  # (B, T, T); cosines, so it cannot overflow
        row_sums = (valid @ E.transpose(1, 2)).clamp(min=1e-6)  # (B, R, T)
        weights = valid * ((valid / row_sums) @ E)
        return F.normalize(weights @ high, dim=-1)

    @staticmethod
    def _unit(values: Tensor, norm: nn.BatchNorm1d) -> Tensor:
        return F.normalize(norm(values.flatten(0, 1)), dim=-1).view_as(values)


class PairHead(nn.Module):
    """Are two clips of one person? Scores (different, same) of (p−q)², before any softmax."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.classify = nn.Linear(channels, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Every first (P, C) against every second (Q, C): (P, Q, 2)."""
        difference = (first[:, None] - second[None]).square()
        scores: Tensor = self.classify(self.norm(difference.flatten(0, 1)))
        return scores.view(*difference.shape[:2], 2)
