"""Two cameras, one sequence of each person in each: half the people to learn from, half to find.

iLIDS-VID and PRID2011 are both tested so, over ten random halves, and their mean is reported.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.data.dataset import Dataset, Tracklet
from trainer.errors import LayoutError, UsageError

SPLITS = 10


def halved(name: str, pairs: Sequence[tuple[Tracklet, Tracklet]], split: int) -> Dataset:
    """One of ten splits, the same ones always: queries from the first camera, gallery from the second, other
    people to learn from."""
    if not 0 <= split < SPLITS:
        raise UsageError(f"{name} has splits 0 to {SPLITS - 1}, not {split}")
    order = np.random.default_rng((0, split)).permutation(len(pairs))
    middle = len(pairs) // 2
    learn, find = [pairs[i] for i in order[:middle]], [pairs[i] for i in order[middle:]]
    return Dataset(
        f"{name} split {split}",
        tuple(tracklet for pair in learn for tracklet in pair),
        tuple(first for first, _ in find),
        tuple(second for _, second in find),
    )


def sequence(folder: Path, pattern: str, identity: int, camera: int) -> Tracklet:
    """The pictures of one person in one camera, in the order of their names."""
    paths = tuple(sorted(str(path) for path in folder.glob(pattern)))
    if not paths:
        raise LayoutError(f"{folder} holds no {pattern} (an empty tracklet)")
    return Tracklet(paths, identity, camera)
