"""How good a detector is where the people are known, and what it gets wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.known_people import Scene
from calibration.int8.likeness import IGNORED, NOBODY, average_precision, overlaps, taken_by
from pipeline.frames import Detections, FloatArray, IntArray

OVERLAP = 0.5
PLAIN = "none of these"
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judged:
    """Detections of some scenes beside the people who count in them, all scenes in a row."""

    scenes: Sequence[Scene]
    found: Sequence[Detections]
    scores: FloatArray
    """(N,) of all detections."""
    taken: IntArray
    """(N,) row among all who count, or NOBODY or IGNORED."""
    best: FloatArray
    """(P,) score of the detection that takes each who counts; 0 where none does."""

    @property
    def ap(self) -> float:
        """AP50."""
        return ap50(self.scenes, self.found)

    def precision(self, least: float) -> float:
        """Share of right ones among the detections with this score."""
        said = (self.scores >= least) & (self.taken != IGNORED)
        return float((self.taken[said] >= 0).mean()) if said.any() else float("nan")

    def recall(self, least: float, among: Flags | None = None) -> float:
        """Share of the people (of some of them) whom a detection with this score takes."""
        best = self.best if among is None else self.best[among]
        return float((best >= least).mean()) if len(best) else float("nan")


def judged(scenes: Sequence[Scene], found: Sequence[Detections]) -> Judged:
    """Detections, at any score, held against the scenes they were made of."""
    taken, best = [], []
    for scene, picture in zip(scenes, found, strict=True):
        people = scene.boxes[scene.counted]
        whom = taken_by(picture, people, scene.boxes[~scene.counted], OVERLAP)
        scores = np.zeros(len(people), np.float32)
        scores[whom[whom >= 0]] = picture.scores[whom >= 0]
        taken.append(np.where(whom >= 0, whom + sum(map(len, best)), whom))
        best.append(scores)
    scores = np.concatenate([picture.scores for picture in found])
    return Judged(scenes, found, scores, np.concatenate(taken), np.concatenate(best))


def ap50(scenes: Sequence[Scene], found: Sequence[Detections], overlap: float = OVERLAP) -> float:
    """AP at an overlap of one half, people who do not count ignored."""
    wanted = [scene.boxes[scene.counted] for scene in scenes]
    return average_precision(found, wanted, overlap, [s.boxes[~s.counted] for s in scenes])


def people_of(scenes: Sequence[Scene]) -> Mapping[str, NDArray[np.float64]]:
    """(P,) height, visibility, whether at the border, and the largest overlap with anybody else's box, for all who
    count."""
    rows = []
    for scene in scenes:
        high, wide = scene.image.shape[:2]
        near = (scene.boxes[:, :2] <= 1).any(axis=1)
        near |= (scene.boxes[:, 2:] >= (wide - 1, high - 1)).any(axis=1)
        shared = overlaps(scene.boxes, scene.boxes)
        np.fill_diagonal(shared, 0)
        crowd = shared.max(axis=1, initial=0)
        told = np.column_stack([scene.heights, scene.visibility, near, crowd])
        rows.append(told[scene.counted])
    every = np.concatenate(rows).astype(np.float64)
    return dict(zip(("height", "visibility", "border", "crowd"), every.T, strict=True))


def traits(scenes: Sequence[Scene]) -> dict[str, Flags]:
    """Who among those who count is hard to find, and why; one may be several."""
    people = people_of(scenes)
    found = {
        "cut by the border": people["border"] > 0,
        "visible < 0.5": people["visibility"] < 0.5,
        "visible 0.5–0.8": (people["visibility"] >= 0.5) & (people["visibility"] < 0.8),
        "lower than 40 pixels": people["height"] < 40,
        "half behind or before others": people["crowd"] >= 0.5,
    }
    return found | {PLAIN: ~np.any(list(found.values()), axis=0)}


def misses(of: Judged, least: float) -> dict[str, Flags]:
    """Why those were missed whom no detection with this score takes; each has one cause."""
    missed = of.best < least
    near = np.zeros(len(of.best))
    start = 0
    for scene, picture in zip(of.scenes, of.found, strict=True):
        count, said = int(scene.counted.sum()), picture.scores >= least
        shared = overlaps(picture.boxes[said], scene.boxes[scene.counted])
        near[start : start + count] = shared.max(axis=0, initial=0)
        start += count
    return {
        "found, but less sure": missed & (of.best > 0),
        "one box for two people": missed & (of.best == 0) & (near >= OVERLAP),
        "box badly placed (0.3–0.5)": missed & (of.best == 0) & (near >= 0.3) & (near < OVERLAP),
        "nothing there": missed & (of.best == 0) & (near < 0.3),
    }


def false_boxes(of: Judged) -> dict[str, Flags]:
    """(N,) kinds of detections that take nobody; each is of one."""
    nearest = []
    for scene, picture in zip(of.scenes, of.found, strict=True):
        nearest.append(overlaps(picture.boxes, scene.boxes).max(axis=1, initial=0))
    near, false = np.concatenate(nearest), of.taken == NOBODY
    return {
        "second box of a person": false & (near >= OVERLAP),
        "box badly placed (0.1–0.5)": false & (near >= 0.1) & (near < OVERLAP),
        "nobody there": false & (near < 0.1),
    }


def what_if(of: Judged) -> dict[str, float]:
    """AP50 if one sort of person need not be found, one sort of false box were not there, or boxes were placed well."""
    hard = {name: who for name, who in traits(of.scenes).items() if name != PLAIN}
    told = {f"without people: {name}": _excused(of, who) for name, who in hard.items()}
    told[f"with people: {PLAIN}"] = _excused(of, np.any(list(hard.values()), axis=0))
    told |= {
        f"without boxes: {name}": _spared(of, which) for name, which in false_boxes(of).items()
    }
    return told | {"at an overlap of 0.3": ap50(of.scenes, of.found, 0.3)}


def _excused(of: Judged, who: Flags) -> float:
    parts = np.split(who, np.cumsum([scene.counted.sum() for scene in of.scenes])[:-1])
    scenes = []
    for scene, part in zip(of.scenes, parts, strict=True):
        counted = scene.counted.copy()
        counted[np.nonzero(scene.counted)[0][part]] = False
        scenes.append(replace(scene, counted=counted))
    return ap50(scenes, of.found)


def _spared(of: Judged, which: Flags) -> float:
    parts = np.split(which, np.cumsum([len(picture) for picture in of.found])[:-1])
    left = [
        Detections(picture.boxes[~part], picture.scores[~part])
        for picture, part in zip(of.found, parts, strict=True)
    ]
    return ap50(of.scenes, left)
