"""What a camera sees when nobody is there: traced once per camera, kept for every frame.

Lighting is shared with people: a sun with shadows, a sky, the floor's reflection, and lamps.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic.camera import Camera
from synthetic.compiled import compiled
from synthetic.site import Site
from synthetic.texture import sky, texture
from synthetic.things import Some, Things, first_hit, unhidden

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]

_SUN = np.array([1.0, 0.93, 0.80])
_SKY = np.array([0.78, 0.90, 1.08])
_INDOOR = np.array([1.0, 0.98, 0.94])
GRID = 2
"""Sub-pixels per pixel and axis at which it is decided who hides whom."""
_TILE = 48
"""Pixels of a square whose rays can meet few things only."""
_BENEATH = 0.45
"""Share of the light that comes back from the floor."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A site as arrays for the kernels."""

    boxes: Floats
    """(B, 10): least corner, greatest corner, material, linear colour."""
    pillars: Floats
    """(C, 9): x, y, radius, low, high, material, linear colour."""
    lamps: Floats
    """(L, 4): place and power."""
    floor: Floats
    """(6,): material, linear colour, scale, ceiling height."""
    sun: Floats
    """(6,): direction, colour."""
    sky: Floats
    """(6,): light from above, light from below."""


@dataclass(frozen=True, slots=True)
class Backdrop:
    """The empty view."""

    colour: Floats32
    """(H, W, 3) linear light, red first."""
    near: Floats32
    """(GRID · H, GRID · W): one over the depth along the camera's axis, at the middles of
    sub-pixels.
    """
    floor: Floats32
    """(H, W, 2): place on the floor that a pixel shows, NaN where it shows something else."""
    sunlit: NDArray[np.bool_]
    """(H, W): floor pixels that the sun reaches."""


def surroundings_of(site: Site) -> Surroundings:
    """The arrays of a site."""
    direction = np.asarray(site.sun) / np.linalg.norm(site.sun)
    above = (_INDOOR if site.ceiling else _SKY) * site.ambient
    below = above * _BENEATH * (0.35 + 0.65 * np.asarray(site.floor_colour))
    below = below + _SUN * site.sun_power * 0.10
    return Surroundings(
        boxes=np.array([(*b.low, *b.high, b.material, *b.colour) for b in site.boxes]).reshape(
            -1, 10
        ),
        pillars=np.array(
            [(*p.at, p.radius, p.low, p.high, p.material, *p.colour) for p in site.pillars]
        ).reshape(-1, 9),
        lamps=np.array([(*lamp.at, lamp.power) for lamp in site.lamps]).reshape(-1, 4),
        floor=np.array([site.floor, *site.floor_colour, site.floor_scale, site.ceiling]),
        sun=np.concatenate([direction, _SUN * site.sun_power]),
        sky=np.concatenate([above, below]),
    )


def backdrop_of(camera: Camera, around: Surroundings, seed: int, samples: int = 3) -> Backdrop:
    """Trace a camera's empty view with `samples`² rays per pixel."""
    width, height = camera.size
    colour = np.empty((height, width, 3), dtype=np.float32)
    floor = np.empty((height, width, 2), dtype=np.float32)
    sunlit = np.empty((height, width), dtype=np.bool_)
    eye, things = np.asarray(camera.position), Things(camera, around.boxes, around.pillars)
    steps = (np.arange(samples) + 0.5) / samples
    offsets = [np.full(2, 0.5)]
    offsets += [np.array((x, y)) for y in steps for x in steps] if samples > 1 else []
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            part = np.s_[top : min(top + _TILE, height), left : min(left + _TILE, width)]
            ys, xs = np.mgrid[part]
            grid = np.stack([xs.ravel(), ys.ravel()], 1).astype(np.float64)
            some = things.within(camera.plane(np.concatenate([grid, grid + 1])))
            views = (
                _view(eye, camera.rays(grid + offset), around, some, float(seed % 997))
                for offset in offsets
            )
            shown, ground, sunny = next(views)
            if samples > 1:
                shown = np.zeros_like(shown)
                for found, *_ in views:
                    shown += np.minimum(found, 1.6) / samples**2
            colour[part] = shown.reshape(*xs.shape, 3)
            floor[part], sunlit[part] = ground.reshape(*xs.shape, 2), sunny.reshape(xs.shape)
    near = nearness(camera, around, (0, 0, width, height), GRID)
    return Backdrop(colour, near, floor, sunlit)


