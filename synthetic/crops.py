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
_TRIES = 60
_SHORTEST, _TALLEST = 70, 420
"""Heights of people in pixels."""


@dataclass(frozen=True, slots=True)
class Manner:
    """What walks are taken, and what of a person must show."""

    least: float = 0.55
    """Share of the person that shows in every crop…"""
    mostly: float = 0.55
    """…and in at least half of them."""
    company: tuple[float, ...] = (0.45, 0.3, 0.15, 0.1)
    """Chances of so many others nearby."""
    near: float = 1.6
    """Metres: deviation of where they are."""
    beyond: float = 0.0
    """How far at either end of the walk the person may be beyond the frame, in own heights."""
    intervals: tuple[float, ...] = (1.0, 2.0)
    """Times between two crops, × FPS: one of them for a walk."""


CLEAR = Manner()
"""People as data sets mostly show them."""
ROUGH = Manner(
    least=0.2, company=(0.15, 0.3, 0.3, 0.25), near=1.2, beyond=0.35, intervals=(2.0, 4.0)
)
"""People as live cameras see them: they come in past the picture's edge, and others cross before them."""


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
    rng: np.random.Generator, manner: Manner = CLEAR,
) -> list[Cut]:  # fmt: skip
    """`frames` crops of one person walking by, at times past others."""
    stretch = float(rng.choice(manner.intervals))
    for _ in range(_TRIES):
        walk = _walk(renderer.camera, world, identity, others, frames, stretch, rng, manner)
        if walk is None:
            continue
        cuts = list(_cuts(renderer, walk, identity, rng, manner.least))
        shares = np.array([cut.visibility for cut in cuts])
        if len(cuts) == frames and (shares >= manner.mostly).mean() >= 0.5:
            return cuts
    return []


def _walk(
    camera: Camera, world: World, identity: int, others: NDArray[np.int64], frames: int,
    stretch: float, rng: np.random.Generator, manner: Manner,
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
    tall = feet[:, 1] - tops[:, 1]
    ends = np.abs(np.linspace(-1, 1, frames)) > 0.5
    margin = np.tile(np.where(ends, 4 - manner.beyond * tall, 4.0), 2)[:, None]
    inside = (pixels > margin).all() and (pixels < (width, height) - margin).all()
    if (
        not inside
        or (depth <= 0.8).any()
        or (gap < 0.3).any()
        or tall.min() < _SHORTEST * height / 540
        or tall.max() > _TALLEST * height / 540
    ):
        return None
    company = rng.choice(others, int(rng.choice(4, p=manner.company)), replace=False)
    ids = np.concatenate([[identity], company[company != identity]]).astype(np.int64)
    count = len(ids) - 1
    starts = place + rng.normal(0, manner.near, (count, 2))
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
    renderer: Renderer, walk: list[People], identity: int, rng: np.random.Generator, least: float
) -> Iterator[Cut]:
    """Crops as a detector would cut them: boxes are a little off, differently in each frame."""
    width, height = renderer.camera.size
    bias = rng.normal(0, 0.02, 4)
    for index, people in enumerate(walk):
        truth = renderer.locate(people)
        boxes, shares = truth.boxes, truth.visibility
        row = np.flatnonzero(truth.ids == identity)
        if not len(row) or shares[row[0]] < least:
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
            renderer.render(people, int(rng.integers(1 << 20)) + index, region, truth).image,
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
