"""LS-VID: 3772 people, fifteen cameras.

    root/list_sequence/list_seq_train.txt, list_seq_test.txt
    root/test/data/info_test.mat   (MATLAB 7.3; its `query` counts test sequences from 1)
    root/tracklet_train/…, root/tracklet_test/…

A line of a list is a prefix of file names and an identity: "tracklet_train/0001/0001_01_02_… 1";
the third field of a file name is its camera.
"""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import Dataset, Tracklet, require
from trainer.errors import LayoutError

ENTRIES = (
    "list_sequence/list_seq_train.txt",
    "list_sequence/list_seq_test.txt",
    "test/data/info_test.mat",
    "tracklet_train/",
    "tracklet_test/",
)


def load(root: Path) -> Dataset:
    """Read LS-VID's lists and find the frames of every sequence."""
    require(root, "LS-VID", ENTRIES)
    train = _tracklets(root, root / ENTRIES[0])
    test = _tracklets(root, root / ENTRIES[1])
    chosen = _queries(root / ENTRIES[2])
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(test):
        raise LayoutError(f"{root / ENTRIES[2]} points outside the {len(test)} test sequences")
    return Dataset("LS-VID", tuple(train), tuple(test[i] for i in chosen), tuple(test))


def _tracklets(root: Path, listing: Path) -> list[Tracklet]:
    tracklets = []
    for number, line in enumerate(listing.read_text().splitlines(), 1):
        prefix, _, identity = line.strip().rpartition(" ")
        if not prefix or not identity.isdigit():
            raise LayoutError(f"{listing}, line {number}: expected '<prefix> <identity>'")
        start = root / prefix
        paths = tuple(sorted(str(path) for path in start.parent.glob(start.name + "*")))
        if not paths:
            raise LayoutError(f"{listing}, line {number}: no frames begin with {prefix}")
        fields = Path(paths[0]).name.split("_")
        if len(fields) < 4 or not fields[2].isdigit():
            raise LayoutError(f"{paths[0]}: the third field of the name must be the camera")
        tracklets.append(Tracklet(paths, int(identity), int(fields[2])))
    return tracklets


def _queries(path: Path) -> NDArray[np.int64]:
    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file["query"]).ravel().astype(np.int64) - 1
    except (OSError, KeyError) as error:
        raise LayoutError(f"{path} is not a MATLAB 7.3 file with a 'query' in it") from error