def nearness(
    camera: Camera, around: Surroundings, window: tuple[int, int, int, int], grid: int
) -> Floats32:
    """(grid · h, grid · w): one over the depth of what stands still in a window of the picture
    (left, top, right, bottom in pixels), 0 for the sky.
    """
    left, top, right, bottom = window
    near = np.empty((grid * (bottom - top), grid * (right - left)), dtype=np.float32)
    eye, things = np.asarray(camera.position), Things(camera, around.boxes, around.pillars)
    step = _TILE * grid
    for first in range(0, near.shape[0], step):  # rays take far more memory than depths
        for start in range(0, near.shape[1], step):
            tile = near[first : first + step, start : start + step]
            rows, columns = np.mgrid[first : first + tile.shape[0], start : start + tile.shape[1]]
            place = np.column_stack([columns.ravel(), rows.ravel()])
            plane = camera.plane((left, top) + (place + 0.5) / grid)
            depths = np.empty(len(plane), dtype=np.float32)
            some = things.within(plane)
            _depths(
                eye, camera.through(plane), around.boxes, around.pillars, around.floor, some, depths
            )
            tile[:] = depths.reshape(tile.shape)
    return near


def light_at(points: Floats, towards: Floats, around: Surroundings) -> Floats32:
    """(N, 5, 3): the light on people at `points` (N, 2), for `shade.paint`; `towards` (N, 3) points
    to the eye.
    """
    place = np.column_stack([points, np.full(len(points), 1.2)])
    reach = around.lamps[None, :, :3] - place[:, None]
    squared = (reach**2).sum(axis=2)
    weight = around.lamps[:, 3] * 16 / (squared + 4)
    lamp = (weight[..., None] * reach / np.sqrt(squared + 1e-9)[..., None]).sum(axis=1)
    sunny = (
        _sunny(place, around.boxes, around.pillars, around.sun)
        if around.sun[3] > 0
        else np.zeros(len(place))
    )
    key = (
        lamp[:, None] * 0.5 * _INDOOR[:, None]
        + sunny[:, None, None] * around.sun[3:][:, None] * around.sun[:3]
    )
    strength = np.linalg.norm(key, axis=2)
    direction = key.sum(axis=1)
    length = np.linalg.norm(direction, axis=1, keepdims=True)
    direction = np.where(length > 1e-6, direction / np.maximum(length, 1e-6), (0.0, 0.0, 1.0))
    spread = (
        np.maximum(weight.sum(axis=1) - np.linalg.norm(lamp, axis=1), 0)[:, None] * 0.5 * _INDOOR
    )
    above = around.sky[:3] + spread
    below = around.sky[3:] + 0.3 * spread + 0.12 * strength
    return np.stack([direction, strength, above, below, towards], axis=1).astype(np.float32)


