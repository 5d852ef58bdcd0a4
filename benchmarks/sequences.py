"""The sequences that trackers are measured on: MOT17 where it is there, and crowds of our own."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.crowds import HEIGHT, WIDTH, crowd
from pipeline.frames import Detections
from pipeline.mot_text import MotBoxes, parse, read_truth

ROOT = Path(__file__).parent.parent
CROWDS = (13, 30, 100, 200, 500)
SCORED_UP_TO = 100
"""People; the score of larger crowds takes minutes and says the same."""


@dataclass(frozen=True, slots=True)
class Case:
    """One sequence of detections, with the truth where a score is wanted."""

    fps: float
    size: tuple[int, int]
    detections: list[Detections]
    truth: MotBoxes | None


def mot_cases() -> Iterator[tuple[str, Case]]:
    """The two MOT17 sequences, or nothing where the data are absent."""
    data = Path(os.environ.get("REID_TEST_DATA", ROOT.parent / "shared" / "data"))
    for name, size, fps, frames in (
        ("MOT17-05", (640, 480), 14, 837),
        ("MOT17-09", (1920, 1080), 30, 525),
    ):
        folder = data / "mot" / f"{name}-FRCNN"
        if not folder.is_dir():
            continue
        rows = np.loadtxt(folder / "det" / "det.txt", delimiter=",", dtype=np.float32)
        found = []
        for frame in range(1, frames + 1):
            mine = rows[rows[:, 0] == frame]
            boxes = np.hstack([mine[:, 2:4], mine[:, 2:4] + mine[:, 4:6]])
            found.append(Detections(boxes, mine[:, 6]))
        yield name, Case(fps, size, found, read_truth(folder / "gt" / "gt.txt", 0))


def crowd_cases() -> Iterator[tuple[str, Case]]:
    for people in CROWDS:
        scored = people <= SCORED_UP_TO
        made = crowd(people, frames=150 if scored else 50, seed=people)
        frames = [np.full(len(ids), n) for n, ids in enumerate(made.ids, start=1)]
        truth = parse(
            np.column_stack(
                [
                    np.concatenate(frames),
                    np.concatenate(made.ids),
                    np.concatenate(
                        [np.hstack([b[:, :2], b[:, 2:] - b[:, :2]]) for b in made.boxes]
                    ),
                ]
            ),
            np.concatenate(made.visible) < 0.1,
        )
        size = (int(WIDTH), int(HEIGHT))
        yield f"crowd {people}", Case(made.fps, size, made.detections, truth if scored else None)


def packed(cases: Mapping[str, Case]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name, case in cases.items():
        numbers = [np.full(len(d), n) for n, d in enumerate(case.detections, start=1)]
        arrays[f"{name}/frames"] = np.concatenate(numbers)
        arrays[f"{name}/boxes"] = np.concatenate([d.boxes for d in case.detections])
        arrays[f"{name}/scores"] = np.concatenate([d.scores for d in case.detections])
        arrays[f"{name}/count"] = np.array(len(case.detections))
        arrays[f"{name}/fps"], arrays[f"{name}/size"] = np.array(case.fps), np.array(case.size)
    return arrays
