"""Pictures with people whose places are known: rendered ones, and frames of real clips that we labelled by eye."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import synthetic
from pipeline.frames import FloatArray
from synthetic.detection_set import LEAST_HEIGHT
from synthetic.live import Feed
from synthetic.load import load_site

LABELS = Path(__file__).parent / "real_people.json"
LEAST_VISIBLE = 0.3
SITES, CAMERAS, PAUSE = 6, 4, 2.0
"""Invented sites, cameras of each, and seconds of the world between two frames of one."""
QUALITY = 90


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture and everybody in it."""

    image: NDArray[np.uint8]
    """(H, W, 3) BGR."""
    boxes: FloatArray
    """(M, 4) left, top, right, bottom in pixels; a rendered person's is as if nothing stood in front."""
    visibility: FloatArray
    """(M,) share that shows; 1 where nobody knows."""
    counted: NDArray[np.bool_]
    """(M,) whether a detector has to find them; finding others is neither right nor wrong."""

    @property
    def heights(self) -> FloatArray:
        return self.boxes[:, 3] - self.boxes[:, 1]


def rendered_people(
    seed: int,
    frames: int,
    size: tuple[int, int],
    cache: Path,
    advance: Callable[[], None] = lambda: None,
) -> list[Scene]:
    """Frames spread over the cameras of invented sites of this seed, in colours kept for tests.

    They are kept in `cache` for as long as what draws them does not change. `advance` hears of every frame.
    """
    folder = cache / f"{seed}-{frames}-{size[0]}x{size[1]}-{_renderer()}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _render(seed, frames, size, folder, advance)
        (folder / "complete").touch()
    return [_read(path, size) for path in sorted(folder.glob("*.jpg"))]


def labelled_people(clips: Path) -> dict[str, list[Scene]]:
    """The labelled frames of each clip of the test data."""
    labels = json.loads(LABELS.read_text())["clips"]
    return {clip: list(_labelled(clips / clip, frames)) for clip, frames in labels.items()}


def every(clip: Path, step: int = 1) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Number and picture of each `step`th frame."""
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % step == 0:
                yield number, frame.to_ndarray(format="bgr24")


def _render(
    seed: int, frames: int, size: tuple[int, int], folder: Path, advance: Callable[[], None]
) -> None:
    views = [
        (f"generated:{CAMERAS}:{seed * 1000 + site}", camera)
        for site in range(SITES)
        for camera in range(CAMERAS)
    ]
    shares = np.diff(np.linspace(0, frames, len(views) + 1).astype(int))
    for (name, number), share in zip(views, shares, strict=True):
        site = load_site(name).resized(size)
        camera = site.cameras[number].name
        feed = Feed(site, camera, int(name.rpartition(":")[2]), palette="test")
        for index in range(share):
            shown = feed.frame(round((1 + index) * PAUSE * site.fps)).rendered
            stem = f"{name.replace(':', '-')}_{camera}_{index:04d}"
            cv2.imwrite(
                str(folder / f"{stem}.jpg"), shown.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
            )
            np.save(folder / f"{stem}.npy", np.column_stack([shown.boxes, shown.visibility]))
            advance()


def _read(path: Path, size: tuple[int, int]) -> Scene:
    truth = np.load(path.with_suffix(".npy")).astype(np.float32)
    boxes, visibility = truth[:, :4], truth[:, 4]
    tall = boxes[:, 3] - boxes[:, 1] >= LEAST_HEIGHT * size[1] / 540
    image = np.asarray(cv2.imread(str(path)), np.uint8)
    return Scene(image, boxes, visibility, (visibility >= LEAST_VISIBLE) & tall)


def _labelled(clip: Path, frames: dict[str, dict[str, list[list[float]]]]) -> Iterator[Scene]:
    for number, image in every(clip):
        if (told := frames.get(str(number))) is not None:
            boxes = np.array(told["people"] + told["unclear"], np.float32).reshape(-1, 4)
            counted = np.arange(len(boxes)) < len(told["people"])
            yield Scene(image, boxes, np.ones(len(boxes), np.float32), counted)


def _renderer() -> str:
    """A name for what it draws now."""
    sources = [Path(__file__), *sorted(Path(synthetic.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
