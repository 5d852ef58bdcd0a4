"""Short walks past a camera, cut out: what re-identification sets are made of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synthetic.camera import Camera, Optics
from synthetic.gait import stride_length
from synthetic.render import Image, Renderer
from synthetic.world import People, World

Floats = NDArray[np.float64]

FPS = 15.0
_LEAST = 0.55
"""Share of a person that must show in every crop."""
_TRIES = 60
_SHORTEST, _TALLEST = 70, 420
"""Heights of people in pixels."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One crop of a tracklet."""

    pixels: Image
    """(H, W, 3) BGR, at the size it has in the frame."""
    visibility: float


def varied(optics: Optics, rng: np.random.Generator) -> Optics:
    """The same camera at another hour: light and settings drift."""
    gains = np.asarray(optics.white_balance) * (1 + rng.normal(0, 0.03, 3))
    return replace(
        optics,
        exposure=float(optics.exposure * np.exp(rng.normal(0, 0.12))),
        white_balance=(float(gains[0]), float(gains[1]), float(gains[2])),
    )


def tracklet(
    renderer: Renderer, world: World, identity: int, others: NDArray[np.int64], frames: int,
    rng: np.random.Generator, stretch: float = 1.0,
) -> list[Cut]:  # fmt: skip
    """`frames` crops of one person walking by, at times past others; `stretch` seconds between two
    crops × FPS.
    """
    for _ in range(_TRIES):
        walk = _walk(renderer.camera, world, identity, others, frames, stretch, rng)
        if walk is None:
            continue
        cuts = list(_cuts(renderer, walk, identity, rng))
        if len(cuts) == frames:
            return cuts
    return []


def _walk(
    camera: Camera, world: World, identity: int, others: NDArray[np.int64], frames: int,
    stretch: float, rng: np.random.Generator,
) -> list[People] | None:  # fmt: skip
    """A straight walk within the view, or None where a drawn one leaves it."""
    look = world.identity(identity)
    place = _place(camera, rng)
    heading = rng.uniform(-np.pi, np.pi)
    stands = rng.random() < 0.12
    speed = 0.0 if stands else look.speed * rng.uniform(0.85, 1.1)
    time = np.arange(frames) * stretch / FPS
    path = place + (time - time[-1] / 2)[:, None] * speed * np.array(
        [np.cos(heading), np.sin(heading)]
    )
    gap, _ = world.routes.walls(path)
    pixels, depth = camera.project(np.concatenate([_at(path, 0.0), _at(path, look.height)]))
    feet, tops = np.split(pixels, 2)
    width, height = camera.size
    inside = (
        (pixels > (4, 4)).all() and (pixels < (width - 4, height - 4)).all() and (depth > 0.8).all()
    )
    tall = feet[:, 1] - tops[:, 1]
    if (
        not inside
        or (gap < 0.3).any()
        or tall.min() < _SHORTEST * height / 540
        or tall.max() > _TALLEST * height / 540
    ):
        return None
    company = rng.choice(others, int(rng.choice(4, p=(0.45, 0.3, 0.15, 0.1))), replace=False)
    ids = np.concatenate([[identity], company[company != identity]]).astype(np.int64)
    count = len(ids) - 1
    starts = place + rng.normal(0, 1.6, (count, 2))
    turns = np.where(rng.random(count) < 0.5, heading, rng.uniform(-np.pi, np.pi, count))
    speeds = np.array([world.identity(int(k)).speed for k in ids[1:]]) * (rng.random(count) < 0.75)
    turns, speeds = np.append(heading, turns), np.append(speed, speeds)
    velocity = speeds[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1)
    amount = (speeds > 0.2).astype(np.float64)
    looks = [world.identity(int(k)) for k in ids]
    strides = np.array(
        [stride_length(k.height, k.stride, v) for k, v in zip(looks, speeds, strict=True)]
    )
    phase, glance = rng.random(count + 1), rng.normal(0, 0.25, count + 1)
    origin = np.concatenate([path[:1], starts - velocity[1:] * time[-1] / 2])
    if count and np.hypot(*(starts - place).T).min() < 0.55:
        return None
    clock = float(rng.uniform(0, 1000))
    return [
        People(
            time=clock + moment, ids=ids, position=origin + velocity * moment, velocity=velocity,
            heading=turns,
            phase=phase + speeds * moment / strides, amount=amount, glance=glance,
        )
        for moment in time
    ]  # fmt: skip


def _cuts(
    renderer: Renderer, walk: list[People], identity: int, rng: np.random.Generator
) -> Iterator[Cut]:
    """Crops as a detector would cut them: boxes are a little off, differently in each frame."""
    width, height = renderer.camera.size
    bias = rng.normal(0, 0.02, 4)
    for index, people in enumerate(walk):
        truth = renderer.locate(people)
        boxes, shares = truth.boxes, truth.visibility
        row = np.flatnonzero(truth.ids == identity)
        if not len(row) or shares[row[0]] < _LEAST:
            return
        x0, y0, x1, y1 = boxes[row[0]]
        size = np.array([x1 - x0, y1 - y0] * 2)
        loose = boxes[row[0]] + (bias + rng.normal(0, 0.015, 4) + (-0.02, -0.01, 0.02, 0.01)) * size
        left, top = np.maximum(np.floor(loose[:2]).astype(int), 0)
        right, bottom = np.minimum(np.ceil(loose[2:]).astype(int), (width, height))
        if right - left < 8 or bottom - top < 16:
            return
        region = int(left), int(top), int(right), int(bottom)
        yield Cut(
            renderer.render(people, int(rng.integers(1 << 20)) + index, region).image,
            float(shares[row[0]]),
        )


def _place(camera: Camera, rng: np.random.Generator) -> Floats:
    """A place on the floor within the view: uniform over the picture's lower part, nearer rows more
    often.
    """
    width, height = camera.size
    pixel = np.array([[rng.uniform(0.08, 0.92) * width, rng.uniform(0.35, 0.98) * height]])
    ray = camera.rays(pixel)[0]
    reach = -camera.position[2] / ray[2] if ray[2] < -1e-3 else 1e3
    spot: Floats = np.asarray(camera.position)[:2] + min(reach, 60.0) * ray[:2]
    return spot


def _at(path: Floats, height: float) -> Floats:
    return np.column_stack([path, np.full(len(path), height)])
