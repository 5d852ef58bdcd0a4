"""Realism, difficulty and speed of the synthetic world, judged by networks trained on real people.

`python -m benchmarks.synthetic [realism] [difficulty] [speed]` prints a table; all three together
rewrite `results/synthetic.json`. The networks are those of the test data, see `REID_TEST_DATA`.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.machine import this_machine
from synthetic.live import Feed
from synthetic.load import load_site
from synthetic.reid_set import ReidRequest, write_reid
from synthetic.render import Rendered
from synthetic.world import World

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
        """Share of detections that show somebody; poor boxes on people hard to see do not count."""
        return self.right / max(1, self.right + self.wrong)


def realism(
    site: str, seed: int, frames: int = 40, cameras: int | None = None, sheet: Path | None = None
) -> Realism:
    """Detect people in `frames` 960×540 pictures of each camera (or the first ones), 2 s apart."""
    detector = Yolox(data_folder() / "models" / "yolox_nano.onnx")
    described = load_site(site).resized((960, 540))
    result, pictures = Realism(Counter(), Counter(), Counter()), []
    for camera in described.cameras[:cameras]:
        feed = Feed(described, camera.name, seed)
        for number in range(frames):
            shown = feed.frame(round(number * 2 * described.fps)).rendered
            boxes, _ = detector.people(shown.image)
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
    # a second box on somebody is wrong; a poor one on somebody small or hidden is neither
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


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Rank-1 of two ways to tell people apart, gallery and query from different cameras."""

    identities: int
    crops: int
    histogram: float
    network: float


def difficulty(
    folder: Path, seed: int = 11, identities: int = 100, frames: int = 16, processes: int = 1
) -> Difficulty:
    """Render `identities` × 4 cameras × `frames` crops; search every tracklet in other cameras."""
    write_reid(ReidRequest(seed, 0, identities, frames, tracklets=1, cameras=4), folder, processes)
    tracklets: dict[tuple[int, int], list[Path]] = defaultdict(list)
    for path in sorted((folder / "bbox_test").glob("*/*.jpg")):
        tracklets[int(path.name[:4]), int(path.name[5])].append(path)
    people, cameras = np.array(sorted(tracklets)).T
    network = _Embedder()
    colours, features = [], []
    for key in sorted(tracklets):
        images = [np.asarray(cv2.imread(str(path)), dtype=np.uint8) for path in tracklets[key]]
        colours.append(np.mean([_histogram(image) for image in images], axis=0))
        features.append(np.mean([network(image) for image in images], axis=0))
    return Difficulty(
        identities=len(set(people.tolist())),
        crops=sum(len(paths) for paths in tracklets.values()),
        histogram=_rank_1(np.sqrt(colours), people, cameras),
        network=_rank_1(np.array(features), people, cameras),
    )


class _Embedder:
    """person-reidentification-retail-0288: 256×128 BGR to a unit vector."""

    def __init__(self) -> None:
        name = "person-reidentification-retail-0288"
        path = data_folder() / "models" / name / "FP16" / f"{name}.xml"
        self._model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1})

    def __call__(self, image: Image) -> Floats:
        batch = image.transpose(2, 0, 1)[None].astype(np.float32)
        feature = self._model([batch])[0].ravel().astype(np.float64)
        unit: Floats = feature / np.linalg.norm(feature)
        return unit


def _histogram(image: Image) -> Floats:
    """Shares of 16 hues × 8 saturations × 8 values."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [16, 8, 8], [0, 180, 0, 256, 0, 256]).ravel()
    shares: Floats = counts.astype(np.float64) / counts.sum()
    return shares


def _rank_1(vectors: Floats, people: NDArray[np.int64], cameras: NDArray[np.int64]) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    score = unit @ unit.T
    same = people[:, None] == people[None]
    score[same & (cameras[:, None] == cameras[None])] = -np.inf  # the query itself, as in MARS
    best = people[score.argmax(axis=1)]
    return float((best == people).mean())


@dataclass(frozen=True, slots=True)
class Speed:
    """One core at 640×360."""

    frames: int
    people: float
    """Mean number in view."""
    fps: float
    """Frames per second of processor time of the one thread, median frame."""
    fps_encoded: float
    """The same with H.264 at the site's settings."""
    world_ms: float
    """Milliseconds of processor time that a second of the world's people takes."""
    growth_mb: float
    """Memory gained between one minute and an hour of the site."""


