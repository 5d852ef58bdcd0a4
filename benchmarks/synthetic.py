"""Realism, difficulty and speed of the synthetic world, judged by networks trained on real people.

`python -m benchmarks.synthetic [realism|difficulty|speed …]` prints a table and writes results/synthetic.json.
"""

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from synthetic.live import Feed
from synthetic.load import load_site
from synthetic.render import Rendered

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

RESULTS = Path(__file__).parent / "results" / "synthetic.json"
SIDE = 416
HEIGHTS = ((100, 130), (130, 170), (170, 240), (240, 2000))


def data_folder() -> Path:
    """Where the test data lies."""
    root = Path(__file__).parent.parent
    return Path(os.environ.get("REID_TEST_DATA", root.parent / "shared" / "data"))


class Yolox:
    """YOLOX-nano trained on COCO, persons only."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._name = self._session.get_inputs()[0].name
        places, strides = [], []
        for stride in (8, 16, 32):
            count = SIDE // stride
            y, x = np.mgrid[0:count, 0:count]
            places.append(np.stack([x.ravel(), y.ravel()], 1))
            strides.append(np.full(count * count, stride))
        self._places, self._strides = np.concatenate(places), np.concatenate(strides)[:, None]

    def people(self, image: Image, least: float = 0.3) -> tuple[Floats, Floats]:
        """Boxes (N, 4) left, top, right, bottom and scores (N,), best first."""
        scale = SIDE / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        canvas = np.full((SIDE, SIDE, 3), 114, np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        head = self._session.run(
            None, {self._name: canvas.transpose(2, 0, 1)[None].astype(np.float32)}
        )[0][0]
        scores = head[:, 4] * head[:, 5]
        keep = scores > least
        centre = (head[keep, :2] + self._places[keep]) * self._strides[keep]
        half = np.exp(head[keep, 2:4]) * self._strides[keep] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1) / scale
        return _suppressed(boxes, scores[keep])


@dataclass(slots=True)
class Realism:
    """What a detector made of the frames of one site."""

    found: Counter[str]
    missed: Counter[str]
    causes: Counter[str]
    right: int = 0
    wrong: int = 0

    @property
    def recall(self) -> float:
        """Share of the people who ought to be found."""
        return self.found.total() / max(1, self.found.total() + self.missed.total())

    @property
    def precision(self) -> float:
        """Share of detections that show somebody, of those that do not merely show somebody hard to see."""
        return self.right / max(1, self.right + self.wrong)


def realism(
    site: str, seed: int, frames: int = 40, least: float = 0.3, sheet: Path | None = None
) -> Realism:
    """Detect people in `frames` 960×540 pictures of each camera, two seconds apart."""
    detector = Yolox(data_folder() / "models" / "yolox_nano.onnx")
    described = load_site(site).resized((960, 540))
    result, pictures = Realism(Counter(), Counter(), Counter()), []
    for camera in described.cameras:
        feed = Feed(described, camera.name, seed)
        for number in range(frames):
            shown = feed.frame(round(number * 2 * described.fps)).rendered
            boxes, scores = detector.people(shown.image, least)
            match = _count(result, shown, boxes)
            if sheet and number % 10 == 5:
                pictures.append(_drawn(shown, boxes, match))
    if sheet:
        _save_grid(pictures, sheet)
    return result


def _count(result: Realism, shown: Rendered, boxes: Floats) -> NDArray[np.bool_]:
    truth = shown.boxes.astype(np.float64)
    overlap = _iou(truth, boxes)
    taken = np.zeros(len(boxes), dtype=bool)
    heights = truth[:, 3] - truth[:, 1]
    due = (heights > 100) & (shown.visibility >= 0.7)
    matched = np.zeros(len(truth), dtype=bool)
    for column in range(len(boxes)):  # best scores first, as precision is usually counted
        free = np.where(matched, 0, overlap[:, column]) if len(truth) else np.zeros(0)
        if len(free) and free.max() >= 0.5:
            matched[free.argmax()] = taken[column] = True
    for row in np.flatnonzero(due):
        band = next(f"{a}-{b}" for a, b in HEIGHTS if a <= heights[row] <= b)
        (result.found if matched[row] else result.missed)[band] += 1
        if not matched[row]:
            result.causes[_cause(row, truth, shown, overlap)] += 1
    result.right += int(taken.sum())
    touching = overlap.max(axis=0) if len(truth) else np.zeros(len(boxes))
    # a second box on somebody is wrong; a poor box on somebody too small or hidden to be asked for is neither
    hard = (
        ~taken & (touching > 0.25) & ~due[overlap.argmax(axis=0)]
        if len(truth)
        else np.zeros(len(boxes), bool)
    )
    result.wrong += int((~taken & ~hard).sum())
    return matched


def _cause(row: int, truth: Floats, shown: Rendered, overlap: Floats) -> str:
    x0, y0, x1, y1 = truth[row]
    others = _iou(truth[row : row + 1], np.delete(truth, row, axis=0))
    if x0 <= 0 or y0 <= 0 or x1 >= shown.image.shape[1] or y1 >= shown.image.shape[0]:
        return "cut by the frame's edge"
    if others.size and others.max() > 0.3:
        return "beside somebody"
    if overlap.size and overlap[row].max() > 0.3:
        return "found, but the box is off"
    return "partly hidden" if shown.visibility[row] < 0.95 else "not seen"


def _suppressed(boxes: Floats, scores: Floats, limit: float = 0.55) -> tuple[Floats, Floats]:
    order = np.argsort(-scores)
    boxes, scores = boxes[order], scores[order]
    keep: list[int] = []
    overlap = _iou(boxes, boxes)
    for row in range(len(boxes)):
        if not keep or overlap[row, keep].max() <= limit:
            keep.append(row)
    return boxes[keep], scores[keep]


def _iou(first: Floats, second: Floats) -> Floats:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    result: Floats = common / (areas[0][:, None] + areas[1][None] - common + 1e-9)
    return result


def _drawn(shown: Rendered, boxes: Floats, matched: NDArray[np.bool_]) -> Image:
    image = shown.image.copy()
    for box, good, share in zip(shown.boxes, matched, shown.visibility, strict=True):
        x0, y0, x1, y1 = (int(v) for v in box)
        colour = (
            (0, 200, 0)
            if good
            else (0, 0, 255)
            if share >= 0.7 and y1 - y0 > 100
            else (200, 200, 0)
        )
        cv2.rectangle(image, (x0, y0), (x1, y1), colour, 1)
    for box in boxes:
        x0, y0, x1, y1 = (int(v) for v in box)
        cv2.rectangle(image, (x0, y0), (x1, y1), (255, 0, 255), 1)
    return image


def _save_grid(pictures: Sequence[Image], path: Path, columns: int = 3) -> None:
    rows = [
        np.hstack(list(pictures[k : k + columns]))
        for k in range(0, len(pictures) - columns + 1, columns)
    ]
    cv2.imwrite(str(path), np.vstack(rows))


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:] or ("mall", "plaza"):
        began = time.time()
        for seed in (3,):
            r = realism(
                name, seed, frames=int(os.environ.get("N", 20)), sheet=Path(f"/tmp/real_{name}.jpg")
            )
            print(
                name,
                f"recall {r.recall:.3f} precision {r.precision:.3f}",
                dict(r.found),
                dict(r.missed),
                dict(r.causes),
                r.right,
                r.wrong,
                round(time.time() - began, 1),
            )
