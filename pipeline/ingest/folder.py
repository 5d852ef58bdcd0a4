"""A folder of numbered pictures as a feed."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import FeedError
from pipeline.ingest.addresses import PICTURES
from pipeline.ingest.feed import Picture
from pipeline.pixels import Image


class FolderFeed:
    """The pictures of a folder in the order in which a person would count them (2 before 10)."""

    finite = True
    skipped = 0

    def __init__(self, folder: Path, rate: float) -> None:
        self._folder = folder
        self.interval = 1 / rate
        self.connected = False
        self.damaged = 0

    def pictures(self) -> Iterator[Picture | None]:
        """Each readable picture, stamped by its place."""
        try:
            paths = [path for path in self._folder.iterdir() if path.suffix.lower() in PICTURES]
        except OSError as error:
            raise FeedError(
                f"The folder {self._folder} cannot be read: {error.strerror}."
            ) from None
        self.connected = True
        lost, first = 0, ""
        for place, path in enumerate(sorted(paths, key=_counted)):
            image = _read(path)
            if image is None:
                lost, first = lost + 1, first or path.name
                self.damaged += 1
                continue
            yield Picture(place * self.interval, partial(_given, image), lost)
            lost = 0
        if self.damaged:
            raise FeedError(
                f"{self.damaged} of {len(paths)} pictures in {self._folder} cannot be read, "
                f"the first is {first}."
            )

    def close(self) -> bool:
        return True


def _counted(path: Path) -> list[tuple[int, str]]:
    """A key that sorts runs of digits by their value."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def _read(path: Path) -> Image | None:
    try:
        data = np.fromfile(path, np.uint8)  # imread knows neither Unicode paths nor reasons
    except OSError:
        return None
    if not data.size:
        return None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:  # it says that it is larger than any picture
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _given(image: Image) -> Image:
    return image
