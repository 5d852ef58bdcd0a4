"""Bodies in their clothes as one skinned triangle mesh.

Built once per identity, standing, arms down, facing +y, in metres of a reference adult 1.75 m tall
that is then
scaled. Every vertex follows at most two of the bones listed in `shape.Bone`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic.garments import garments
from synthetic.loft import Floats, loft
from synthetic.look import Hair, Hat, Legwear, Look, Top
from synthetic.material import Slot, marks_of, materials_of
from synthetic.shape import (
    HEAD,
    REFERENCE,
    Bone,
    Part,
    Shape,
    bound,
    column,
    mid_height,
    rounds,
    smooth,
)


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


def body_of(look: Look) -> Body:
    """The mesh of a person."""
    shape = Shape(look)
    parts = [_trunk(shape), _neck(shape), _head(shape)]
    for side in (-1, 1):
        parts += [_arm(shape, side), _leg(shape, side), _foot(shape, side)]
    parts += garments(shape)
    offsets = np.cumsum([0, *(len(part.surface.vertices) for part in parts)])
    scale = look.height / REFERENCE
    return Body(
        vertices=np.concatenate([p.surface.vertices for p in parts]).astype(np.float32)
        * np.float32(scale),
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


def _trunk(shape: Shape) -> Part:
    """From the crotch to the base of the neck."""
    f, belly, look = shape.look.feminine, shape.look.belly, shape.look
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
    ease = np.interp(
        rows[:, 0], (0.86, 0.98, 1.42, 1.5), (0.008, shape.ease, shape.ease, shape.ease / 2)
    )
    if look.top is not Top.T_SHIRT:  # outer wear hangs straight from the chest
        ease += np.interp(rows[:, 0], (0.9, 1.1, 1.2), (0.006, 0.012, 0.0))
    halves = rows[:, 1:3] * shape.girth + ease[:, None]
    halves[-3:] = rows[-3:, 1:3] * shape.girth**0.5 + ease[-3:, None]
    surface = column(rows[:, 0], halves, 18, power=2.4, ahead=rows[:, 3])
    weight = smooth(surface.vertices[:, 2], 0.98, 1.22)
    hem = 0.90 if look.top is not Top.T_SHIRT else 0.94
    slots = np.where(mid_height(surface) > hem, Slot.TORSO, _legs_slot(look))
    return bound(surface, Bone.PELVIS, Bone.CHEST, weight, slots)


def _neck(shape: Shape) -> Part:
    """The neck, half hidden by a collar."""
    radius = (0.057 - 0.007 * shape.look.feminine) * shape.girth**0.5
    surface = column(
        (1.44, 1.49, 1.53, 1.58),
        rounds(radius * 1.15, radius, radius * 0.95, radius),
        10,
        ahead=(0, 0, 0.006, 0.01),
    )
    collar = shape.look.top in (Top.JACKET, Top.COAT, Top.HOODIE)
    slots = np.where((mid_height(surface) < 1.51) & collar, Slot.SLEEVE, Slot.SKIN)
    return bound(surface, Bone.CHEST, Bone.HEAD, smooth(surface.vertices[:, 2], 1.49, 1.56), slots)


def _head(shape: Shape) -> Part:
    """Skull and face; colour comes from the place on the head, see `shade`."""
    height = np.array([-0.118, -0.105, -0.085, -0.055, -0.02, 0.02, 0.05, 0.08, 0.1, 0.115])
    halves = np.array(
        [
            (0.022, 0.026), (0.040, 0.046), (0.053, 0.066), (0.064, 0.083), (0.070, 0.093),
            (0.074, 0.098), (0.075, 0.098), (0.066, 0.087), (0.048, 0.064), (0.02, 0.03),
        ]
    )  # fmt: skip
    ahead = np.array([0.052, 0.042, 0.032, 0.02, 0.012, 0.006, 0.002, 0, 0, 0]) + 0.012
    surface = column(height + HEAD, halves, 16, ahead=ahead)
    place = surface.vertices - (0, 0.012, HEAD)
    nose = np.exp(-((place[:, 0] / 0.02) ** 2) - ((place[:, 2] + 0.03) / 0.022) ** 2) * (
        place[:, 1] > 0.05
    )
    surface.vertices[:, 1] += 0.024 * nose
    if shape.look.hair is not Hair.BALD or shape.look.hat is not Hat.NONE:
        line = np.interp(place[:, 1], (-0.03, 0.0, 0.03, 0.1), (-0.08, -0.03, 0.03, 0.058))
        puff = 0.014 if shape.look.hair is Hair.SHORT else 0.02
        surface.vertices[:] += (
            surface.normals * (puff * smooth(place[:, 2] - line, 0.0, 0.03))[:, None]
        )
    return bound(surface, Bone.HEAD, Bone.HEAD, 0.0, Slot.HEAD)


def _arm(shape: Shape, side: int) -> Part:
    """Sleeve, forearm and hand."""
    short = shape.look.top is Top.T_SHIRT
    bare = np.array(
        [0.022, 0.044, 0.053, 0.049, 0.043, 0.040, 0.042, 0.036, 0.029, 0.029, 0.030, 0.030, 0.016]
    )
    height = np.array(
        [1.448, 1.432, 1.385, 1.28, 1.19, 1.13, 1.07, 0.97, 0.885, 0.86, 0.80, 0.74, 0.685]
    )
    cut = 4 if short else 8
    ease = np.where(np.arange(13) <= cut, shape.ease * np.where(np.arange(13) < 2, 0.5, 1.0), 0.0)
    halves = np.stack([bare, bare], 1) * shape.limb + ease[:, None]
    halves[9:, 0] *= 0.62  # hands are flat
    halves[9:, 1] *= 1.35
    x = shape.shoulder + np.interp(height, (0.7, 1.13, 1.385, 1.448), (0.03, 0.014, -0.006, -0.045))
    step = cut + 1  # a second ring at the cuff turns its edge outward
    height = np.insert(height, step, height[cut] - 0.004)
    halves = np.insert(halves, step, halves[cut] - shape.ease, axis=0)
    x = np.insert(x, step, x[cut])
    surface = column(height, halves, 10, ahead=np.zeros(14), across=side * x)
    z = surface.vertices[:, 2]
    upper = z > 1.25
    bones = np.where(
        upper[:, None],
        (Bone.CHEST, Bone.UPPER_ARM + (side > 0)),
        (Bone.UPPER_ARM + (side > 0), Bone.FOREARM + (side > 0)),
    )
    weights = np.where(upper, 1 - 0.75 * smooth(z, 1.36, 1.44), 1 - smooth(z, 1.10, 1.16))
    slots = np.where(surface.face_ring <= cut, Slot.SLEEVE, Slot.SKIN)
    return Part(surface, bones, weights, slots)


def _leg(shape: Shape, side: int) -> Part:
    """From the hip into the shoe."""
    bare = np.array([0.075, 0.084, 0.083, 0.074, 0.062, 0.054, 0.055, 0.052, 0.040, 0.034, 0.034])
    height = np.array([0.92, 0.86, 0.79, 0.70, 0.60, 0.50, 0.42, 0.34, 0.22, 0.12, 0.065])
    ahead = np.array([0, 0, 0, 0.004, 0.006, 0.004, -0.006, -0.010, -0.006, 0, 0])
    cloth = np.array([0.004, 0.006, 0.009, 0.013, 0.017, 0.020, 0.017, 0.020, 0.026, 0.027, 0.023])
    length = {Legwear.TROUSERS: 11, Legwear.SHORTS: 5}.get(shape.look.legwear, 0)
    covered = np.arange(11) < length
    radius = bare * shape.limb + np.where(covered, cloth, 0)
    halves = np.stack([radius * 0.97, radius * 1.03], 1)
    surface = column(height, halves, 12, ahead=ahead, across=np.full(11, side * shape.hip))
    z = surface.vertices[:, 2]
    upper = z > 0.68
    bones = np.where(
        upper[:, None],
        (Bone.PELVIS, Bone.THIGH + (side > 0)),
        (Bone.THIGH + (side > 0), Bone.SHIN + (side > 0)),
    )
    weights = np.where(upper, 1 - smooth(z, 0.84, 0.95), 1 - smooth(z, 0.46, 0.54))
    slots = np.where(surface.face_ring < length, Slot.LEG, Slot.BARE_LEG)
    return Part(surface, bones, weights, slots)


def _foot(shape: Shape, side: int) -> Part:
    """A shoe, flat below."""
    along = np.array([-0.075, -0.06, -0.02, 0.03, 0.09, 0.14, 0.175, 0.19])
    top = np.array([0.05, 0.075, 0.095, 0.085, 0.062, 0.05, 0.038, 0.02])
    if shape.look.boots:
        top[1:4] += 0.03
    half = np.array([0.022, 0.034, 0.038, 0.042, 0.049, 0.047, 0.034, 0.015])
    centres = np.stack([np.full(8, side * shape.hip), along, top / 2], 1)
    surface = loft(centres, np.stack([half, top / 2], 1), 10, power=3.0, plane="upright")
    return bound(surface, Bone.FOOT + (side > 0), Bone.FOOT + (side > 0), 0.0, Slot.SHOE)


def _legs_slot(look: Look) -> Slot:
    return Slot.SKIRT if look.legwear in (Legwear.SKIRT, Legwear.LONG_SKIRT) else Slot.LEG
