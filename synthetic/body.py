"""Bodies in their clothes as one skinned triangle mesh.

Built once per identity, standing, arms down, facing +y, in metres of a reference adult 1.75 m tall that is then
scaled. Every vertex follows at most two of the bones listed in `Bone`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from synthetic.loft import Floats, Surface, loft
from synthetic.look import Bag, Hair, Hat, Legwear, Look, Top
from synthetic.material import Slot, marks_of, materials_of

REFERENCE = 1.75
"""Height in metres of the adult whose measures stand in this module."""


class Bone(IntEnum):
    """Rigid parts, in the order of `gait.pose`."""

    PELVIS = 0
    CHEST = 1
    HEAD = 2
    UPPER_ARM = 3  # left, then right
    FOREARM = 5
    THIGH = 7
    SHIN = 9
    FOOT = 11
    CARRIED = 13


BONES = 14


@dataclass(frozen=True, slots=True)
class Body:
    """A mesh ready to be posed and drawn. T triangles over V vertices."""

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    uv: NDArray[np.float32]
    bones: NDArray[np.int32]
    """(V, 2): first and second bone."""
    weights: NDArray[np.float32]
    """(V,): share of the second bone."""
    triangles: NDArray[np.int32]
    slots: NDArray[np.int32]
    """(T,): row of `materials`."""
    joints: Floats
    """(BONES, 3): where each bone turns, at rest."""
    materials: NDArray[np.float32]
    marks: NDArray[np.float32]
    scale: float


@dataclass(frozen=True, slots=True)
class _Part:
    surface: Surface
    bones: NDArray[np.int64]
    weights: Floats
    slots: NDArray[np.int64]


def body_of(look: Look) -> Body:
    """The mesh of a person."""
    shape = _Shape(look)
    parts = [shape.trunk(), shape.neck(), shape.head()]
    for side in (-1, 1):
        parts += [shape.arm(side), shape.leg(side), shape.foot(side)]
    parts += shape.hair() + shape.hat() + shape.lower_cloth() + shape.hood() + shape.bag()
    offsets = np.cumsum([0, *(len(part.surface.vertices) for part in parts)])
    scale = look.height / REFERENCE
    return Body(
        vertices=np.concatenate([p.surface.vertices for p in parts]).astype(np.float32) * np.float32(scale),
        normals=np.concatenate([p.surface.normals for p in parts]).astype(np.float32),
        uv=np.concatenate([p.surface.uv for p in parts]).astype(np.float32),
        bones=np.concatenate([p.bones for p in parts]).astype(np.int32),
        weights=np.concatenate([p.weights for p in parts]).astype(np.float32),
        triangles=np.concatenate(
            [p.surface.triangles + o for p, o in zip(parts, offsets[:-1], strict=True)]
        ).astype(np.int32),
        slots=np.concatenate([p.slots for p in parts]).astype(np.int32),
        joints=shape.joints() * scale,
        materials=materials_of(look),
        marks=marks_of(look, scale),
        scale=scale,
    )


class _Shape:
    """Measures of one person and the parts made from them."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.girth = look.girth
        self.limb = look.girth**0.8
        self.ease = {Top.T_SHIRT: 0.006, Top.SWEATER: 0.012, Top.HOODIE: 0.02, Top.JACKET: 0.02, Top.COAT: 0.026}[
            look.top
        ]
        self.shoulder = 0.197 * (1 - 0.12 * look.feminine) * (1 + 0.5 * (look.girth - 1))
        self.hip = 0.088 * (1 + 0.04 * look.feminine)

    def joints(self) -> Floats:
        """(BONES, 3) at reference size."""
        s, h = self.shoulder, self.hip
        carried = (-s - 0.02 if self.look.bag_left else s + 0.02, 0.0, 0.8)
        return np.array(
            [
                (0, 0, 0.95), (0, 0, 1.06), (0, 0.005, 1.5),
                (-s, 0, 1.415), (s, 0, 1.415), (-s - 0.012, 0, 1.13), (s + 0.012, 0, 1.13),
                (-h, 0, 0.93), (h, 0, 0.93), (-h, 0, 0.5), (h, 0, 0.5), (-h, 0, 0.085), (h, 0, 0.085),
                carried,
            ]
        )  # fmt: skip

    def trunk(self) -> _Part:
        """From the crotch to the base of the neck."""
        f, belly, look = self.look.feminine, self.look.belly, self.look
        waist, hips, chest = 1 - 0.13 * f, 1 + 0.05 * f, 1 - 0.08 * f
        rows = np.array(
            # height, half width, half depth, shift ahead
            [
                (0.80, 0.120, 0.085, -0.005),
                (0.86, 0.160 * hips, 0.108, -0.008),
                (0.94, 0.168 * hips, 0.118 + 0.010 * f, -0.010),
                (1.02, 0.156 * (waist + hips) / 2, 0.108 + 0.03 * belly, 0.018 * belly),
                (1.10, 0.146 * waist, 0.102 + 0.045 * belly, 0.005 + 0.03 * belly),
                (1.19, 0.155 * (waist + chest) / 2, 0.108 + 0.025 * belly, 0.004 + 0.016 * belly),
                (1.28, 0.171 * chest, 0.118 + 0.016 * f, 0.004 + 0.014 * f),
                (1.36, 0.180 * chest, 0.115, 0.0),
                (1.41, 0.170 * chest, 0.100, -0.006),
                (1.445, 0.142 * chest, 0.084, -0.010),
                (1.475, 0.095, 0.068, -0.012),
                (1.505, 0.062, 0.060, -0.006),
            ]
        )
        ease = np.interp(rows[:, 0], (0.86, 0.98, 1.42, 1.5), (0.008, self.ease, self.ease, self.ease / 2))
        if look.top is not Top.T_SHIRT:  # outer wear hangs straight from the chest
            ease += np.interp(rows[:, 0], (0.9, 1.1, 1.2), (0.006, 0.012, 0.0))
        halves = rows[:, 1:3] * self.girth + ease[:, None]
        halves[-3:] = rows[-3:, 1:3] * self.girth**0.5 + ease[-3:, None]
        surface = _column(rows[:, 0], halves, 18, power=2.4, ahead=rows[:, 3])
        weight = _smooth(surface.vertices[:, 2], 0.98, 1.22)
        hem = 0.90 if look.top is not Top.T_SHIRT else 0.94
        slots = np.where(_mid_height(surface) > hem, Slot.TORSO, _legs_slot(look))
        return _bound(surface, Bone.PELVIS, Bone.CHEST, weight, slots)

    def neck(self) -> _Part:
        """The neck, half hidden by a collar."""
        radius = (0.057 - 0.007 * self.look.feminine) * self.girth**0.5
        surface = _column(
            (1.44, 1.49, 1.53, 1.58), _round(radius * 1.15, radius, radius * 0.95, radius), 10, ahead=(0, 0, 0.006, 0.01)
        )
        collar = self.look.top in (Top.JACKET, Top.COAT, Top.HOODIE)
        slots = np.where((_mid_height(surface) < 1.51) & collar, Slot.SLEEVE, Slot.SKIN)
        return _bound(surface, Bone.CHEST, Bone.HEAD, _smooth(surface.vertices[:, 2], 1.49, 1.56), slots)

    def head(self) -> _Part:
        """Skull and face; colour comes from the place on the head, see `shade`."""
        height = np.array([-0.118, -0.105, -0.085, -0.055, -0.02, 0.02, 0.05, 0.08, 0.1, 0.115])
        halves = np.array(
            [
                (0.022, 0.026), (0.040, 0.046), (0.053, 0.066), (0.064, 0.083), (0.070, 0.093),
                (0.074, 0.098), (0.075, 0.098), (0.066, 0.087), (0.048, 0.064), (0.02, 0.03),
            ]
        )  # fmt: skip
        ahead = np.array([0.052, 0.042, 0.032, 0.02, 0.012, 0.006, 0.002, 0, 0, 0]) + 0.012
        surface = _column(height + HEAD, halves, 16, ahead=ahead)
        place = surface.vertices - (0, 0.012, HEAD)
        nose = np.exp(-((place[:, 0] / 0.02) ** 2) - ((place[:, 2] + 0.03) / 0.022) ** 2) * (place[:, 1] > 0.05)
        surface.vertices[:, 1] += 0.024 * nose
        if self.look.hair is not Hair.BALD or self.look.hat is not Hat.NONE:
            line = np.interp(place[:, 1], (-0.03, 0.0, 0.03, 0.1), (-0.08, -0.03, 0.03, 0.058))
            puff = 0.014 if self.look.hair is Hair.SHORT else 0.02
            surface.vertices[:] += surface.normals * (puff * _smooth(place[:, 2] - line, 0.0, 0.03))[:, None]
        return _bound(surface, Bone.HEAD, Bone.HEAD, 0.0, Slot.HEAD)

    def arm(self, side: int) -> _Part:
        """Sleeve, forearm and hand."""
        short = self.look.top is Top.T_SHIRT
        bare = np.array([0.022, 0.044, 0.053, 0.049, 0.043, 0.040, 0.042, 0.036, 0.029, 0.029, 0.030, 0.030, 0.016])
        height = np.array([1.448, 1.432, 1.385, 1.28, 1.19, 1.13, 1.07, 0.97, 0.885, 0.86, 0.80, 0.74, 0.685])
        cut = 4 if short else 8
        ease = np.where(np.arange(13) <= cut, self.ease * np.where(np.arange(13) < 2, 0.5, 1.0), 0.0)
        halves = np.stack([bare, bare], 1) * self.limb + ease[:, None]
        halves[9:, 0] *= 0.62  # hands are flat
        halves[9:, 1] *= 1.35
        x = self.shoulder + np.interp(height, (0.7, 1.13, 1.385, 1.448), (0.03, 0.014, -0.006, -0.045))
        step = cut + 1  # a second ring at the cuff turns its edge outward
        height = np.insert(height, step, height[cut] - 0.004)
        halves = np.insert(halves, step, halves[cut] - self.ease, axis=0)
        x = np.insert(x, step, x[cut])
        surface = _column(height, halves, 10, ahead=np.zeros(14), across=side * x)
        z = surface.vertices[:, 2]
        upper = z > 1.25
        bones = np.where(
            upper[:, None],
            (Bone.CHEST, Bone.UPPER_ARM + (side > 0)),
            (Bone.UPPER_ARM + (side > 0), Bone.FOREARM + (side > 0)),
        )
        weights = np.where(upper, 1 - 0.75 * _smooth(z, 1.36, 1.44), 1 - _smooth(z, 1.10, 1.16))
        slots = np.where(surface.face_ring <= cut, Slot.SLEEVE, Slot.SKIN)
        return _Part(surface, bones, weights, slots)

    def leg(self, side: int) -> _Part:
        """From the hip into the shoe."""
        bare = np.array([0.075, 0.084, 0.083, 0.074, 0.062, 0.054, 0.055, 0.052, 0.040, 0.034, 0.034])
        height = np.array([0.92, 0.86, 0.79, 0.70, 0.60, 0.50, 0.42, 0.34, 0.22, 0.12, 0.065])
        ahead = np.array([0, 0, 0, 0.004, 0.006, 0.004, -0.006, -0.010, -0.006, 0, 0])
        cloth = np.array([0.004, 0.006, 0.009, 0.013, 0.017, 0.020, 0.017, 0.020, 0.026, 0.027, 0.023])
        length = {Legwear.TROUSERS: 11, Legwear.SHORTS: 5}.get(self.look.legwear, 0)
        covered = np.arange(11) < length
        radius = bare * self.limb + np.where(covered, cloth, 0)
        halves = np.stack([radius * 0.97, radius * 1.03], 1)
        surface = _column(height, halves, 12, ahead=ahead, across=np.full(11, side * self.hip))
        z = surface.vertices[:, 2]
        upper = z > 0.68
        bones = np.where(
            upper[:, None],
            (Bone.PELVIS, Bone.THIGH + (side > 0)),
            (Bone.THIGH + (side > 0), Bone.SHIN + (side > 0)),
        )
        weights = np.where(upper, 1 - _smooth(z, 0.84, 0.95), 1 - _smooth(z, 0.46, 0.54))
        slots = np.where(surface.face_ring < length, Slot.LEG, Slot.BARE_LEG)
        return _Part(surface, bones, weights, slots)

    def foot(self, side: int) -> _Part:
        """A shoe, flat below."""
        along = np.array([-0.075, -0.06, -0.02, 0.03, 0.09, 0.14, 0.175, 0.19])
        top = np.array([0.05, 0.075, 0.095, 0.085, 0.062, 0.05, 0.038, 0.02])
        if self.look.boots:
            top[1:4] += 0.03
        half = np.array([0.022, 0.034, 0.038, 0.042, 0.049, 0.047, 0.034, 0.015])
        centres = np.stack([np.full(8, side * self.hip), along, top / 2], 1)
        surface = loft(centres, np.stack([half, top / 2], 1), 10, power=3.0, plane="upright")
        return _bound(surface, Bone.FOOT + (side > 0), Bone.FOOT + (side > 0), 0.0, Slot.SHOE)

    def hair(self) -> list[_Part]:
        """What hair adds to the head beside its colour."""
        style, parts = self.look.hair, []
        if style in (Hair.BOB, Hair.LONG):
            low = -0.13 if style is Hair.BOB else -0.30
            height = HEAD + np.linspace(0.09, low, 7)
            halves = np.array([(0.05, 0.05), (0.078, 0.075), (0.086, 0.075), (0.09, 0.07), (0.09, 0.062), (0.086, 0.05), (0.06, 0.03)])
            ahead = np.array([-0.02, -0.028, -0.034, -0.04, -0.05, -0.062, -0.075])
            surface = _column(height, halves, 14, ahead=ahead)
            weight = _smooth(-surface.vertices[:, 2], -HEAD + 0.12, -HEAD + 0.3) * 0.7
            parts.append(_bound(surface, Bone.HEAD, Bone.CHEST, weight, Slot.HAIR))
        if style is Hair.BUN:
            parts.append(_bound(_ball((0, -0.115, HEAD + 0.045), 0.042), Bone.HEAD, Bone.HEAD, 0.0, Slot.HAIR))
        return parts

    def hat(self) -> list[_Part]:
        """The brim of a cap; crowns are coloured on the head itself."""
        if self.look.hat is not Hat.CAP:
            return []
        surface = _column((HEAD + 0.036, HEAD + 0.05), np.array([(0.07, 0.075), (0.066, 0.07)]), 12, ahead=(0.11, 0.1))
        return [_bound(surface, Bone.HEAD, Bone.HEAD, 0.0, Slot.HAT)]

    def hood(self) -> list[_Part]:
        """A hood lying on the shoulders."""
        if self.look.top is not Top.HOODIE:
            return []
        surface = _column(
            (1.38, 1.42, 1.48, 1.53, 1.55),
            np.array([(0.06, 0.02), (0.1, 0.045), (0.105, 0.06), (0.085, 0.05), (0.06, 0.03)]), 12,
            ahead=(-0.1, -0.085, -0.062, -0.058, -0.055),
        )  # fmt: skip
        return [_bound(surface, Bone.CHEST, Bone.CHEST, 0.0, Slot.SLEEVE)]

    def lower_cloth(self) -> list[_Part]:
        """Skirts and coat tails: they hang from the waist and are pushed by the thighs."""
        parts, f, g = [], self.look.feminine, self.girth
        if self.look.legwear in (Legwear.SKIRT, Legwear.LONG_SKIRT):
            hem = 0.52 if self.look.legwear is Legwear.SKIRT else 0.2
            flare = 0.045 if self.look.legwear is Legwear.SKIRT else 0.075
            parts.append(self._hanging(1.04, hem, 0.012, flare, Slot.SKIRT))
        if self.look.top is Top.COAT:
            parts.append(self._hanging(1.0, 0.58, 0.036, 0.028, Slot.TORSO))
        elif self.look.top in (Top.JACKET, Top.HOODIE, Top.SWEATER):
            parts.append(self._hanging(1.0, 0.84, self.ease + 0.014, 0.0, Slot.TORSO))
        del f, g
        return parts

    def _hanging(self, top: float, hem: float, ease: float, flare: float, slot: Slot) -> _Part:
        height = np.linspace(top, hem, 7)
        hips = 1 + 0.05 * self.look.feminine
        waist = 1 - 0.13 * self.look.feminine
        wide = np.interp(height, (0.94, 1.04), (0.17 * hips, 0.155 * (waist + hips) / 2)) * self.girth + ease
        deep = np.interp(height, (0.94, 1.04), (0.132, 0.116 + 0.03 * self.look.belly)) * self.girth + ease
        fall = np.clip((0.94 - height) / 0.4, 0, 2) * flare
        surface = _column(height, np.stack([wide + fall, deep + fall * 1.6], 1), 18, power=2.2, ahead=np.zeros(7), caps=False)
        x, z = surface.vertices[:, 0], surface.vertices[:, 2]
        right = x > 0
        bones = np.stack([np.full(len(x), int(Bone.PELVIS)), np.where(right, Bone.THIGH + 1, Bone.THIGH)], 1)
        weights = np.clip(np.abs(x) / 0.09, 0, 1) * 0.95 * (1 - _smooth(z, 0.66, 0.97))
        weights = np.maximum(weights, 0.5 * (1 - _smooth(z, 0.66, 0.97)) * np.clip(np.abs(x) / 0.03, 0, 1))
        return _Part(surface, bones, weights, np.full(len(surface.triangles), int(slot)))

    def bag(self) -> list[_Part]:
        """Bags, seen from some sides only."""
        side = -1 if self.look.bag_left else 1
        width = 0.185 * self.girth + self.ease
        match self.look.bag:
            case Bag.BACKPACK:
                back = -(0.115 * self.girth + self.ease)
                height = (1.0, 1.04, 1.18, 1.32, 1.42, 1.47)
                halves = np.array([(0.12, 0.05), (0.145, 0.08), (0.15, 0.085), (0.145, 0.075), (0.13, 0.06), (0.09, 0.035)])
                surface = _column(height, halves, 16, power=4.0, ahead=np.array([-0.06, -0.075, -0.08, -0.07, -0.05, -0.03]) + back)
                return [_bound(surface, Bone.CHEST, Bone.CHEST, 0.0, Slot.BAG)]
            case Bag.SHOULDER:
                surface = _box((side * (width + 0.05), -0.02, 0.92), (0.05, 0.16, 0.13))
                return [_bound(surface, Bone.PELVIS, Bone.PELVIS, 0.0, Slot.BAG)]
            case Bag.CROSSBODY:
                surface = _box((side * 0.13 * self.girth, 0.1 * self.girth + 0.05, 0.97), (0.1, 0.04, 0.075))
                return [_bound(surface, Bone.PELVIS, Bone.PELVIS, 0.0, Slot.BAG)]
            case Bag.HANDBAG:
                x = side * (self.shoulder + 0.02)
                pouch = _box((x, 0.0, 0.5), (0.06, 0.17, 0.13))
                strap = _column((0.75, 0.72, 0.62), np.array([(0.008, 0.01), (0.008, 0.05), (0.008, 0.1)]), 8, ahead=np.zeros(3), across=np.full(3, x))
                return [_bound(s, Bone.CARRIED, Bone.CARRIED, 0.0, Slot.BAG) for s in (pouch, strap)]
            case _:
                return []


