"""Looks of people whom somebody has sorted: a folder in the MARS layout, shown to the network as a run would be."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from calibration.errors import TooLittleError
from calibration.looks import COUNTS, Looks, unit
from calibration.pictures import CROP_FOLDERS, pictures_in, read_picture, tracklets_of
from engines import StreamingReid
from pipeline.frames import FloatArray, IntArray

AT_ONCE, MOST_FRAMES = 16, 64
"""Tracklets beside each other, and crops of each that are looked at."""
_NAME = re.compile(r"(-?\d+)C(\d+)T\d+")
_NOBODY = frozenset({"0000", "00-1"})
"""Persons' numbers that stand for whatever a detector took for one."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Tracklets and who they are."""

    looks: Looks
    who: IntArray
    """(N,) the person's number, -1 where it is nobody's."""
    source: str


def labelled_crops(
    folder: Path, pool: StreamingReid, advance: Callable[[float], None] = lambda share: None
) -> Labelled:
    """Every tracklet of `<folder>/[crops|bbox_train|bbox_test]/…/0065C1T0002F016.jpg` through the network.

    A tracklet has its crops in their order, `MOST_FRAMES` at most. `advance` hears what share is done.
    """
    found = {
        name: paths
        for name, paths in tracklets_of(pictures_in(folder, CROP_FOLDERS)).items()
        if _NAME.fullmatch(name)
    }
    if not found:
        raise TooLittleError(
            f"tracklets in {folder}", 0, 2, "pictures are called 0065C1T0002F016.jpg"
        )
    names = sorted(found, key=lambda name: -len(found[name]))
    stages: dict[int, list[tuple[int, FloatArray]]] = {count: [] for count in COUNTS}
    last = np.zeros((len(names), pool.embedding_size), np.float32)
    for start in range(0, len(names), AT_ONCE):
        some = {
            n: found[names[n]][:MOST_FRAMES] for n in range(start, min(start + AT_ONCE, len(names)))
        }
        for frames, which, embeddings in _shown(some, pool):
            last[which] = embeddings
            if frames in stages:
                stages[frames] += zip(which.tolist(), embeddings, strict=True)
        advance((start + len(some)) / len(names))
    matched = [_NAME.fullmatch(name) for name in names]
    people = [(match[1], int(match[2])) for match in matched if match]
    unknown = np.full(len(names), np.nan)
    looks = Looks(
        tracklet=np.arange(len(names)),
        camera=np.array([camera for _, camera in people], np.int64),
        first=unknown,
        last=unknown,
        frames=np.array([min(len(found[name]), MOST_FRAMES) for name in names], np.int64),
        embeddings=unit(last),
        early={
            count: (
                np.array([n for n, _ in rows], np.int64),
                unit(np.array([e for _, e in rows], np.float32).reshape(len(rows), last.shape[1])),
            )
            for count, rows in stages.items()
        },
    )
    who = np.array([-1 if p in _NOBODY else int(p) for p, _ in people], np.int64)
    return Labelled(looks, who, f"{len(names)} tracklets of {folder.resolve().name}")


def _shown(
    tracklets: Mapping[int, Sequence[Path]], pool: StreamingReid
) -> Iterator[tuple[int, IntArray, FloatArray]]:
    """Frame by frame: how many were seen, of which tracklets, and their embeddings. Sorted, the longest first."""
    height, width = pool.crop_size
    which = np.array(list(tracklets), np.int64)
    lengths = np.array([len(paths) for paths in tracklets.values()])
    slots = np.array([pool.open() for _ in which])
    try:
        for frame in range(int(lengths.max(initial=0))):
            active = int((lengths > frame).sum())
            crops = [
                cv2.resize(
                    read_picture(tracklets[n][frame]), (width, height), interpolation=cv2.INTER_AREA
                )
                for n in which[:active].tolist()
            ]
            yield frame + 1, which[:active], pool.step(slots[:active], np.stack(crops))
    finally:
        for slot in slots.tolist():
            pool.close(slot)
