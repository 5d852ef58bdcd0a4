"""One tracker over prepared detections, timed frame by frame.

    python contestants.py NAME CASES.npz ANSWER.npz

Runs in the peer's own environment, hence needs nothing but numpy and that peer, and imports the
peer only where it is used. Every tracker has its own defaults and, if it takes one, the frame
rate; none gets pixels. What is timed is the call that a user makes for one frame, its input ready.
"""

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

Theirs: TypeAlias = Any
"""Whatever a peer takes or gives for one frame."""
Cases: TypeAlias = Mapping[str, np.ndarray]


class Contestant(SimpleNamespace):
    """`ready(boxes, scores)` makes a frame's input, `step` is timed, `read` gives ids and boxes."""

    ready: Callable[[np.ndarray, np.ndarray, float], Theirs]
    step: Callable[[Theirs], Theirs]
    read: Callable[[Theirs], tuple[np.ndarray, np.ndarray]]


def throughline(fps: float, size: tuple[int, int]) -> Contestant:
    track, frames = map(importlib.import_module, ("pipeline.track", "pipeline.frames"))
    tracker = track.Tracker(size)
    return Contestant(
        ready=lambda boxes, scores, t: (frames.Detections(boxes, scores), t),
        step=lambda given: tracker.update(*given),
        read=lambda tracks: (tracks.ids, tracks.boxes),
    )


def ultralytics(kind: str, fps: float, size: tuple[int, int]) -> Contestant:
    package = importlib.import_module("ultralytics")
    results = importlib.import_module("ultralytics.engine.results")
    utils = importlib.import_module("ultralytics.utils")
    config = utils.YAML.load(Path(package.__file__).parent / f"cfg/trackers/{kind}.yaml")
    module = {"bytetrack": "byte_tracker", "botsort": "bot_sort"}[kind]
    name = {"bytetrack": "BYTETracker", "botsort": "BOTSORT"}[kind]
    if kind == "botsort":
        config |= {"gmc_method": "none", "with_reid": False}
    maker = getattr(importlib.import_module(f"ultralytics.trackers.{module}"), name)
    tracker = maker(SimpleNamespace(**config))

    def ready(boxes: np.ndarray, scores: np.ndarray, t: float) -> Theirs:
        rows = np.column_stack([boxes, scores, np.zeros(len(boxes), np.float32)])
        return results.Boxes(rows, (size[1], size[0]))

    def read(rows: Theirs) -> tuple[np.ndarray, np.ndarray]:
        rows = np.asarray(rows).reshape(len(rows), -1)
        return (rows[:, 4], rows[:, :4]) if len(rows) else (rows[:0], np.empty((0, 4)))

    return Contestant(ready=ready, step=tracker.update, read=read)


def trackers(name: str, fps: float, size: tuple[int, int]) -> Contestant:
    maker = getattr(importlib.import_module("trackers"), name)
    supervision = importlib.import_module("supervision")
    tracker = maker(frame_rate=fps)

    def ready(boxes: np.ndarray, scores: np.ndarray, t: float) -> Theirs:
        classes = np.zeros(len(boxes), int)
        return supervision.Detections(xyxy=boxes, confidence=scores, class_id=classes)

    def read(found: Theirs) -> tuple[np.ndarray, np.ndarray]:
        ids = found.tracker_id if found.tracker_id is not None else np.empty(0)
        return ids[ids >= 0], found.xyxy[: len(ids)][ids >= 0]

    return Contestant(ready=ready, step=tracker.update, read=read)


def boxmot(name: str, backend: str, fps: float, size: tuple[int, int]) -> Contestant:
    create = importlib.import_module("boxmot").create_tracker
    spec = importlib.import_module("boxmot.trackers").TrackerSpec
    tracker = create(spec(name=name, backend=backend, geometry="aabb"))
    blank = np.zeros((size[1], size[0], 3), np.uint8)
    return Contestant(
        ready=lambda boxes, scores, t: np.column_stack(
            [boxes, scores, np.zeros(len(boxes), np.float32)]
        ),
        step=lambda rows: tracker.update(rows, blank),
        read=lambda rows: (rows[:, 4], rows[:, :4]),
    )