HEAD = 1.632
"""Height of the middle of the head of the reference adult."""


def _column(
    height: Sequence[float] | Floats,
    halves: Floats,
    segments: int,
    power: float = 2.0,
    ahead: Sequence[float] | Floats = (),
    across: Floats | float = 0.0,
    caps: bool = True,
) -> Surface:
    height = np.asarray(height, dtype=np.float64)
    centres = np.stack(np.broadcast_arrays(np.asarray(across, dtype=np.float64), np.asarray(ahead), height), 1)
    return loft(centres, halves, segments, power, caps=caps)


def _box(centre: Sequence[float], halves: Sequence[float]) -> Surface:
    x, y, z = centre
    height = z + halves[2] * np.array([-1, -0.88, 0.0, 0.88, 1])
    size = np.array([0.85, 1, 1, 0.96, 0.8])[:, None] * np.asarray(halves[:2])
    return _column(height, size, 12, power=5.0, ahead=np.full(5, y), across=np.full(5, x))


def _ball(centre: Sequence[float], radius: float) -> Surface:
    angle = np.linspace(-1.3, 1.3, 5)
    size = np.repeat(np.cos(angle)[:, None] * radius, 2, axis=1)
    return _column(centre[2] + radius * np.sin(angle), size, 10, ahead=np.full(5, centre[1]), across=np.full(5, centre[0]))


def _round(*radii: float) -> Floats:
    return np.repeat(np.array(radii)[:, None], 2, axis=1)


def _bound(
    surface: Surface, first: int, second: int, weight: Floats | float, slots: NDArray[np.int64] | int
) -> _Part:
    count = len(surface.vertices)
    return _Part(
        surface,
        np.tile((int(first), int(second)), (count, 1)),
        np.broadcast_to(np.asarray(weight, dtype=np.float64), count),
        np.broadcast_to(np.asarray(slots), len(surface.triangles)),
    )


def _smooth(value: Floats, low: float, high: float) -> Floats:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _mid_height(surface: Surface) -> Floats:
    result: Floats = surface.vertices[surface.triangles][:, :, 2].mean(axis=1)
    return result


def _legs_slot(look: Look) -> Slot:
    return Slot.SKIRT if look.legwear in (Legwear.SKIRT, Legwear.LONG_SKIRT) else Slot.LEG
