"""Any folder in the MARS layout without its lists: a site's own pictures, or the synthetic set.

    root/<identity>/<identity>C<camera>T<tracklet>F<frame>.jpg

either directly (the same people are then learnt from and looked for: say what to hold out) or in
`bbox_train/` and `bbox_test/` with different people in each; to judge by, `bbox_test/` alone is enough.
"""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from trainer.data.dataset import Dataset, Tracklet, queries_across_cameras
from trainer.errors import DataError, LayoutError

NAME = re.compile(r"(?P<identity>\d+)C(?P<camera>\d+)T(?P<tracklet>\d+)F(?P<frame>\d+)")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def load(root: Path, holdout: float = 0.0, seed: int = 0) -> Dataset:
    """Read a folder in the MARS layout.

    Without `bbox_train/` and `bbox_test/`, the fraction `holdout` of the identities, drawn by
    `seed`, is kept for testing and the others for learning; with 0 everyone is in both.
    """
    if (root / "bbox_test").is_dir():
        learnt = root / "bbox_train"
        train, test = tracklets(learnt) if learnt.is_dir() else (), tracklets(root / "bbox_test")
        both = {t.identity for t in train} & {t.identity for t in test}
        if both:
            raise DataError(
                f"{root}: {len(both)} identities are in both bbox_train and bbox_test "
                f"(such as {min(both)}), so a test would flatter"
            )
    else:
        everyone = tracklets(root)
        held = _held_out(everyone, holdout, seed)
        train = tuple(t for t in everyone if t.identity not in held)
        test = tuple(t for t in everyone if not held or t.identity in held)
    return Dataset(root.name, train, queries_across_cameras(test), test)


def tracklets(root: Path) -> tuple[Tracklet, ...]:
    """Every tracklet under `root`, by identity, camera and number; frames in order."""
    return tuple(tracklet for _, tracklet in numbered(root))


def numbered(root: Path) -> tuple[tuple[int, Tracklet], ...]:
    """Every tracklet under `root` beside the number that its file names give it."""
    if not root.is_dir():
        raise LayoutError(f"{root} is not a folder; one folder for each identity is expected there")
    found: dict[tuple[int, int, int], list[tuple[int, str]]] = defaultdict(list)
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        images = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
        if not images:
            raise LayoutError(f"{folder} holds no pictures: an empty tracklet, or not this layout")
        for image in images:
            name = NAME.fullmatch(image.stem)
            if name is None:
                raise LayoutError(
                    f"{image} is not named <identity>C<camera>T<tracklet>F<frame>, "
                    "as in 0001C1T0001F001.jpg"
                )
            if name["identity"] != folder.name:
                raise LayoutError(f"{image} names another identity than its folder")
            key = int(name["identity"]), int(name["camera"]), int(name["tracklet"])
            found[key].append((int(name["frame"]), str(image)))
    if not found:
        raise LayoutError(
            f"{root} has no folder of pictures: "
            "<identity>/<identity>C<camera>T<tracklet>F<frame>.jpg"
        )
    return tuple(
        (key[2], Tracklet(tuple(path for _, path in sorted(found[key])), key[0], key[1]))
        for key in sorted(found)
    )


def _held_out(everyone: tuple[Tracklet, ...], fraction: float, seed: int) -> set[int]:
    identities = sorted({tracklet.identity for tracklet in everyone})
    count = round(len(identities) * fraction)
    return set(np.random.default_rng(seed).permutation(identities)[:count].tolist())
