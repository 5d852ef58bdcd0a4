"""Tables that tell the shader what each part of a person looks like."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from synthetic.look import Bag, Legwear, Look, Pattern, Top
from synthetic.palette import Colour


class Slot(IntEnum):
    """Rows of the material table."""

    SKIN = 0
    HEAD = 1
    TORSO = 2
    SLEEVE = 3
    LEG = 4
    BARE_LEG = 5
    SHOE = 6
    SKIRT = 7
    HAIR = 8
    HAT = 9
    BAG = 10


class Mark(IntEnum):
    """Entries of the table of things drawn at a place rather than on a part; colours take three
    entries.

    Lengths are at the person's own size.
    """

    LOGO = 0
    LOGO_COLOUR = 1
    LOGO_FRONT = 4
    LOGO_BACK = 5
    LOGO_HEIGHT = 6
    LOGO_SIZE = 7
    OPEN_WIDTH = 8
    INNER_COLOUR = 9
    STRAPS = 12
    STRAP_COLOUR = 13
    HEAD_HEIGHT = 16
    SCALE = 17
    HAIR = 18
    HAIR_COLOUR = 19
    BEARD = 22
    GLASSES = 23
    HAT = 24
    HAT_COLOUR = 25
    SOLE_COLOUR = 28
    OUTER = 31


def materials_of(look: Look) -> NDArray[np.float32]:
    """(slots, 10): colour, second colour, pattern, its scale in metres, gloss, depth of folds."""
    top = (look.top_colour, look.top_second, look.pattern, look.pattern_scale)
    sleeve_pattern = Pattern.PLAIN if look.pattern is Pattern.BLOCKS else look.pattern
    folds = {Top.T_SHIRT: 0.7, Top.SWEATER: 0.6, Top.HOODIE: 0.9, Top.JACKET: 1.0, Top.COAT: 0.8}[
        look.top
    ]
    skirt = look.legwear in (Legwear.SKIRT, Legwear.LONG_SKIRT)
    tights = skirt and sum(look.legs_second) < 0.6
    bare = tuple(0.25 * c for c in look.legs_second) if tights else look.skin
    table = [
        _row(look.skin, gloss=0.12),
        _row(look.skin, gloss=0.12),
        _row(*top, folds=folds),
        _row(look.top_colour, look.top_second, sleeve_pattern, look.pattern_scale, folds=folds),
        _row(look.legs_colour, look.legs_second, look.legs_pattern, 0.08, folds=1.0),
        _row((bare[0], bare[1], bare[2]), gloss=0.08),
        _row(look.shoes_colour, gloss=0.25),
        _row(look.legs_colour, look.legs_second, look.legs_pattern, 0.09, folds=1.3),
        _row(look.hair_colour, gloss=0.25, folds=0.8),
        _row(look.hat_colour, folds=0.3),
        _row(look.bag_colour, gloss=0.12, folds=0.4),
    ]
    return np.array(table, dtype=np.float32)


def marks_of(look: Look, scale: float) -> NDArray[np.float32]:
    """The (32,) table of `Mark`."""
    straps = {Bag.BACKPACK: 1, Bag.SHOULDER: 2, Bag.CROSSBODY: 3}.get(look.bag, 0)
    if straps >= 2 and not look.bag_left:
        straps += 2
    table = np.zeros(32, dtype=np.float32)
    table[Mark.LOGO] = look.logo
    table[Mark.LOGO_COLOUR : Mark.LOGO_COLOUR + 3] = look.logo_colour
    table[Mark.LOGO_FRONT] = look.logo_front and not look.open_front
    table[Mark.LOGO_BACK] = look.logo_back
    table[Mark.LOGO_HEIGHT] = 1.29 * scale
    table[Mark.LOGO_SIZE] = 0.10 * scale
    table[Mark.OPEN_WIDTH] = 0.055 * scale if look.open_front else 0.0
    table[Mark.INNER_COLOUR : Mark.INNER_COLOUR + 3] = look.inner_colour
    table[Mark.STRAPS] = straps
    table[Mark.STRAP_COLOUR : Mark.STRAP_COLOUR + 3] = np.multiply(look.bag_colour, 0.7)
    table[Mark.HEAD_HEIGHT] = 1.632 * scale
    table[Mark.SCALE] = scale
    table[Mark.HAIR] = look.hair
    table[Mark.HAIR_COLOUR : Mark.HAIR_COLOUR + 3] = look.hair_colour
    table[Mark.BEARD] = look.beard
    table[Mark.GLASSES] = look.glasses
    table[Mark.HAT] = look.hat
    table[Mark.HAT_COLOUR : Mark.HAT_COLOUR + 3] = look.hat_colour
    table[Mark.SOLE_COLOUR : Mark.SOLE_COLOUR + 3] = look.sole_colour
    table[Mark.OUTER] = look.top in (Top.JACKET, Top.COAT)
    return table


def _row(
    colour: Colour,
    second: Colour = (0.0, 0.0, 0.0),
    pattern: Pattern = Pattern.PLAIN,
    scale: float = 0.08,
    gloss: float = 0.0,
    folds: float = 0.0,
) -> tuple[float, ...]:
    return (*colour, *second, float(pattern), scale, gloss, folds)
