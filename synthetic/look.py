"""Who somebody is: body, clothes, bag and way of walking, a pure function of (seed, index,
palette).

Identities come in groups of `GROUP` with the same clothes. Within a group people differ in two or
three of
shoes, bag, print, build and legwear's shade, besides skin and hair, so that clothes colour alone
cannot tell
them apart.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from synthetic.palette import Colour, Palette, cloth, denim, hair, linear, skin

GROUP = 4


class Pattern(IntEnum):
    """How a cloth is coloured."""

    PLAIN = 0
    STRIPES_ACROSS = 1
    STRIPES_DOWN = 2
    CHECKS = 3
    DOTS = 4
    BLOCKS = 5
    PRINT = 6
    HEATHER = 7


class Logo(IntEnum):
    """What is drawn on the chest or the back."""

    NONE = 0
    DISC = 1
    PANEL = 2
    LETTERS = 3
    CROSS = 4
    TRIANGLE = 5


class Hair(IntEnum):
    """Hair style."""

    BALD = 0
    SHORT = 1
    BOB = 2
    LONG = 3
    BUN = 4


class Hat(IntEnum):
    """Headgear."""

    NONE = 0
    CAP = 1
    BEANIE = 2


class Top(IntEnum):
    """What covers the trunk."""

    T_SHIRT = 0
    SWEATER = 1
    HOODIE = 2
    JACKET = 3
    COAT = 4


class Legwear(IntEnum):
    """What covers the legs."""

    TROUSERS = 0
    SHORTS = 1
    SKIRT = 2
    LONG_SKIRT = 3


class Bag(IntEnum):
    """What is carried."""

    NONE = 0
    BACKPACK = 1
    SHOULDER = 2
    HANDBAG = 3
    CROSSBODY = 4


class Arms(IntEnum):
    """What the arms do while walking."""

    SWING = 0
    PHONE = 1
    POCKETS = 2


@dataclass(frozen=True, slots=True)
class Look:
    """One identity. Metres, linear light; factors multiply an average adult."""

    height: float
    girth: float
    belly: float
    feminine: float
    """0…1: proportions of shoulders, waist and hips."""
    skin: Colour
    hair: Hair
    hair_colour: Colour
    beard: bool
    glasses: bool
    hat: Hat
    hat_colour: Colour
    top: Top
    top_colour: Colour
    top_second: Colour
    pattern: Pattern
    pattern_scale: float
    open_front: bool
    inner_colour: Colour
    logo: Logo
    logo_colour: Colour
    logo_front: bool
    logo_back: bool
    legwear: Legwear
    legs_colour: Colour
    legs_pattern: Pattern
    legs_second: Colour
    shoes_colour: Colour
    sole_colour: Colour
    boots: bool
    bag: Bag
    bag_colour: Colour
    bag_left: bool
    speed: float
    """Preferred walking speed, m/s."""
    stride: float
    swing: float
    lean: float
    """Degrees that the trunk leans forward."""
    toe_out: float
    arms: Arms


def look_of(seed: int, index: int, palette: Palette = "all") -> Look:
    """The identity that `index` names in the world of `seed`."""
    outfit = _outfit(np.random.default_rng([seed, 1, index // GROUP]), palette)
    rng = np.random.default_rng([seed, 2, index])
    member = _body(rng, outfit)
    member = replace(
        member,
        shoes_colour=_shade(rng, outfit.shoes_colour, 0.03),
        top_colour=_shade(rng, outfit.top_colour, 0.04),
        legs_colour=_shade(rng, outfit.legs_colour, 0.04),
    )
    if index % GROUP == 0:
        return member
    order = np.random.default_rng([seed, 3, index // GROUP]).permutation(4)
    aspects = {int(order[index % GROUP]), int(order[(index % GROUP + 1) % 4])}
    return _vary(rng, member, aspects, palette)


def _outfit(rng: np.random.Generator, palette: Palette) -> Look:
    feminine = float(np.clip(rng.normal(0.15 if rng.random() < 0.5 else 0.85, 0.12), 0, 1))
    top = Top(rng.choice(5, p=(0.26, 0.22, 0.17, 0.2, 0.15)))
    skirts = 0.3 if feminine > 0.5 else 0.0
    legwear = Legwear(rng.choice(4, p=(0.84 - skirts, 0.16, skirts * 0.6, skirts * 0.4)))
    pattern = Pattern(rng.choice(8, p=(0.5, 0.1, 0.05, 0.09, 0.05, 0.08, 0.06, 0.07)))
    logo = Logo(int(rng.integers(1, 6))) if rng.random() < 0.45 else Logo.NONE
    jeans = legwear is Legwear.TROUSERS and rng.random() < 0.5
    side = rng.integers(3)
    return Look(
        height=1.72,
        girth=1.0,
        belly=0.0,
        feminine=feminine,
        skin=(0.5, 0.4, 0.3),
        hair=Hair.SHORT,
        hair_colour=(0.02, 0.02, 0.02),
        beard=False,
        glasses=False,
        hat=Hat.NONE,
        hat_colour=cloth(rng, palette),
        top=top,
        top_colour=cloth(rng, palette),
        top_second=cloth(rng, palette),
        pattern=pattern,
        pattern_scale=float(rng.uniform(0.05, 0.13)),
        open_front=top in (Top.JACKET, Top.COAT) and bool(rng.random() < 0.6),
        inner_colour=cloth(rng, palette),
        logo=logo,
        logo_colour=cloth(rng, palette),
        logo_front=side != 1,
        logo_back=side != 0,
        legwear=legwear,
        legs_colour=denim(rng, palette) if jeans else cloth(rng, palette),
        legs_pattern=Pattern(rng.choice((0, 7, 3), p=(0.8, 0.15, 0.05))),
        legs_second=cloth(rng, palette),
        shoes_colour=cloth(rng, palette),
        sole_colour=linear((0.85, 0.84, 0.8)) if rng.random() < 0.5 else linear((0.12,) * 3),
        boots=bool(rng.random() < 0.2),
        bag=_bag(rng),
        bag_colour=cloth(rng, palette),
        bag_left=bool(rng.random() < 0.5),
        speed=1.3,
        stride=1.0,
        swing=1.0,
        lean=2.0,
        toe_out=7.0,
        arms=Arms.SWING,
    )


def _body(rng: np.random.Generator, outfit: Look) -> Look:
    """The person inside the clothes."""
    tall = 1.76 - 0.12 * outfit.feminine
    styles = (
        (0.02, 0.13, 0.3, 0.35, 0.2) if outfit.feminine > 0.5 else (0.12, 0.76, 0.06, 0.03, 0.03)
    )
    return replace(
        outfit,
        height=float(np.clip(rng.normal(tall, 0.065), 1.5, 1.98)),
        girth=float(np.clip(rng.normal(1.0, 0.09), 0.84, 1.3)),
        belly=float(np.clip(rng.normal(0.2, 0.3), 0, 1)),
        skin=skin(rng),
        hair=Hair(rng.choice(5, p=styles)),
        hair_colour=hair(rng),
        beard=outfit.feminine < 0.5 and bool(rng.random() < 0.3),
        glasses=bool(rng.random() < 0.25),
        hat=Hat(rng.choice(3, p=(0.86, 0.08, 0.06))),
        speed=float(np.clip(rng.normal(1.3, 0.15), 0.85, 1.75)),
        stride=float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.12)),
        swing=float(np.clip(rng.normal(1.0, 0.25), 0.35, 1.7)),
        lean=float(np.clip(rng.normal(3.0, 2.0), -1, 9)),
        toe_out=float(np.clip(rng.normal(7.0, 4.0), -2, 18)),
        arms=Arms(rng.choice(3, p=(0.84, 0.1, 0.06))),
    )


def _vary(rng: np.random.Generator, look: Look, aspects: set[int], palette: Palette) -> Look:
    """Make a member of a group its own person in the given aspects."""
    if 0 in aspects:
        look = replace(look, shoes_colour=cloth(rng, palette), boots=bool(rng.random() < 0.3))
    if 1 in aspects:
        bag = Bag(int(look.bag + rng.integers(1, 5)) % 5)
        look = replace(
            look, bag=bag, bag_colour=cloth(rng, palette), bag_left=bool(rng.random() < 0.5)
        )
    if 2 in aspects:
        logo = Logo(int(look.logo + rng.integers(1, 6)) % 6)
        sides = rng.integers(3)
        look = replace(
            look,
            logo=logo,
            logo_colour=cloth(rng, palette),
            logo_front=sides != 1,
            logo_back=sides != 0,
        )
    if 3 in aspects:
        sign = 1 if look.girth < 1 else -1
        look = replace(
            look,
            girth=float(np.clip(look.girth + sign * rng.uniform(0.12, 0.2), 0.84, 1.3)),
            height=float(
                np.clip(look.height + rng.choice((-1, 1)) * rng.uniform(0.06, 0.12), 1.5, 1.98)
            ),
        )
    return look


def _bag(rng: np.random.Generator) -> Bag:
    return Bag(rng.choice(5, p=(0.46, 0.2, 0.1, 0.12, 0.12)))


def _shade(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """The same colour as another piece of cloth has it."""
    red, green, blue = (
        float(max(channel * factor, 0.003))
        for channel, factor in zip(colour, 1 + rng.normal(0, spread, 3), strict=True)
    )
    return red, green, blue
