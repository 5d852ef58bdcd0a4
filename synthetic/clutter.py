"""What else stands and hangs about: for detectors, that must not take it for somebody.

Furniture is built (it hides people, and throws shade); stains, stickers, reflections and whatever else has a
shape are laid on the empty view, behind everybody.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.palette import Colour, linear
from synthetic.site import Box, Material, Pillar, Site, Spot

Floats32 = NDArray[np.float32]
Pieces: TypeAlias = tuple[list[Box], list[Pillar]]

_FLOORS = Material.TILES, Material.PAVING, Material.CONCRETE, Material.WOOD, Material.WOOD
"""Wood twice, for its boards were taken for people."""
_SURFACES = (
    Material.PLASTER, Material.CONCRETE, Material.WOOD, Material.METAL, Material.GLASS,
)  # fmt: skip
_PLATES = (
    (0.0, 0.9, 2.0), (0.0, 1.6, 2.1), (0.9, 1.2, 1.2), (0.8, 0.7, 1.3), (1.2, 1.5, 0.9), (1.3, 0.5, 0.7),
)  # fmt: skip
"""How high they hang, and width and height: doors, windows, screens, pictures."""
_LEAST_ROOM = 6.0
"""Metres of the shorter side of an area that is furnished; doorways are smaller."""
_PIECES, _HANGING, _SHAPES = (2, 9), (3, 11), (0, 26)
"""How many stand in a room, hang on its walls, and lie on a view: from, and less than."""
_BITS = 4
"""Of the sub-pixels that OpenCV tells apart when it draws."""


def furnished(site: Site, rng: np.random.Generator) -> Site:
    """The site with another floor, and things in its rooms and on their walls."""
    boxes, pillars = list(site.boxes), list(site.pillars)
    for left, top, right, bottom in site.areas:
        if min(right - left, bottom - top) < _LEAST_ROOM:
            continue
        for _ in range(rng.integers(*_PIECES)):
            at = (
                float(rng.uniform(left + 0.5, right - 0.5)),
                float(rng.uniform(top + 0.5, bottom - 0.5)),
            )
            more, round_ones = _STANDING[int(rng.integers(len(_STANDING)))](rng, at)
            boxes += more
            pillars += round_ones
        for _ in range(rng.integers(*_HANGING)):
            boxes += _hanging(rng, (left, top, right, bottom))
    return replace(
        site,
        floor=_FLOORS[int(rng.integers(len(_FLOORS)))],
        floor_colour=_colour(rng, vivid=0.08),
        boxes=tuple(boxes),
        pillars=tuple(pillars),
    )


def strewn(view: Floats32, rng: np.random.Generator) -> Floats32:
    """An empty view (H, W, 3) of linear light with shapes laid on it, most of them upright."""
    view = view.copy()
    height, width = view.shape[:2]
    usual = float(np.median(view))
    for _ in range(rng.integers(*_SHAPES)):
        tall = height * float(np.exp(rng.uniform(np.log(0.04), np.log(0.7))))
        wide = tall * float(np.exp(rng.normal(-0.7, 0.6)))
        centre = rng.uniform(0, 1, 2) * (width, height)
        corners = _outline(rng, centre, wide, tall)
        low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, (width, height))
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, 0, (width, height))
        if np.any(high <= low):
            continue
        part = view[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros(part.shape[:2], dtype=np.uint8)
        points = np.rint((corners - low) * (1 << _BITS)).astype(np.int32)
        strength = 255 * min(1.0, rng.uniform(0.4, 1.6))
        if rng.random() < 0.2:  # an outline alone
            thick = max(1, int(0.06 * wide))
            cv2.polylines(mask, [points], True, strength, thick, cv2.LINE_AA, _BITS)
        else:
            cv2.fillPoly(mask, [points], strength, cv2.LINE_AA, _BITS)
        share = mask[..., None].astype(np.float32) / 255
        part += share * (usual * _filling(rng, part.shape[:2]) - part)
    return view


def _outline(
    rng: np.random.Generator, centre: NDArray[np.float64], wide: float, tall: float
) -> NDArray[np.float64]:
    """The corners of something: a leaning quadrangle, or an ellipse."""
    if rng.random() < 0.65:
        corners = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
        corners += rng.normal(0, 0.08, (4, 2))
    else:
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        corners = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    corners *= (wide / 2, tall / 2)
    lean = rng.normal(0, 0.12) + (np.pi / 2 if rng.random() < 0.15 else 0.0)
    cos, sin = np.cos(lean), np.sin(lean)
    turned: NDArray[np.float64] = corners @ np.array([(cos, sin), (-sin, cos)]) + centre
    return turned


def _filling(rng: np.random.Generator, shape: tuple[int, int]) -> Floats32:
    """(h, w, 3) times the usual light: a colour, with a slope, stripes or clouds in it."""
    tone = np.exp(rng.normal(-0.6, 0.9)) * np.exp(rng.normal(0, 0.25, 3))
    kind = rng.integers(4)
    rows, columns = np.linspace(0, 1, shape[0])[:, None], np.linspace(0, 1, shape[1])[None]
    pattern = np.ones(shape)
    if kind == 1:
        pattern = (
            1 + rng.uniform(-0.8, 0.8) * (rows - 0.5) + rng.uniform(-0.8, 0.8) * (columns - 0.5)
        )
    elif kind == 2:
        along = rows if rng.random() < 0.5 else columns
        wave = np.sin(2 * np.pi * (rng.uniform(2, 12) * along + rng.random()))
        pattern = np.broadcast_to(1 + rng.uniform(0.1, 0.6) * wave, shape)
    elif kind == 3:
        few = rng.uniform(0.4, 1.6, (int(rng.integers(2, 9)), int(rng.integers(2, 6))))
        pattern = np.asarray(cv2.resize(few, shape[::-1], interpolation=cv2.INTER_LINEAR))
    filling: Floats32 = np.minimum(pattern[..., None] * tone, 3.0).astype(np.float32)
    return filling


def _hanging(rng: np.random.Generator, room: tuple[float, float, float, float]) -> list[Box]:
    """A door, window, screen or picture with its frame on one of the walls."""
    low, wide, tall = _PLATES[int(rng.integers(len(_PLATES)))]
    width, height = wide * rng.uniform(0.7, 1.4), tall * rng.uniform(0.8, 1.2)
    low = low * rng.uniform(0.8, 1.2)
    side = int(rng.integers(4))
    wall = room[side]
    start, end = (room[1], room[3]) if side % 2 == 0 else (room[0], room[2])
    at = rng.uniform(start + width / 2 + 0.1, end - width / 2 - 0.1)
    surface = _SURFACES[int(rng.integers(len(_SURFACES)))]
    plates = []
    for grow, deep, colour in ((0.07, 0.13, _colour(rng)), (0.0, 0.15, _colour(rng))):
        along = at - width / 2 - grow, at + width / 2 + grow
        up = max(0.0, low - grow), low + height + grow
        across = wall - deep, wall + deep
        (x0, x1), (y0, y1) = (across, along) if side % 2 == 0 else (along, across)
        plates.append(
            Box((x0, y0, up[0]), (x1, y1, up[1]), Material.PLASTER if grow else surface, colour)
        )
    return plates


def _table(rng: np.random.Generator, at: Spot) -> Pieces:
    high, radius, colour = rng.uniform(0.65, 1.15), rng.uniform(0.25, 0.6), _colour(rng)
    steel = _colour(rng)
    return [], [
        Pillar(at, float(radius), float(high - 0.05), float(high), Material.PLASTER, colour),
        Pillar(at, 0.04, 0.0, float(high - 0.05), Material.METAL, steel),
        Pillar(at, float(radius * 0.6), 0.0, 0.04, Material.METAL, steel),
    ]


def _desk(rng: np.random.Generator, at: Spot) -> Pieces:
    wide, deep, high = rng.uniform(0.8, 2.0), rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.95)
    return _on_legs(at, (wide, deep, high), _pick(rng), _colour(rng), _colour(rng)), []


def _chair(rng: np.random.Generator, at: Spot) -> Pieces:
    wide, high, colour = 0.5, rng.uniform(0.4, 0.5), _colour(rng)
    boxes = _on_legs(at, (wide, wide, high), Material.PLASTER, colour, _colour(rng))
    thin = (0.05, wide) if rng.random() < 0.5 else (wide, 0.05)
    back = at[0] - wide / 2, at[1] - wide / 2, high
    return [*boxes, _box(*back, *thin, rng.uniform(0.35, 0.6), Material.PLASTER, colour)], []


def _on_legs(
    at: Spot, size: tuple[float, float, float], material: Material, top: Colour, legs: Colour
) -> list[Box]:
    (wide, deep, high), leg = size, 0.05
    x, y = at[0] - wide / 2, at[1] - deep / 2
    boxes = [_box(x, y, high - leg, wide, deep, leg, material, top)]
    for dx in (0.0, wide - leg):
        for dy in (0.0, deep - leg):
            boxes.append(_box(x + dx, y + dy, 0.0, leg, leg, high - leg, Material.METAL, legs))
    return boxes


def _bin(rng: np.random.Generator, at: Spot) -> Pieces:
    high = float(rng.uniform(0.5, 1.3))
    return [], [Pillar(at, float(rng.uniform(0.12, 0.35)), 0.0, high, _pick(rng), _colour(rng))]


def _plant(rng: np.random.Generator, at: Spot) -> Pieces:
    pot, high = float(rng.uniform(0.3, 0.6)), float(rng.uniform(0.9, 2.0))
    radius = float(rng.uniform(0.15, 0.3))
    leaves = linear(np.clip(rng.normal((0.25, 0.4, 0.2), 0.08), 0.05, 0.9))
    return [], [
        Pillar(at, radius, 0.0, pot, Material.PLASTER, _colour(rng)),
        Pillar(at, radius * float(rng.uniform(1, 2)), pot, high, Material.FOLIAGE, leaves),
    ]


def _board(rng: np.random.Generator, at: Spot) -> Pieces:
    """A sign, a banner, a screen on a foot: as tall as somebody, and flat."""
    wide, high, low = rng.uniform(0.4, 1.1), rng.uniform(1.2, 2.1), rng.uniform(0, 0.8)
    thin = (0.05, wide) if rng.random() < 0.5 else (wide, 0.05)
    x, y, steel = at[0] - thin[0] / 2, at[1] - thin[1] / 2, _colour(rng)
    return [_box(x, y, low, *thin, high - low, _pick(rng), _colour(rng))], [
        Pillar(at, 0.03, 0.0, float(low), Material.METAL, steel),
        Pillar(at, 0.25, 0.0, 0.03, Material.METAL, steel),
    ]


def _cupboard(rng: np.random.Generator, at: Spot) -> Pieces:
    width, deep, high = rng.uniform(0.4, 1.4), rng.uniform(0.35, 0.6), rng.uniform(0.7, 2.2)
    x, y = at[0] - width / 2, at[1] - deep / 2
    return [_box(x, y, 0.0, width, deep, high, _pick(rng), _colour(rng))], []


def _column(rng: np.random.Generator, at: Spot) -> Pieces:
    return [], [Pillar(at, float(rng.uniform(0.1, 0.35)), 0.0, 4.2, _pick(rng), _colour(rng))]


_STANDING: tuple[Callable[[np.random.Generator, Spot], Pieces], ...] = (
    _table, _desk, _chair, _bin, _plant, _board, _cupboard, _column,
)  # fmt: skip


def _box(
    x: float, y: float, z: float, w: float, d: float, h: float, material: Material, colour: Colour
) -> Box:
    low = float(x), float(y), float(z)
    return Box(low, (float(x + w), float(y + d), float(z + h)), material, colour)


def _pick(rng: np.random.Generator) -> Material:
    return _SURFACES[int(rng.integers(len(_SURFACES)))]


def _colour(rng: np.random.Generator, vivid: float = 0.25) -> Colour:
    """Grey, brown or, in a share of cases, of any colour; as often dark as bright."""
    kind, grey = rng.random(), rng.uniform(0.06, 0.95)
    hue = np.ones(3)
    if kind < vivid:
        hue = rng.uniform(0.4, 1.4, 3)
    elif kind < 0.6:
        hue = np.array((1.2, 0.95, 0.65)) + rng.normal(0, 0.08, 3)
    return linear(np.clip(grey * hue, 0.02, 0.95))