def norfair(fps: float, size: tuple[int, int]) -> Contestant:
    package = importlib.import_module("norfair")
    tracker = package.Tracker(distance_function="iou", distance_threshold=0.7)

    def ready(boxes: np.ndarray, scores: np.ndarray, t: float) -> Theirs:
        return [
            package.Detection(points=box.reshape(2, 2), scores=np.full(2, score))
            for box, score in zip(boxes.astype(float), scores, strict=True)
            if score >= 0.5
        ]

    def read(found: Theirs) -> tuple[np.ndarray, np.ndarray]:
        seen = [f for f in found if f.live_points.any()]
        boxes = [f.estimate.reshape(4) for f in seen]
        return np.array([f.id for f in seen]), np.array(boxes).reshape(-1, 4)

    return Contestant(ready=ready, step=tracker.update, read=read)


CONTESTANTS: dict[str, Callable[[float, tuple[int, int]], Contestant]] = {
    "throughline": throughline,
    "ultralytics ByteTrack": lambda *a: ultralytics("bytetrack", *a),
    "ultralytics BoT-SORT": lambda *a: ultralytics("botsort", *a),
    "trackers ByteTrack": lambda *a: trackers("ByteTrackTracker", *a),
    "trackers OC-SORT": lambda *a: trackers("OCSORTTracker", *a),
    "BoxMOT ByteTrack": lambda *a: boxmot("bytetrack", "python", *a),
    "BoxMOT OC-SORT": lambda *a: boxmot("ocsort", "python", *a),
    "BoxMOT ByteTrack C++": lambda *a: boxmot("bytetrack", "cpp", *a),
    "BoxMOT OC-SORT C++": lambda *a: boxmot("ocsort", "cpp", *a),
    "norfair": norfair,
}


def frames_of(case: Cases, name: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Frame number from 1, boxes and scores."""
    numbers, boxes, scores = (case[f"{name}/{key}"] for key in ("frames", "boxes", "scores"))
    edges = np.searchsorted(numbers, np.arange(1, int(case[f"{name}/count"]) + 2))
    for number, (start, end) in enumerate(pairwise(edges), start=1):
        yield number, boxes[start:end], scores[start:end]


def run(contestant: Contestant, case: Cases, name: str) -> tuple[np.ndarray, np.ndarray]:
    """MOT rows (frame, id, left, top, width, height) and the seconds of each frame."""
    rows, seconds = [], []
    fps = float(case[f"{name}/fps"])
    for number, boxes, scores in frames_of(case, name):
        given = contestant.ready(boxes, scores, number / fps)
        start = time.perf_counter()
        answer = contestant.step(given)
        seconds.append(time.perf_counter() - start)
        ids, found = contestant.read(answer)
        sizes = found[:, 2:] - found[:, :2]
        rows.append(np.column_stack([np.full(len(ids), number), ids, found[:, :2], sizes]))
    return np.concatenate(rows), np.array(seconds)


def main() -> None:
    name, cases, answer = sys.argv[1:]
    case = dict(np.load(cases))
    names = sorted({key.split("/")[0] for key in case})
    result = {}
    make = CONTESTANTS[name]
    run(make(25.0, (1920, 1080)), case, names[0])  # compiles, loads, warms up
    for sequence in names:
        width, height = case[f"{sequence}/size"].tolist()
        contestant = make(float(case[f"{sequence}/fps"]), (width, height))
        result[f"{sequence}/rows"], result[f"{sequence}/seconds"] = run(contestant, case, sequence)
    np.savez(answer, **result)


if __name__ == "__main__":
    main()
