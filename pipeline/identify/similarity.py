"""How much a cosine between two embeddings says: from similarity to log-likelihood ratio."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import IdentifyError
from pipeline.frames import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Mapping:
    """Cosine → log p(cosine | same person) / p(cosine | different people).

    Two normal distributions of equal width make this ratio a straight line in the cosine. Noise of
    an embedding shrinks with the frames it is made of, so the line is flatter where few were seen, and since
    noise makes one person less alike while strangers stay as unlike, it lies further to the left:

        n = 1/frames + 1/frames'
        ratio = slope · (cosine + young · n − even) / (1 + noise · n),  within ±limit

    The defaults fit people of one camera network as published networks see them on a strange site:
    same person 0.7 ± 0.12, different people 0.3 ± 0.12, which gives slope 0.4 / 0.12² ≈ 28, taken a
    little flatter. A site that was calibrated brings its own numbers; with a `curve`, the line is a polygon:

        ratio = curve(cosine + young · n) / (1 + noise · n),  within ±limit
    """

    even: float = 0.5
    """The cosine that speaks neither for nor against."""
    slope: float = 25.0
    """Nats per unit of cosine between two embeddings of many frames."""
    noise: float = 1.0
    """Variance that one frame alone adds, over the variance that no number of frames removes."""
    young: float = 0.0
    """How much less alike one frame alone is to its own person."""
    limit: float = 12.0
    """No appearance is better evidence than this: twins and uniforms exist."""
    curve: tuple[tuple[float, float], ...] = ()
    """Points (cosine, nats), both ascending, instead of `even` and `slope`. Level beyond its ends."""

    def __post_init__(self) -> None:
        if not (
            -1 < self.even < 1
            and 0 < self.slope < np.inf
            and 0 <= self.noise < np.inf
            and 0 <= self.young < np.inf
            and 0 < self.limit < np.inf
        ):
            raise IdentifyError(
                f"a mapping from cosine to evidence needs -1 < even < 1, slope and limit above 0 and "
                f"noise and young of at least 0, not {self}"
            )
        points = np.array(self.curve, np.float64).reshape(-1, 2)
        steps = np.diff(points, axis=0)
        if len(points) == 1 or not (
            np.isfinite(points).all() and (steps[:, 0] > 0).all() and (steps[:, 1] >= 0).all()
        ):
            raise IdentifyError(
                f"a mapping's curve needs two points or more, with rising cosines and nats that do not "
                f"fall, not {self.curve}"
            )

    def __call__(
        self, cosines: FloatArray, frames: IntArray, others: IntArray
    ) -> NDArray[np.float32]:
        """(Q, R) cosines of Q embeddings of `frames` with R of `others` → (Q, R) float32 nats.

        Works in place on `cosines`, which the caller gives away.
        """
        few = (1 / np.maximum(frames, 1)).astype(np.float32)[:, None]
        few = few + (1 / np.maximum(others, 1)).astype(np.float32)[None, :]
        cosines += np.float32(self.young) * few
        if self.curve:
            at, nats = np.array(self.curve).T
            cosines[...] = np.interp(cosines, at, nats)
        else:
            cosines -= np.float32(self.even)
            cosines *= np.float32(self.slope)
        cosines /= 1 + np.float32(self.noise) * few
        return np.clip(cosines, -self.limit, self.limit, out=cosines)
