"""Pictures in folders as data sets have them: crops in the MARS layout, frames in the YOLO layout."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from calibration.errors import UsageError
from pipeline.pixels import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
CROP_FOLDERS = ("crops", "bbox_train", "bbox_test", ".")


def pictures_in(folder: Path, places: Sequence[str]) -> list[Path]:
    """All pictures below the first of the places that has any."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} to take pictures from")
    for name in places:
        found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        if found:
            return found
    return []


def tracklets_of(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """By name up to the frame's number: 0065C1T0002F016 is a frame of 0065C1T0002."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        tracklet, mark, number = path.stem.rpartition("F")
        if mark and number.isdigit():
            found[tracklet].append(path)
    for frames in found.values():
        frames.sort(key=lambda path: int(path.stem.rpartition("F")[2]))
    return found


def read_picture(path: Path) -> Image:
    picture = cv2.imread(str(path))
    if picture is None:
        raise UsageError(f"{path} is not a picture that can be read")
    return np.asarray(picture, np.uint8)
