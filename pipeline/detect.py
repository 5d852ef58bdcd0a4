"""Pictures to people: letterbox, one run of the network, its head decoded, NMS, back to the frame.

Everything after the resize works on all pictures of a batch at once.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array, Engine
from engines.package import Head
from pipeline.colours import glances
from pipeline.compiled import compiled
from pipeline.errors import DetectorError
from pipeline.frames import Detections, FloatArray, IntArray
from pipeline.pixels import Image, Pixels, as_pixels

Flags: TypeAlias = NDArray[np.bool_]


YOLOX_STRIDES = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """What a detector's network wants to see and how it answers.

    A network that takes uint8 (B, H, W, 3) gets BGR and nothing else is done to it; one that takes
    floats (B, 3, H, W) gets them in `rgb` order or not, times `scale`.
    """

    head: Head
    size: tuple[int, int]
    """Height and width of the network's pictures."""
    rgb: bool = True
    scale: float = 1 / 255
    classes: tuple[int, ...] = (0,)
    """Classes that are people."""
    score: float = 0.1
    """Less sure boxes are dropped. Low, because the tracker makes use of doubtful ones."""
    overlap: float = 0.65
    """Of two boxes with a larger intersection over union, the surer one stays."""
    by_class: bool = False
    """Whether boxes of different classes may lie on each other."""
    most: int = 300
    """Boxes per picture at most, the surest."""
    fill: int = 114
    """Grey of the letterbox's border."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Boxes of a whole batch. The class is there for NMS only."""

    picture: IntArray
    """(K,)"""
    boxes: FloatArray
    """(K, 4) left, top, right, bottom in the network's picture."""
    scores: FloatArray
    classes: IntArray

    def __getitem__(self, chosen: IntArray | Flags) -> "_Found":
        return _Found(
            self.picture[chosen], self.boxes[chosen], self.scores[chosen], self.classes[chosen]
        )


class Detector:
    """A network with its letterbox. One owner thread at a time."""

    def __init__(self, engine: Engine, spec: DetectorSpec) -> None:
        if len(engine.inputs) != 1 or len(engine.outputs) != 1:
            raise DetectorError(
                f"a detector has one input and one output, but this network has "
                f"{len(engine.inputs)} and {len(engine.outputs)}"
            )
        (self._input,), (self._output,) = engine.inputs.values(), engine.outputs.values()
        self._engine, self._spec = engine, spec
        height, width = spec.size
        planar = self._input.dtype != "uint8"
        wanted = (3, height, width) if planar else (height, width, 3)
        shape = self._input.shape[1:]
        if len(shape) != 3 or any(n not in (-1, w) for n, w in zip(shape, wanted, strict=True)):
            raise DetectorError(f"the network takes {shape} pictures, but its description {wanted}")
        self._batch = self._input.shape[0] if self._input.shape[0] > 0 else engine.max_batch
        self._fixed = self._input.shape[0] > 0
        dtype = np.dtype(self._input.dtype)
        self._planes = np.empty((self._batch, *wanted), dtype) if planar else None
        self._letterbox = Letterbox(self._batch, spec.size, spec.fill)
        nothing = np.empty((0, 4), np.float32)
        nobody = np.empty(0, np.int64)
        suppress(nothing, nothing[:, 0], nobody, spec.overlap)  # compiled before use
        glances(self._letterbox(())[0], nobody, nothing)
        self._grid = _yolox_grid(height, width) if spec.head is Head.YOLOX else None

    def __call__(
        self, images: Sequence[Image | Pixels], sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Detections]:
        """People in each picture, in its own pixels: of any size, arrays (H, W, 3) uint8 BGR.

        `sizes`: width and height of the frames that boxes are wanted in, where the pictures are
        already shrunk.
        """
        found: list[Detections] = []
        for start in range(0, len(images), self._batch):
            part = [_sound(image) for image in images[start : start + self._batch]]
            frames = [pixels.size for pixels in part]
            if sizes is not None:
                frames = list(sizes[start : start + self._batch])
            found.extend(self._run(part, np.array(frames, np.float32)))
        return found

    def _run(self, images: Sequence[Pixels], frames: FloatArray) -> Iterator[Detections]:
        pixels, pasted = self._letterbox(images)
        pixels = pixels if self._fixed else pixels[: len(images)]
        answer = self._engine.run({self._input.name: self._prepared(pixels)})[self._output.name]
        found = self._decode(np.asarray(answer, np.float32)[: len(images)])
        if self._spec.head is not Head.END_TO_END:
            group = found.picture
            if self._spec.by_class:
                group = group * (int(found.classes.max(initial=0)) + 1) + found.classes
            found = found[suppress(found.boxes, found.scores, group, self._spec.overlap)]
        return self._framed(found, pixels, pasted, frames)

    def _prepared(self, pixels: NDArray[np.uint8]) -> Array:
        if self._planes is None:
            return pixels
        planes = self._planes[: len(pixels)]
        channels = pixels[..., ::-1] if self._spec.rgb else pixels
        return np.multiply(
            channels.transpose(0, 3, 1, 2), self._spec.scale, out=planes, casting="same_kind"
        )

    def _decode(self, answer: FloatArray) -> _Found:
        """Boxes of the wanted classes that are sure enough."""
        spec, wanted = self._spec, np.array(self._spec.classes)
        if answer.ndim != 3:
            raise DetectorError(
                f"the head {spec.head} has 3 axes, but the network gave {answer.ndim}"
            )
        if spec.head is Head.END_TO_END:
            self._check_width(answer.shape[2] == 6, answer)
            good = (answer[..., 4] >= spec.score) & np.isin(answer[..., 5], wanted)
            picture, place = np.nonzero(good)
            rows = answer[picture, place]
            return _Found(picture, rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))
        if spec.head is Head.ULTRALYTICS:
            self._check_width(answer.shape[1] > 4 + wanted.max(), answer)
            scores = answer[:, 4 + wanted].transpose(0, 2, 1)
            picture, place = np.nonzero(scores.max(axis=2) >= spec.score)
            rows = answer[picture, :4, place]
            centres, sizes = rows[:, :2], rows[:, 2:]
        else:
            grid, stride = self._grid or _yolox_grid(*spec.size)
            fits = answer.shape[2] > 5 + wanted.max() and answer.shape[1] == len(grid)
            self._check_width(fits, answer)
            scores = answer[..., 5 + wanted] * answer[..., 4:5]
            picture, place = np.nonzero(scores.max(axis=2) >= spec.score)
            rows = answer[picture, place, :4]
            centres = (rows[:, :2] + grid[place]) * stride[place]
            sizes = np.exp(rows[:, 2:]) * stride[place]
        boxes = np.hstack([centres - sizes / 2, centres + sizes / 2]).astype(np.float32)
        scores = scores[picture, place]
        return _Found(picture, boxes, scores.max(axis=1), wanted[scores.argmax(axis=1)])

    def _check_width(self, fits: bool, answer: FloatArray) -> None:
        if not fits:
            shape = "×".join(map(str, answer.shape))
            raise DetectorError(
                f"the network's answer, {shape}, is none of a {self._spec.head} head "
                f"with class {max(self._spec.classes)} at {self._spec.size}"
            )

    def _framed(
        self,
        found: _Found,
        pixels: NDArray[np.uint8],
        pasted: FloatArray,
        frames: FloatArray,
    ) -> Iterator[Detections]:
        """Boxes in the pixels of their frames, clipped, the surest first, picture by picture."""
        found = found[np.lexsort((-found.scores, found.picture))]
        colours = glances(pixels, found.picture, found.boxes)
        place, frame = pasted[found.picture], frames[found.picture]
        stretch = frame / place[:, 2:]
        boxes = (found.boxes - np.tile(place[:, :2], 2)) * np.tile(stretch, 2)
        boxes = np.clip(boxes, 0, np.tile(frame, 2))
        whole = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & np.isfinite(found.scores)
        boxes, scores, picture = boxes[whole], found.scores[whole], found.picture[whole]
        colours = colours[whole]
        edges = np.searchsorted(picture, np.arange(len(frames) + 1))
        for start, next_start in pairwise(edges.tolist()):
            end = min(next_start, start + self._spec.most)
            yield Detections(
                boxes[start:end].astype(np.float32), scores[start:end], colours[start:end]
            )


