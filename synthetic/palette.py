"""Colours of clothes, skin and hair, in disjoint sets so that training can be judged on unseen
ones.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

Palette: TypeAlias = Literal["train", "val", "test", "all"]
Colour: TypeAlias = tuple[float, float, float]
"""Linear red, green, blue in 0…1."""

PALETTES: tuple[Palette, ...] = get_args(Palette)
_HUES = 10
_SKINS = (
    (0.87, 0.69, 0.58),
    (0.80, 0.60, 0.47),
    (0.71, 0.51, 0.38),
    (0.58, 0.39, 0.27),
    (0.43, 0.28, 0.19),
    (0.31, 0.20, 0.14),
)
_HAIRS = (
    (0.07, 0.06, 0.06),
    (0.14, 0.10, 0.08),
    (0.25, 0.17, 0.11),
    (0.42, 0.29, 0.16),
    (0.68, 0.53, 0.31),
    (0.62, 0.61, 0.59),
    (0.42, 0.18, 0.09),
)


def cloth(rng: np.random.Generator, palette: Palette) -> Colour:
    """A colour as clothes have it: mostly dark and neutral, often muted, at times saturated.

    Hues and grey levels are cut into slots; each palette owns every third one, so no two palettes
    share one.
    """
    share = rng.random()
    which = int(rng.integers(3)) if palette == "all" else PALETTES.index(palette)
    slot = (3 * int(rng.integers(_HUES)) + which + 0.75 * rng.random()) / (3 * _HUES)
    if share < 0.45:
        grey = 0.04 + 0.88 * slot**1.4
        return linear(np.clip(grey * (1 + rng.normal(0, 0.02, 3)), 0.02, 0.95))
    if share < 0.72:
        return linear(_from_hsv(slot, rng.uniform(0.15, 0.45), rng.uniform(0.2, 0.75)))
    return linear(_from_hsv(slot, rng.uniform(0.55, 0.92), rng.uniform(0.3, 0.85)))


def denim(rng: np.random.Generator, palette: Palette) -> Colour:
    """The blue to black of jeans, with a third of the range for each palette."""
    which = int(rng.integers(3)) if palette == "all" else PALETTES.index(palette)
    value = 0.14 + 0.12 * (which + 0.8 * rng.random())
    return linear(_from_hsv(rng.uniform(0.58, 0.64), rng.uniform(0.25, 0.6), value))


def skin(rng: np.random.Generator) -> Colour:
    """A skin tone."""
    return linear(np.clip(_SKINS[rng.integers(len(_SKINS))] + rng.normal(0, 0.02, 3), 0.05, 0.95))


def hair(rng: np.random.Generator) -> Colour:
    """A hair colour, dark ones more often."""
    index = min(int(rng.integers(len(_HAIRS))), int(rng.integers(len(_HAIRS))))
    return linear(np.clip(_HAIRS[index] + rng.normal(0, 0.01, 3), 0.02, 0.95))


def linear(display: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Colour:
    """Display values to linear light."""
    red, green, blue = (float(channel) ** 2.2 for channel in display)
    return red, green, blue


def _from_hsv(
    hue: float, saturation: float, value: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    wheel = np.abs(((hue + np.array([0, 2 / 3, 1 / 3])) % 1) * 6 - 3) - 1
    colour: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    colour = value * (1 - saturation * (1 - np.clip(wheel, 0, 1)))
    return colour
