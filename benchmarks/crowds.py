"""People walking over a square before a camera: boxes and flawed detections, for trackers only.

No picture is drawn. The square grows with the number of people, so that its density (and with it
how many hide each other) stays the same, as it does on a real square.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Detections, FloatArray, IntArray

Floats = NDArray[np.float64]

WIDTH, HEIGHT, FOCAL, EYE, NEAR = 1920.0, 1080.0, 1200.0, 6.0, 8.0
"""Picture in pixels; camera six metres up, people from eight metres on."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """One sequence at a steady frame rate, with the truth behind it."""

    fps: float
    ids: list[IntArray]
    boxes: list[Floats]
    """(N, 4) left, top, right, bottom of everybody in the picture, seen or not."""
    visible: list[Floats]
    """(N,) the part of each box that nobody nearer covers."""
    detections: list[Detections]


def crowd(people: int, frames: int, seed: int, fps: float = 12.5, density: float = 0.08) -> Crowd:
    """About `people` at a time, `density` of them per square metre, each walking to and fro."""
    draw = np.random.default_rng(seed)
    far = np.sqrt(NEAR**2 + 2 * people / density * FOCAL / WIDTH)
    place, speed = _arrive(people, far, draw, edge=False)
    ids, sequence = np.arange(people), Crowd(fps, [], [], [], [])
    shape = np.stack([draw.uniform(0.32, 0.42, people), draw.normal(1.7, 0.1, people)], axis=1)
    slip = np.zeros((people, 4))
    fresh = people
    for _ in range(frames):
        speed += (-speed + draw.normal(0, 1.0, (people, 2)) * np.sqrt(2 * fps)) / fps / 2
        place = place + speed / fps
        gone = _outside(place, far)
        place[gone], speed[gone] = _arrive(int(gone.sum()), far, draw, edge=True)
        ids = np.where(gone, fresh + np.cumsum(gone) - 1, ids)
        fresh += int(gone.sum())
        height = FOCAL * shape[:, 1] / place[:, 1]
        feet = HEIGHT / 5 + FOCAL * EYE / place[:, 1]
        centre = WIDTH / 2 + FOCAL * place[:, 0] / place[:, 1]
        half = height * shape[:, 0] / 2
        boxes = np.stack([centre - half, feet - height, centre + half, feet], axis=1)
        slip = 0.8 * slip + draw.normal(0, 0.015, (people, 4))
        visible = _visible(boxes)
        sequence.ids.append(ids.copy())
        sequence.boxes.append(boxes)
        sequence.visible.append(visible)
        sequence.detections.append(_detect(boxes + slip * height[:, None], visible, draw))
    return sequence


def _arrive(count: int, far: float, draw: np.random.Generator, edge: bool) -> tuple[Floats, Floats]:
    """Places (x, depth) in metres and velocities; if asked, walking in at the left or right."""
    depth = np.sqrt(draw.uniform(NEAR**2, far**2, count))
    side = draw.choice([-1.0, 1.0], count) if edge else draw.uniform(-1, 1, count)
    velocity = draw.normal(0, 1.0, (count, 2))
    if edge:
        velocity[:, 0] = -side * np.abs(velocity[:, 0])
    return np.stack([side * depth * WIDTH / FOCAL / 2, depth], axis=1), velocity


def _outside(place: Floats, far: float) -> NDArray[np.bool_]:
    beyond = np.abs(place[:, 0]) > place[:, 1] * WIDTH / FOCAL / 2 + 0.3
    return np.asarray(beyond | (place[:, 1] < NEAR) | (place[:, 1] > far))


def _visible(boxes: Floats) -> Floats:
    """The part of each box that the union of nearer boxes leaves, on 8 × 4 sample points."""
    across, down = np.meshgrid((np.arange(4) + 0.5) / 4, (np.arange(8) + 0.5) / 8)
    grid = np.stack([across.ravel(), down.ravel()], axis=1)
    points = boxes[:, None, :2] + grid * (boxes[:, None, 2:] - boxes[:, None, :2])
    hidden = np.zeros(points.shape[:2], bool)
    for near in range(len(boxes)):
        rows = np.flatnonzero(
            (boxes[:, 3] < boxes[near, 3])
            & (boxes[:, 0] < boxes[near, 2])
            & (boxes[:, 2] > boxes[near, 0])
            & (boxes[:, 3] > boxes[near, 1])
        )
        inside = (points[rows] > boxes[near, :2]) & (points[rows] < boxes[near, 2:])
        hidden[rows] |= inside.all(axis=2)
    return 1 - hidden.mean(axis=1)


def _detect(boxes: Floats, visible: Floats, draw: np.random.Generator) -> Detections:
    """What a fair detector finds: less of who is hidden, and now and then somebody who is not."""
    scores = np.clip(0.95 - 0.9 * (1 - visible) + draw.normal(0, 0.08, len(boxes)), 0, 1)
    found = draw.random(len(boxes)) < np.clip(1.6 * visible - 0.2, 0, 0.97)
    false = boxes[draw.random(len(boxes)) < 0.01] + draw.normal(0, 60, 4)
    every = np.concatenate([boxes[found], false])
    every[:, 0::2] = every[:, 0::2].clip(0, WIDTH)
    every[:, 1::2] = every[:, 1::2].clip(0, HEIGHT)
    marks = np.concatenate([scores[found], draw.uniform(0.1, 0.7, len(false))])
    whole = ((every[:, 2:] - every[:, :2]) > 4).all(axis=1) & (marks > 0.05)
    kept: FloatArray = every[whole].astype(np.float32)
    return Detections(kept, marks[whole].astype(np.float32))
