"""Invented sites: rooms in a grid, joined by doorways, each with a camera of its own kind."""

import math

import numpy as np

from synthetic.camera import Camera, Optics
from synthetic.palette import Colour, linear
from synthetic.site import Box, Lamp, Material, Pillar, Site, Spot

_ROOM = 12.0
_DOORWAY = 2.4
_WALLS = (
    Material.PLASTER,
    Material.BRICK,
    Material.SHOP,
    Material.POSTER,
    Material.GLASS,
    Material.CONCRETE,
)


def generate_site(cameras: int, seed: int = 0) -> Site:
    """A site of `cameras` rooms with one camera each; the same numbers give the same site.

    Odd seeds lie in the open, even ones indoors.
    """
    rng = np.random.default_rng([seed, 17, cameras])
    columns = math.ceil(math.sqrt(cameras))
    indoors = seed % 2 == 0
    rooms = [divmod(k, columns) for k in range(cameras)]
    height = 4.2 if indoors else 3.4
    boxes, pillars, lamps, spots, shots, areas = [], [], [], [], [], []
    for number, (row, column) in enumerate(rooms):
        x, y = column * _ROOM, row * _ROOM
        areas.append((x, y, x + _ROOM, y + _ROOM))
        boxes += _walls(rng, x, y, height, {(row, column) for row, column in rooms}, (row, column))
        boxes += _furniture(rng, x, y)
        spots += [(x + dx, y + dy) for dx, dy in ((3.0, 3.2), (8.8, 3.0), (9.0, 9.1), (3.2, 8.8))]
        if rng.random() < 0.5:
            at = x + _ROOM / 2 + rng.uniform(-0.6, 0.6), y + _ROOM / 2 + rng.uniform(-0.6, 0.6)
            pillars.append(
                Pillar(
                    at, float(rng.uniform(0.15, 0.4)), 0.0, height, Material.CONCRETE, _colour(rng)
                )
            )
        power = float(rng.uniform(0.5, 1.2)) if indoors else 0.0
        lamps += (
            [Lamp((x + dx, y + dy, 4.1), power) for dx in (3.0, 9.0) for dy in (3.0, 9.0)]
            if indoors
            else []
        )
        shots.append(_camera(rng, f"cam{number + 1:02d}", x, y))
    last = math.ceil(cameras / columns) * _ROOM
    doors: list[Spot] = [(1.0, -1.6), (2.0, -1.6)]
    doors += [(rooms[-1][1] * _ROOM + 1.0, last + 1.6), (rooms[-1][1] * _ROOM + 2.0, last + 1.6)]
    areas += [
        (0.5, -2.2, 2.5, 0.0),
        (rooms[-1][1] * _ROOM + 0.5, last, rooms[-1][1] * _ROOM + 2.5, last + 2.2),
    ]
    angle = rng.uniform(0, 2 * np.pi)
    return Site(
        name=f"generated-{cameras}-{seed}", bounds=(-1.0, -3.0, columns * _ROOM + 1, last + 3),
        areas=tuple(areas),
        fps=15.0, people=5 * cameras, floor=Material.TILES if indoors else Material.PAVING,
        floor_colour=_colour(rng, 0.25), floor_scale=float(rng.uniform(0.3, 0.9)),
        ceiling=4.3 if indoors else 0.0,
        sun=(math.cos(angle), math.sin(angle), float(rng.uniform(0.7, 1.6))),
        sun_power=0.0 if indoors else float(rng.uniform(0.0, 1.5)), ambient=float(rng.uniform(0.4,
        0.65)),
        boxes=tuple(boxes), pillars=tuple(pillars), lamps=tuple(lamps), doors=tuple(doors),
        spots=tuple(spots),
        cameras=tuple(shots),
    )  # fmt: skip