_HANDS = 2


class Letterbox:
    """Pictures of any size shrunk or enlarged onto one grey batch, their shape kept."""

    def __init__(self, batch: int, size: tuple[int, int], fill: int = 114) -> None:
        self._pixels = np.full((batch, *size, 3), fill, np.uint8)
        self._pasted = np.zeros((batch, 4), np.int64)
        self._fill = fill
        self._hands = ThreadPoolExecutor(_HANDS, "letterbox")

    def __call__(self, images: Sequence[Image | Pixels]) -> tuple[NDArray[np.uint8], FloatArray]:
        """The whole batch (B, H, W, 3), which stays ours and is overwritten by the next call; and
        (N, 4) float32: left, top, width, height of where each picture lies in it."""
        # Two cores shrink two pictures: the library lets go of the interpreter.
        list(self._hands.map(self._place, range(len(images)), map(_sound, images)))
        return self._pixels, self._pasted[: len(images)].astype(np.float32)

    def _place(self, slot: int, image: Pixels) -> None:
        height, width = self._pixels.shape[1:3]
        whole_width, whole_height = image.size
        scale = min(height / whole_height, width / whole_width)
        high = min(max(round(whole_height * scale), 1), height)
        wide = min(max(round(whole_width * scale), 1), width)
        left, top = (width - wide) // 2, (height - high) // 2
        if (self._pasted[slot] != (left, top, wide, high)).any():
            self._pixels[slot] = self._fill
            self._pasted[slot] = left, top, wide, high
        image.fill(self._pixels[slot, top : top + high, left : left + wide])


def _sound(image: Image | Pixels) -> Pixels:
    if isinstance(image, np.ndarray) and (
        image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size
    ):
        raise DetectorError(
            f"a picture must be height×width×3 uint8, but is {image.shape} {image.dtype}"
        )
    return as_pixels(image)


def suppress(boxes: FloatArray, scores: FloatArray, group: IntArray, overlap: float) -> IntArray:
    """Indices of the boxes that stay: within a group, none lies on a surer one."""
    order = np.lexsort((-scores, group))
    return order[_stay(boxes[order], group[order], overlap)]


@compiled
def _stay(boxes: FloatArray, group: IntArray, overlap: float) -> Flags:
    """(K,) for boxes sorted by group and from the surest on."""
    stay = np.ones(len(boxes), np.bool_)
    for i in range(len(boxes)):
        left, top, right, bottom = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        area = (right - left) * (bottom - top)
        j = i + 1
        while stay[i] and j < len(boxes) and group[j] == group[i]:
            wide = min(right, boxes[j, 2]) - max(left, boxes[j, 0])
            high = min(bottom, boxes[j, 3]) - max(top, boxes[j, 1])
            if wide > 0.0 and high > 0.0:
                other = (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1])
                if wide * high > overlap * (area + other - wide * high):
                    stay[j] = False
            j += 1
    return stay


def _yolox_grid(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """(N, 2) the cell of each prediction, x and y, and (N, 1) the stride of its level."""
    cells, strides = [], []
    for stride in YOLOX_STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((y.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
