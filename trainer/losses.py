"""The losses of GRL and of the stronger recipe, each over one whole batch in float32."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class IdentityTable(nn.Module):
    """Online instance matching (OIM): vectors against a remembered vector of each identity.

    The table is no parameter: after the loss is computed, each identity's entry moves towards the
    vectors just seen of it, one after the other, and is brought back to length 1.
    """

    table: Tensor

    def __init__(
        self, identities: int, channels: int, scale: float = 30.0, momentum: float = 0.5
    ) -> None:
        super().__init__()
        self.scale = scale
        self.momentum = momentum
        self.register_buffer("table", torch.zeros(identities, channels))

    @property
    def vectors(self) -> Tensor:
        """(identities, C): what is remembered of each."""
        return self.table

    def forward(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of unit vectors (N, C) with labels (N,)."""
        loss = F.cross_entropy(self.scale * vectors @ self.table.T, labels)
        if self.training:
            self.table = self._moved(vectors.detach().float(), labels)
        return loss

    @torch.no_grad()
    def _moved(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """The table after all vectors, in their order. One round for each repeat of a label."""
        table = self.table.clone()
        order = torch.argsort(labels, stable=True)
        placed, rows = labels[order], vectors[order]
        starts = torch.searchsorted(placed, placed)
        turn = torch.arange(len(placed), device=labels.device) - starts
        for repeat in range(int(turn.max()) + 1):
            now = turn == repeat
            old = table[placed[now]]
            new = self.momentum * old + (1 - self.momentum) * rows[now]
            table[placed[now]] = F.normalize(new, dim=-1)
        return table


class SmoothedClassifier(nn.Module):
    """Cross-entropy with label smoothing over cosines to a learnt vector of each identity."""

    def __init__(
        self, identities: int, channels: int, smoothing: float = 0.1, scale: float = 30.0
    ) -> None:
        super().__init__()
        self.scale = scale
        self.smoothing = smoothing
        self.weight = nn.Parameter(torch.randn(identities, channels) * channels**-0.5)

    @property
    def vectors(self) -> Tensor:
        """(identities, C): what is learnt of each."""
        return self.weight

    def forward(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """Mean over unit vectors (N, C) with labels (N,)."""
        cosines = vectors @ F.normalize(self.weight, dim=-1).T
        return F.cross_entropy(self.scale * cosines, labels, label_smoothing=self.smoothing)


def pair_loss(scores: Tensor, same: Tensor) -> Tensor:
    """Binary cross-entropy of pair scores (…, 2: different, same) against same (…) bool."""
    return F.binary_cross_entropy_with_logits(scores[..., 1] - scores[..., 0], same.to(scores))


def hard_triplet_loss(vectors: Tensor, labels: Tensor) -> Tensor:
    """Soft-margin triplet of each vector (…, N, C), its farthest like and its nearest unlike.

    Mean of log(1 + exp(d⁺ − d⁻)) with Euclidean distances; 0 if everyone is the same person.
    """
    same = labels[:, None] == labels[None]
    if bool(same.all()):
        return vectors.sum() * 0
    lengths = vectors.square().sum(-1)
    products = vectors @ vectors.transpose(-1, -2)
    squares = lengths[..., :, None] + lengths[..., None, :] - 2 * products
    # A root has no slope at 0, where each vector meets itself.
    distances = squares.clamp(min=1e-12).sqrt()
    farthest = distances.masked_fill(~same, -torch.inf).amax(-1)
    nearest = distances.masked_fill(same, torch.inf).amin(-1)
    return F.softplus(farthest - nearest).mean()


def likeness_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """How far student vectors (…, N, E) are from the teacher's (N, E): mean of 1 − cosine.

    Where the two networks have vectors of different length, their tables of mutual cosines are
    compared instead (mean squared difference), which needs no common space.
    """
    student, teacher = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
    if student.shape[-1] == teacher.shape[-1]:
        return (1 - (student * teacher).sum(-1)).mean()
    return F.mse_loss(
        student @ student.transpose(-1, -2), (teacher @ teacher.T).expand(*student.shape[:-1], -1)
    )