def _view(
    eye: Floats, rays: Floats, around: Surroundings, some: Some, seed: float
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    count = len(rays)
    colour = np.zeros((count, 3))
    floor, sunlit = np.full((count, 2), np.nan), np.zeros(count, dtype=np.bool_)
    _trace(
        eye, rays, around.boxes, around.pillars, around.lamps, around.floor, around.sun, around.sky,
        some, seed,
        colour, floor, sunlit,
    )  # fmt: skip
    return colour, floor, sunlit


@compiled
def _depths(
    eye: Floats, rays: Floats, boxes: Floats, pillars: Floats, ground: Floats, some: Some,
    near: Floats32,
) -> None:  # fmt: skip
    for r in range(rays.shape[0]):
        best, kind, _ = first_hit(eye, rays[r], boxes, pillars, ground, some)
        near[r] = 1.0 / best if kind else 0.0


@compiled
def _trace(  # noqa: PLR0912, PLR0915 - one kernel
    eye: Floats, rays: Floats, boxes: Floats, pillars: Floats, lamps: Floats, ground: Floats, sun:
    Floats,
    sky_light: Floats, some: Some, seed: float, colour: Floats, floor: Floats,
    sunlit: NDArray[np.bool_],
) -> None:  # fmt: skip
    normal = np.zeros(3)
    for r in range(rays.shape[0]):
        dx, dy, dz = rays[r, 0], rays[r, 1], rays[r, 2]
        best, kind, thing = first_hit(eye, rays[r], boxes, pillars, ground, some)
        if kind == 0:
            length = math.sqrt(dx * dx + dy * dy + dz * dz)
            colour[r, 0], colour[r, 1], colour[r, 2] = sky(
                dx / length, dy / length, dz / length, seed
            )
            continue
        x, y, z = eye[0] + best * dx, eye[1] + best * dy, eye[2] + best * dz
        normal[:] = 0.0
        if kind == 1:
            normal[2] = 1.0
            material, scale = int(ground[0]), ground[4]
            red, green, blue = ground[1], ground[2], ground[3]
            floor[r, 0], floor[r, 1] = x, y
        elif kind == 2:
            panel = abs((x / 3.0) % 1.0 - 0.5) < 0.11 and abs((y / 3.0) % 1.0 - 0.5) < 0.2
            value = (
                2.2
                if panel
                else 0.55 - 0.06 * (((x / 0.6) % 1.0 < 0.04) or ((y / 0.6) % 1.0 < 0.04))
            )
            colour[r, 0], colour[r, 1], colour[r, 2] = value, value, value * 0.97
            continue
        elif kind == 3:
            _box_normal(x, y, z, boxes[thing], normal)
            material, scale = int(boxes[thing, 6]), 1.0
            red, green, blue = boxes[thing, 7], boxes[thing, 8], boxes[thing, 9]
        else:
            radius = pillars[thing, 2]
            side = math.hypot(x - pillars[thing, 0], y - pillars[thing, 1]) > radius - 1e-6
            if side:
                normal[0], normal[1] = (
                    (x - pillars[thing, 0]) / radius,
                    (y - pillars[thing, 1]) / radius,
                )
            else:
                normal[2] = 1.0 if dz < 0 else -1.0
            material, scale = int(pillars[thing, 5]), 1.0
            red, green, blue = pillars[thing, 6], pillars[thing, 7], pillars[thing, 8]
        red, green, blue, glow, bump = texture(
            material,
            x,
            y,
            z,
            normal[0],
            normal[1],
            normal[2],
            red,
            green,
            blue,
            scale,
            seed + 31.0 * thing,
        )
        lit = normal[0] * sun[0] + normal[1] * sun[1] + normal[2] * sun[2] + bump
        if sun[3] > 0 and lit > 0:
            clear = unhidden(
                x + 1e-3 * normal[0], y + 1e-3 * normal[1], z + 1e-3, boxes, pillars, sun
            )
            lit *= clear
            sunlit[r] = kind == 1 and clear > 0.5
        else:
            lit = 0.0
        lamp = 0.0
        for k in range(lamps.shape[0]):
            lx, ly, lz = lamps[k, 0] - x, lamps[k, 1] - y, lamps[k, 2] - z
            squared = lx * lx + ly * ly + lz * lz
            cosine = (lx * normal[0] + ly * normal[1] + lz * normal[2]) / math.sqrt(squared + 1e-6)
            lamp += lamps[k, 3] * 16.0 / (squared + 4.0) * max(0.0, 0.25 + 0.75 * cosine) * 0.5
        open_ = 1.0
        if kind == 1:
            for b in range(boxes.shape[0]):
                if boxes[b, 2] < 0.6:
                    gx = max(boxes[b, 0] - x, 0.0, x - boxes[b, 3])
                    gy = max(boxes[b, 1] - y, 0.0, y - boxes[b, 4])
                    if gx < 1.0 and gy < 1.0:
                        reach = 0.3 * min(1.0, boxes[b, 5]) + 0.05
                        open_ *= 1.0 - 0.45 * math.exp(-math.hypot(gx, gy) / reach)
            for p in range(pillars.shape[0]):
                if pillars[p, 3] < 0.6:
                    gap = max(0.0, math.hypot(x - pillars[p, 0], y - pillars[p, 1]) - pillars[p, 2])
                    open_ *= 1.0 - 0.45 * math.exp(-gap / 0.3)
        else:
            open_ = 1.0 - 0.35 * math.exp(-z / 0.3)
        up = 0.5 + 0.5 * normal[2]
        for band in range(3):
            ambient = (up * sky_light[band] + (1 - up) * sky_light[3 + band] + lamp) * open_
            base = red if band == 0 else (green if band == 1 else blue)
            colour[r, band] = (
                base * (ambient * (1.0 + 0.6 * bump) + lit * sun[3 + band]) + glow * base
            )


@compiled
def _sunny(points: Floats, boxes: Floats, pillars: Floats, sun: Floats) -> Floats:
    """Share of a body at each point that the sun reaches: the mean over places around it."""
    result = np.zeros(len(points))
    for n in range(len(points)):
        for level in range(3):
            for step in range(-2, 3):
                x = points[n, 0] - sun[1] * 0.12 * step
                y = points[n, 1] + sun[0] * 0.12 * step
                result[n] += unhidden(x, y, 0.4 + 0.5 * level, boxes, pillars, sun) / 15.0
    return result


@compiled
def _box_normal(x: float, y: float, z: float, box: Floats, normal: Floats) -> None:
    least, axis, sign = 1e9, 0, 1.0
    for k in range(3):
        value = x if k == 0 else (y if k == 1 else z)
        for side in range(2):
            gap = abs(value - box[k + 3 * side])
            if gap < least:
                least, axis, sign = gap, k, 1.0 if side else -1.0
    normal[axis] = sign
