"""Pictures to measure ranges on: crops in the MARS layout for streams, whole frames for detectors."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import TooLittleError
from calibration.pictures import CROP_FOLDERS, pictures_in, read_picture, tracklets_of
from engines.engine import Array, Engine
from engines.rows import STATE
from pipeline.detect import Letterbox
from pipeline.pixels import Image

FRAME_FOLDERS = ("frames", "images/train", "images/val", "images", ".")
LEAST_TRACKLETS, LEAST_FRAMES = 8, 16


@dataclass(frozen=True, slots=True)
class Samples:
    """What a network is shown, step by step."""

    input: str
    steps: NDArray[np.uint8]
    """(T, N, H, W, 3) BGR: T steps of N streams; T is 1 for networks without state."""
    source: str

    def first(self, steps: int, streams: int) -> "Samples":
        """Fewer of them; more steps than there are begin again from the first crop."""
        index = np.arange(steps) % len(self.steps)
        return Samples(self.input, self.steps[index, :streams], self.source)


def crop_samples(
    folder: Path, size: tuple[int, int], streams: int, steps: int, seed: int = 0
) -> Samples:
    """`steps` crops of each of `streams` tracklets, drawn evenly over the cameras; short ones begin again."""
    found = tracklets_of(pictures_in(folder, CROP_FOLDERS))
    if len(found) < LEAST_TRACKLETS:
        raise TooLittleError(f"tracklets in {folder}", len(found), LEAST_TRACKLETS)
    chosen = _balanced(found, streams, np.random.default_rng(seed))
    height, width = size

    def read(path: Path) -> Image:
        shrunk = cv2.resize(read_picture(path), (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(shrunk, np.uint8)

    tracklets = [_repeated([read(path) for path in found[key][:steps]], steps) for key in chosen]
    crops = np.stack(tracklets, axis=1)
    return Samples(
        "crops", crops, f"{len(chosen)} tracklets of {steps} crops from {folder.resolve().name}"
    )


def frame_samples(folder: Path, size: tuple[int, int], count: int, seed: int = 0) -> Samples:
    """`count` frames as the detector sees them."""
    paths = pictures_in(folder, FRAME_FOLDERS)
    if len(paths) < LEAST_FRAMES:
        raise TooLittleError(f"frames in {folder}", len(paths), LEAST_FRAMES)
    order = np.random.default_rng(seed).permutation(len(paths))[:count]
    pixels, _ = Letterbox(len(order), size)([read_picture(paths[i]) for i in sorted(order)])
    return Samples("images", pixels[None], f"{len(order)} frames from {folder.resolve().name}")


def answers(
    engine: Engine,
    samples: Samples,
    *,
    batch: int = 8,
    advance: Callable[[int], None] = lambda pictures: None,
) -> Iterator[dict[str, Array]]:
    """What an engine says at each step of each batch of streams, carrying its own state along."""
    batch = min(batch, engine.max_batch)
    for start in range(0, samples.steps.shape[1], batch):
        part = samples.steps[:, start : start + batch]
        slots = np.arange(part.shape[1])
        has_state = any(name.startswith(STATE) for name in engine.inputs)
        rows = engine.state_rows(len(slots)) if has_state else None
        try:
            for pictures in part:
                inputs = {samples.input: pictures}
                yield engine.run(inputs) if rows is None else rows.step(slots, inputs)
                advance(len(slots))
        finally:
            if rows is not None:
                rows.close()


def steps_of(engine: Engine, samples: Samples, output: str, *, batch: int = 8) -> Array:
    """(T, N, …): one output at every step of every stream."""
    found = [answer[output] for answer in answers(engine, samples, batch=batch)]
    T = len(samples.steps)
    parts = [np.stack(found[at : at + T]) for at in range(0, len(found), T)]
    return np.concatenate(parts, axis=1)


def _balanced(found: dict[str, list[Path]], count: int, rng: np.random.Generator) -> list[str]:
    """Tracklets' names, camera by camera in turn."""
    by_camera: dict[str, list[str]] = defaultdict(list)
    for index in rng.permutation(len(found)):
        name = list(found)[index]
        by_camera[name.partition("C")[2].partition("T")[0]].append(name)
    turns = sorted(
        (turn, camera, name)
        for camera, names in by_camera.items()
        for turn, name in enumerate(names)
    )
    return [name for _, _, name in turns[:count]]


def _repeated(crops: list[Image], steps: int) -> NDArray[np.uint8]:
    return np.stack([crops[i % len(crops)] for i in range(steps)])