def speed(site: str = "plaza", seed: int = 7) -> Speed:
    """Frames with 7 to 9 people in view; an hour of people for the memory."""
    from synthetic.write import Video  # noqa: PLC0415 - only here

    cv2.setNumThreads(1)
    described = load_site(site).resized((640, 360))
    feeds = [Feed(described, camera.name, seed) for camera in described.cameras]
    for feed in feeds:
        feed.frame(0)  # compiles
    drawn, encoded, counts = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        video = Video(Path(folder) / "speed.mp4", (640, 360), described.fps, 23)
        for number in range(0, 900, 3):
            for feed in feeds:
                feed.world.people_at(number / described.fps)
                began = time.thread_time()
                shot = feed.frame(number)
                done = time.thread_time()
                video.add(shot.rendered.image)
                if 7 <= len(shot.rendered.ids) <= 9:
                    drawn.append(done - began)
                    encoded.append(time.thread_time() - began)
                    counts.append(len(shot.rendered.ids))
        video.close()
    world = World(described, seed)
    world.people_at(60.0)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    for minute in range(2, 61):
        world.people_at(60.0 * minute)
    per_second = (time.thread_time() - began) / (59 * 60)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return Speed(
        len(drawn), float(np.mean(counts)),
        float(1 / np.median(drawn)), float(1 / np.median(encoded)),
        1000 * per_second, growth,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is named, all by default."""
    parser = argparse.ArgumentParser("python -m benchmarks.synthetic", description=__doc__)
    parser.add_argument("what", nargs="*", default=[], help="realism, difficulty, speed (all)")
    parser.add_argument("--frames", type=int, default=30, help="per camera, for realism (30)")
    parser.add_argument("--processes", type=int, default=1, help="for rendering crops (1)")
    parser.add_argument("--sheets", type=Path, help="folder for pictures with what was found")
    options = parser.parse_args(arguments)
    what = options.what or ["realism", "difficulty", "speed"]
    if set(what) - {"realism", "difficulty", "speed"}:
        parser.error("choose among realism, difficulty, speed")
    needed = data_folder() / "models" / "yolox_nano.onnx"
    if set(what) - {"speed"} and not needed.exists():
        print(f"error: {needed} is missing; set REID_TEST_DATA to the test data.", file=sys.stderr)
        return 2
    machine = this_machine(["numpy", "numba", "opencv-python", "onnxruntime", "openvino"])
    results: dict[str, dict[str, object]] = {}
    if "realism" in what:
        for site in ("mall", "plaza"):
            sheet = options.sheets and options.sheets / f"realism_{site}.png"
            results[f"realism {site}"] = _told(realism(site, 3, options.frames, sheet=sheet))
    if "difficulty" in what:
        with tempfile.TemporaryDirectory() as folder:
            found = difficulty(Path(folder), processes=options.processes)
        results["difficulty"] = {
            "identities": found.identities, "crops": found.crops,
            "rank-1 of HSV histograms (want ≤ 0.45)": round(found.histogram, 3),
            "rank-1 of retail-0288 (want < 0.9)": round(found.network, 3),
        }  # fmt: skip
    if "speed" in what:
        took = speed()
        results["speed 640×360, one core"] = {
            "frames with 7 to 9 people": took.frames, "people in view": round(took.people, 2),
            "fps drawn (want ≥ 20)": round(took.fps, 1),
            "fps drawn and encoded": round(took.fps_encoded, 1),
            "world, ms per second": round(took.world_ms, 2),
            "memory gained in an hour, MB": round(took.growth_mb, 1),
        }  # fmt: skip
    if len(set(what)) == 3:  # all rows of the file are of one run
        report = {
            "machine": machine.as_json(),
            "command": "python -m benchmarks.synthetic",
            "rows": results,
        }
        RESULTS.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    table = Table("what", "measure", "value")
    for name, row in results.items():
        for measure, value in row.items():
            table.add_row(name, measure, str(value))
    Console().print(table)
    return 0


def _told(result: Realism) -> dict[str, object]:
    bands = {
        band: f"{result.found[band]} of {result.found[band] + result.missed[band]}"
        for band in (f"{low}-{high}" for low, high in HEIGHTS)
        if result.found[band] + result.missed[band]
    }
    return {
        "recall (want ≥ 0.75)": round(result.recall, 3),
        "precision (want ≥ 0.85)": round(result.precision, 3),
        **{f"found, {band} px tall": share for band, share in bands.items()},
        **{f"missed: {cause}": count for cause, count in sorted(result.causes.items())},
    }


if __name__ == "__main__":
    sys.exit(main())
