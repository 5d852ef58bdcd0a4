"""Measures of one person, and the few forms that bodies and clothes are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from synthetic.loft import Floats, Surface, loft
from synthetic.look import Look, Top

REFERENCE = 1.75
"""Height in metres of the adult whose measures stand in `body` and `garments`."""
HEAD = 1.632
"""Height of the middle of that adult's head."""


class Bone(IntEnum):
    """Rigid parts, in the order of `gait.pose`; of pairs the left one, the right one follows."""

    PELVIS = 0
    CHEST = 1
    HEAD = 2
    UPPER_ARM = 3
    FOREARM = 5
    THIGH = 7
    SHIN = 9
    FOOT = 11
    CARRIED = 13


BONES = 14


@dataclass(frozen=True, slots=True)
class Part:
    """A surface with what moves and what colours it."""

    surface: Surface
    bones: NDArray[np.int64]
    """(V, 2)."""
    weights: Floats
    """(V,) share of the second bone."""
    slots: NDArray[np.int64]
    """(T,) rows of the material table."""


class Shape:
    """Measures of one person."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.girth = look.girth
        self.limb = look.girth**0.8
        self.ease = _EASE[look.top]
        """How far the top stands off the body."""
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
                (-h, 0, 0.93), (h, 0, 0.93), (-h, 0, 0.5), (h, 0, 0.5), (-h, 0, 0.085), (h, 0,
                0.085),
                carried,
            ]
        )  # fmt: skip


_EASE = {
    Top.T_SHIRT: 0.006,
    Top.SWEATER: 0.012,
    Top.HOODIE: 0.02,
    Top.JACKET: 0.02,
    Top.COAT: 0.026,
}


def column(
    height: Sequence[float] | Floats,
    halves: Floats,
    segments: int,
    power: float = 2.0,
    ahead: Sequence[float] | Floats = (),
    across: Floats | float = 0.0,
    caps: bool = True,
) -> Surface:
    height = np.asarray(height, dtype=np.float64)
    centres = np.stack(
        np.broadcast_arrays(np.asarray(across, dtype=np.float64), np.asarray(ahead), height), 1
    )
    return loft(centres, halves, segments, power, caps=caps)


def box(centre: Sequence[float], halves: Sequence[float]) -> Surface:
    x, y, z = centre
    height = z + halves[2] * np.array([-1, -0.88, 0.0, 0.88, 1])
    size = np.array([0.85, 1, 1, 0.96, 0.8])[:, None] * np.asarray(halves[:2])
    return column(height, size, 12, power=5.0, ahead=np.full(5, y), across=np.full(5, x))


def ball(centre: Sequence[float], radius: float) -> Surface:
    angle = np.linspace(-1.3, 1.3, 5)
    size = np.repeat(np.cos(angle)[:, None] * radius, 2, axis=1)
    return column(
        centre[2] + radius * np.sin(angle),
        size,
        10,
        ahead=np.full(5, centre[1]),
        across=np.full(5, centre[0]),
    )


def rounds(*radii: float) -> Floats:
    return np.repeat(np.array(radii)[:, None], 2, axis=1)


def bound(
    surface: Surface,
    first: int,
    second: int,
    weight: Floats | float,
    slots: NDArray[np.int64] | int,
) -> Part:
    count = len(surface.vertices)
    return Part(
        surface,
        np.tile((int(first), int(second)), (count, 1)),
        np.broadcast_to(np.asarray(weight, dtype=np.float64), count),
        np.broadcast_to(np.asarray(slots), len(surface.triangles)),
    )


def smooth(value: Floats, low: float, high: float) -> Floats:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mid_height(surface: Surface) -> Floats:
    result: Floats = surface.vertices[surface.triangles][:, :, 2].mean(axis=1)
    return result