def _walls(
    rng: np.random.Generator,
    x: float,
    y: float,
    height: float,
    rooms: set[tuple[int, int]],
    room: tuple[int, int],
) -> list[Box]:
    """The four walls of a room; those between rooms are built once and have a doorway, off the
    room's corners.
    """
    row, column = room
    boxes = []
    middle = _ROOM / 2
    for side, (dr, dc) in enumerate(((0, -1), (-1, 0), (0, 1), (1, 0))):
        inner = (row + dr, column + dc) in rooms
        if inner and side >= 2:
            continue
        gap = (middle - _DOORWAY / 2, middle + _DOORWAY / 2) if inner else (-1.0, -1.0)
        if (room == (0, 0) and side == 1) or (room == max(rooms) and side == 3):
            gap = (0.5, 2.5)
        material, colour = _WALLS[int(rng.integers(len(_WALLS)))], _colour(rng, 0.3)
        for low, high in ((0.0, gap[0]), (gap[1], _ROOM)) if gap[0] > 0 else ((0.0, _ROOM),):
            if side % 2 == 0:
                at = x + (_ROOM if side == 2 else 0.0)
                boxes.append(
                    Box((at - 0.1, y + low, 0.0), (at + 0.1, y + high, height), material, colour)
                )
            else:
                at = y + (_ROOM if side == 3 else 0.0)
                boxes.append(
                    Box((x + low, at - 0.1, 0.0), (x + high, at + 0.1, height), material, colour)
                )
    return boxes


def _furniture(rng: np.random.Generator, x: float, y: float) -> list[Box]:
    boxes = []
    for dx, dy in ((2.2, 5.8), (6.0, 9.6), (9.8, 6.0)):
        if rng.random() < 0.45:
            continue
        cx, cy = x + dx + rng.uniform(-0.4, 0.4), y + dy + rng.uniform(-0.4, 0.4)
        w, d = (1.8, 0.5) if rng.random() < 0.5 else (0.5, 1.8)
        tall = float(rng.choice((0.45, 0.45, 1.1, 1.9)))
        material = Material.WOOD if tall < 1 else Material.METAL if tall < 1.5 else Material.POSTER
        boxes.append(
            Box(
                (cx - w / 2, cy - d / 2, 0.0),
                (cx + w / 2, cy + d / 2, tall),
                material,
                _colour(rng),
            )
        )
    return boxes


def _camera(rng: np.random.Generator, name: str, x: float, y: float) -> Camera:
    corner = rng.integers(4)
    cx, cy = x + (0.5, _ROOM - 0.5)[corner % 2], y + (0.5, _ROOM - 0.5)[corner // 2]
    gains = 1 + rng.normal(0, 0.055, 3)
    optics = Optics(
        exposure=float(np.exp(rng.normal(0, 0.16))),
        white_balance=(float(gains[0]), float(gains[1]), float(gains[2])),
        contrast=float(rng.uniform(0.88, 1.15)),
        noise=float(rng.uniform(0.8, 4.5)),
        blur=float(rng.uniform(0.3, 1.1)),
        vignette=float(rng.uniform(0.05, 0.3)),
        shutter=float(rng.uniform(0.004, 0.03)),
        crf=int(rng.integers(21, 29)),
    )
    aim = (
        x + _ROOM / 2 + rng.uniform(-1, 1),
        y + _ROOM / 2 + rng.uniform(-1, 1),
        float(rng.uniform(0.4, 1.0)),
    )
    return Camera(
        name=name, position=(cx, cy, float(rng.uniform(2.2, 4.0))), look_at=aim,
        fov=float(rng.uniform(58, 86)),
        size=(960, 540), k1=float(rng.uniform(-0.05, 0.0)), optics=optics,
    )  # fmt: skip


def _colour(rng: np.random.Generator, spread: float = 0.5) -> Colour:
    grey = rng.uniform(0.4, 0.85)
    return linear(np.clip(grey + spread * rng.uniform(-0.3, 0.3, 3), 0.08, 0.95))
