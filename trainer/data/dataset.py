"""What every data set becomes: tracklets of one person in one camera."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.errors import DataError, LayoutError

JUNK = -1
"""MARS marks boxes that neither help nor harm with this identity; they are left out."""
DISTRACTOR = 0
"""MARS's identity of people who are in the gallery but in no query."""


@dataclass(frozen=True, slots=True)
class Tracklet:
    """One person in one camera for a while.

    `paths` are strings because a million `Path` objects (MARS) would take half a gigabyte.
    """

    paths: tuple[str, ...]
    identity: int
    camera: int

    def __len__(self) -> int:
        return len(self.paths)

    def first(self, frames: int) -> "Tracklet":
        """The same tracklet as it was after its first `frames` frames."""
        return replace(self, paths=self.paths[:frames])


@dataclass(frozen=True, slots=True)
class Dataset:
    """People to learn from, and people to be found again.

    `gallery` contains the queries where the protocol says so (MARS, LS-VID, folders): the rule that
    drops the same identity in the same camera keeps a query from finding itself.
    """

    name: str
    train: tuple[Tracklet, ...]
    query: tuple[Tracklet, ...]
    gallery: tuple[Tracklet, ...]

    @property
    def flatters(self) -> bool:
        """Whether some of those to be found are learnt from."""
        return not {t.identity for t in self.train}.isdisjoint(t.identity for t in self.query)

    def __str__(self) -> str:
        people = len({tracklet.identity for tracklet in self.train})
        return (
            f"{self.name}: {len(self.train)} tracklets of {people} people to learn from, "
            f"{len(self.query)} queries, {len(self.gallery)} in the gallery"
        )


def require(root: Path, layout: str, entries: Sequence[str]) -> None:
    """Raise `LayoutError` naming every one of `entries` that is not under `root`.

    An entry that ends in "/" must be a folder, any other a file.
    """
    if not root.is_dir():
        raise LayoutError(f"{root} is not a folder; {layout} is expected there")
    missing = [
        entry
        for entry in entries
        if not ((root / entry).is_dir() if entry.endswith("/") else (root / entry).is_file())
    ]
    if missing:
        raise LayoutError(f"{root} does not hold {layout}: missing {', '.join(missing)}")


def queries_across_cameras(gallery: Sequence[Tracklet]) -> tuple[Tracklet, ...]:
    """The first tracklet of each person in each camera, for people seen in two cameras or more."""
    first: dict[tuple[int, int], Tracklet] = {}
    for tracklet in gallery:
        first.setdefault((tracklet.identity, tracklet.camera), tracklet)
    cameras = cameras_of(gallery)
    return tuple(t for (identity, _), t in first.items() if len(cameras[identity]) > 1)


def for_pairs(train: Sequence[Tracklet], drop_single: bool = False) -> tuple[Tracklet, ...]:
    """The tracklets a network can learn from in pairs across cameras.

    Raises `DataError` for a person seen in one camera only (or drops that person if told to),
    for a tracklet without frames, and for fewer than two people.
    """
    for tracklet in train:
        if not tracklet.paths:
            raise DataError(
                f"identity {tracklet.identity} has an empty tracklet in camera {tracklet.camera}"
            )
    single = {identity for identity, seen in cameras_of(train).items() if len(seen) < 2}
    if single and not drop_single:
        some = ", ".join(map(str, sorted(single)[:5])) + (", …" if len(single) > 5 else "")
        raise DataError(
            f"{len(single)} of the identities to learn from are in one camera only ({some}), "
            "but pairs need two: remove them or pass --drop-single"
        )
    kept = tuple(tracklet for tracklet in train if tracklet.identity not in single)
    if len({tracklet.identity for tracklet in kept}) < 2:
        raise DataError("fewer than two identities to learn from are seen in two cameras")
    return kept


def cameras_of(tracklets: Sequence[Tracklet]) -> Mapping[int, set[int]]:
    """The cameras in which each identity is seen."""
    cameras: dict[int, set[int]] = defaultdict(set)
    for tracklet in tracklets:
        cameras[tracklet.identity].add(tracklet.camera)
    return cameras
