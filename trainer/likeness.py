"""How far a cosine speaks for one person: a logistic fit over pairs from different cameras."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from trainer.errors import DataError


@dataclass(frozen=True, slots=True)
class Likeness:
    """Log-likelihood ratio = slope · (cosine − even), between tracklets of many frames."""

    even: float
    slope: float


def fit_likeness(
    embeddings: NDArray[np.float32], identities: NDArray[np.int64], cameras: NDArray[np.int64]
) -> Likeness:
    """The line that best tells same from different over cameras, both counting equally.

    embeddings (N, E), identities (N,), cameras (N,).
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    one, other = np.nonzero(np.triu(cameras[:, None] != cameras[None, :]))
    cosines = np.einsum("ne,ne->n", unit[one], unit[other]).astype(np.float64)
    same = identities[one] == identities[other]
    if same.sum() < 10 or (~same).sum() < 10:
        raise DataError(
            f"{int(same.sum())} pairs of one person and {int((~same).sum())} of two, seen by different "
            "cameras, are too few: 10 of each are needed"
        )
    weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    sign = np.where(same, -1.0, 1.0)

    def loss(line: NDArray[np.float64]) -> float:
        return float((weight * np.logaddexp(0, sign * line[1] * (cosines - line[0]))).sum())

    middle = (cosines[same].mean() + cosines[~same].mean()) / 2
    found = minimize(loss, np.array([middle, 10.0]), method="Nelder-Mead")
    return Likeness(float(found.x[0]), float(found.x[1]))
