"""Pictures from the disk, and the same random change to every frame of a clip.

All of it works on uint8 in OpenCV, which lets go of the interpreter lock, so threads decode side by
side; the network's device turns bytes into normalised floats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.errors import ImageError

Clip = NDArray[np.uint8]
"""(T, H, W, 3) uint8, BGR, as OpenCV reads and the networks take it."""
HEIGHT, WIDTH = 256, 128


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much clips are changed for training. Each change is the same for all frames of a clip."""

    flip: float = 0.5
    """Chance of a mirrored clip."""
    pad: int = 10
    """Pixels added on each side before a crop of the old size is taken somewhere."""
    contrast: float = 0.0
    """Contrast is scaled by a factor within 1 ± this."""
    brightness: float = 0.0
    """Brightness moves by up to this share of the range."""
    tint: float = 0.0
    """Each colour channel is scaled by a factor of its own within 1 ± this."""
    erase: float = 0.0
    """Chance that a rectangle is painted over, at the same place in all frames."""
    erase_area: tuple[float, float] = (0.02, 0.3)
    """Share of the picture that the rectangle covers."""
    distant: float = 0.0
    """Chance that a clip loses what a small person in a compressed video has lost…"""
    distant_height: tuple[int, int] = (36, 128)
    """…by being shrunk to a height within these…"""
    distant_quality: tuple[int, int] = (45, 96)
    """…and compressed as JPEG of a quality within these."""


NONE = Augmentation(flip=0.0, pad=0)


def read_clip(paths: Sequence[str], height: int = HEIGHT, width: int = WIDTH) -> Clip:
    """Read pictures as one (T, height, width, 3) uint8 BGR array."""
    clip = np.empty((len(paths), height, width, 3), np.uint8)
    seen: dict[str, int] = {}
    for index, path in enumerate(paths):
        if path in seen:
            clip[index] = clip[seen[path]]
        else:
            seen[path] = index
            _read_into(path, clip[index])
    return clip


def augment(clip: Clip, how: Augmentation, rng: np.random.Generator) -> Clip:
    """A changed copy of a clip. Draws the same count of numbers whatever it does."""
    height, width = clip.shape[1:3]
    flip, erase = rng.random(2)
    top, left = rng.integers(0, 2 * how.pad + 1, 2)
    table = _colour_table(how, rng)
    box, paint = _rectangle(how, height, width, rng), rng.integers(0, 256, 3)
    distant, small = rng.random(), _small_size(how, height, width, rng)
    quality = int(rng.integers(*how.distant_quality))
    out = np.empty_like(clip)
    for source, target in zip(clip, out, strict=True):
        picture = source[:, ::-1] if flip < how.flip else source
        if how.pad:
            picture = cv2.copyMakeBorder(
                picture, how.pad, how.pad, how.pad, how.pad, cv2.BORDER_CONSTANT
            )[top : top + height, left : left + width]
        if table is None:
            target[:] = picture
        else:
            cv2.LUT(np.ascontiguousarray(picture), table, dst=target)
        if distant < how.distant:
            target[:] = _seen_from_afar(target, small, quality)
    if erase < how.erase:
        out[(slice(None), *box)] = paint
    return out


def _read_into(path: str, target: NDArray[np.uint8]) -> None:
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}") from error
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if picture is None:
        raise ImageError(f"{path} is not a picture, or is cut short")
    height, width = target.shape[:2]
    if picture.shape[:2] == (height, width):
        target[:] = picture
    else:
        cv2.resize(picture, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)


def _colour_table(how: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8] | None:
    """(1, 256, 3): what each value of each channel becomes; None for nothing."""
    contrast, brightness, *tint = rng.uniform(-1, 1, 5)
    if not (how.contrast or how.brightness or how.tint):
        return None
    scale = (1 + how.contrast * contrast) * (1 + how.tint * np.array(tint))
    shift = 128 * (1 - (1 + how.contrast * contrast)) + 255 * how.brightness * brightness
    values = np.arange(256)[:, None] * scale + shift
    table: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)[None]
    return table


def _small_size(
    how: Augmentation, height: int, width: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Width and height of the shrunk picture; small ones are as likely as on a floor seen from above."""
    small = float(np.exp(rng.uniform(*np.log(how.distant_height))))
    return max(1, round(small * width / height)), round(small)


def _seen_from_afar(picture: Clip, size: tuple[int, int], quality: int) -> Clip:
    """The picture (H, W, 3) shrunk to `size`, compressed, and enlarged again."""
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    enlarged: Clip = cv2.resize(
        decoded, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR
    )
    return enlarged


def _rectangle(
    how: Augmentation, height: int, width: int, rng: np.random.Generator
) -> tuple[slice, slice]:
    area = rng.uniform(*how.erase_area) * height * width
    aspect = np.exp(rng.uniform(np.log(0.4), np.log(2.5)))
    tall = min(height, max(1, round(float(np.sqrt(area * aspect)))))
    wide = min(width, max(1, round(float(np.sqrt(area / aspect)))))
    top, left = rng.integers(0, (height - tall + 1, width - wide + 1)).tolist()
    return slice(top, top + tall), slice(left, left + wide)
