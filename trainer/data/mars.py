"""MARS: 1261 people, six cameras, with the track and query lists its authors publish.

    root/info/{train_name.txt, test_name.txt, tracks_train_info.mat, tracks_test_info.mat,
               query_IDX.mat}
    root/bbox_train/<id>/<file>.jpg, root/bbox_test/<id>/<file>.jpg

A list row is (first, last, identity, camera); the first two count lines of the name list from 1,
both included.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from trainer.data.dataset import JUNK, Dataset, Tracklet, require
from trainer.errors import LayoutError

ENTRIES = (
    "info/train_name.txt",
    "info/test_name.txt",
    "info/tracks_train_info.mat",
    "info/tracks_test_info.mat",
    "info/query_IDX.mat",
    "bbox_train/",
    "bbox_test/",
)


def load(root: Path) -> Dataset:
    """Read MARS's lists. Pictures are looked for when they are needed, except for each first."""
    require(root, "MARS", ENTRIES)
    info = root / "info"
    train = _tracklets(
        root / "bbox_train",
        (info / "train_name.txt").read_text().split(),
        _matrix(info / "tracks_train_info.mat", "track_train_info", columns=4),
    )
    test = _tracklets(
        root / "bbox_test",
        (info / "test_name.txt").read_text().split(),
        _matrix(info / "tracks_test_info.mat", "track_test_info", columns=4),
    )
    chosen = _matrix(info / "query_IDX.mat", "query_IDX").ravel() - 1
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(test):
        raise LayoutError(f"{info / 'query_IDX.mat'} points outside the {len(test)} test tracklets")
    return Dataset(
        "MARS",
        tuple(t for t in train if t.identity != JUNK),
        tuple(test[i] for i in chosen),
        tuple(t for t in test if t.identity != JUNK),
    )


def _tracklets(folder: Path, names: list[str], rows: NDArray[np.int64]) -> list[Tracklet]:
    if len(rows) and not (rows[:, 0].min() >= 1 and rows[:, 1].max() <= len(names)):
        raise LayoutError(
            f"the tracks of {folder.name} point outside its list of {len(names)} names"
        )
    tracklets = []
    for first, last, identity, camera in rows.tolist():
        # Names begin with the folder they lie in: 0065C1T0002F016.jpg, 00-1C1T0001F001.jpg.
        paths = tuple(f"{folder}/{name[:4]}/{name}" for name in names[first - 1 : last])
        if not paths:
            raise LayoutError(
                f"{folder.name}: the track of lines {first}–{last} has no frames (empty tracklet)"
            )
        if not Path(paths[0]).is_file():
            raise LayoutError(f"{paths[0]} is in MARS's lists but not on the disk")
        tracklets.append(Tracklet(paths, identity, camera))
    return tracklets


def _matrix(path: Path, key: str, columns: int | None = None) -> NDArray[np.int64]:
    try:
        found = loadmat(path)
    except (ValueError, NotImplementedError, OSError) as error:
        raise LayoutError(f"{path} cannot be read as a MATLAB file: {error}") from error
    if key not in found:
        raise LayoutError(f"{path} holds no '{key}'")
    matrix = np.asarray(found[key]).astype(np.int64)
    if columns is not None and (matrix.ndim != 2 or matrix.shape[1] != columns):
        raise LayoutError(f"{path}: '{key}' must have {columns} columns, has shape {matrix.shape}")
    return matrix
