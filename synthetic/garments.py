"""What is worn over the body and what is carried: hair, hats, hoods, skirts, coat tails, bags."""

import numpy as np

from synthetic.look import Bag, Hair, Hat, Legwear, Top
from synthetic.material import Slot
from synthetic.shape import HEAD, Bone, Part, Shape, ball, bound, box, column, smooth


def garments(shape: Shape) -> list[Part]:
    """Everything of a person that is not the body itself."""
    return [*_hair(shape), *_hat(shape), *_lower_cloth(shape), *_hood(shape), *_bag(shape)]


def _hair(shape: Shape) -> list[Part]:
    """What hair adds to the head beside its colour."""
    style, parts = shape.look.hair, []
    if style in (Hair.BOB, Hair.LONG):
        low = -0.13 if style is Hair.BOB else -0.30
        height = HEAD + np.linspace(0.09, low, 7)
        halves = np.array(
            [
                (0.05, 0.05),
                (0.078, 0.075),
                (0.086, 0.075),
                (0.09, 0.07),
                (0.09, 0.062),
                (0.086, 0.05),
                (0.06, 0.03),
            ]
        )
        ahead = np.array([-0.02, -0.028, -0.034, -0.04, -0.05, -0.062, -0.075])
        surface = column(height, halves, 14, ahead=ahead)
        weight = smooth(-surface.vertices[:, 2], -HEAD + 0.12, -HEAD + 0.3) * 0.7
        parts.append(bound(surface, Bone.HEAD, Bone.CHEST, weight, Slot.HAIR))
    if style is Hair.BUN:
        parts.append(
            bound(ball((0, -0.115, HEAD + 0.045), 0.042), Bone.HEAD, Bone.HEAD, 0.0, Slot.HAIR)
        )
    return parts


def _hat(shape: Shape) -> list[Part]:
    """The brim of a cap; crowns are coloured on the head itshape."""
    if shape.look.hat is not Hat.CAP:
        return []
    surface = column(
        (HEAD + 0.036, HEAD + 0.05), np.array([(0.07, 0.075), (0.066, 0.07)]), 12, ahead=(0.11, 0.1)
    )
    return [bound(surface, Bone.HEAD, Bone.HEAD, 0.0, Slot.HAT)]


def _hood(shape: Shape) -> list[Part]:
    """A hood lying on the shoulders."""
    if shape.look.top is not Top.HOODIE:
        return []
    surface = column(
        (1.38, 1.42, 1.48, 1.53, 1.55),
        np.array([(0.06, 0.02), (0.1, 0.045), (0.105, 0.06), (0.085, 0.05), (0.06, 0.03)]), 12,
        ahead=(-0.1, -0.085, -0.062, -0.058, -0.055),
    )  # fmt: skip
    return [bound(surface, Bone.CHEST, Bone.CHEST, 0.0, Slot.SLEEVE)]


def _lower_cloth(shape: Shape) -> list[Part]:
    """Skirts and coat tails: they hang from the waist and are pushed by the thighs."""
    parts = []
    if shape.look.legwear in (Legwear.SKIRT, Legwear.LONG_SKIRT):
        hem = 0.52 if shape.look.legwear is Legwear.SKIRT else 0.2
        flare = 0.045 if shape.look.legwear is Legwear.SKIRT else 0.075
        parts.append(_hanging(shape, 1.04, hem, 0.012, flare, Slot.SKIRT))
    if shape.look.top is Top.COAT:
        parts.append(_hanging(shape, 1.0, 0.58, 0.036, 0.028, Slot.TORSO))
    elif shape.look.top in (Top.JACKET, Top.HOODIE, Top.SWEATER):
        parts.append(_hanging(shape, 1.0, 0.84, shape.ease + 0.014, 0.0, Slot.TORSO))
    return parts


def _hanging(shape: Shape, top: float, hem: float, ease: float, flare: float, slot: Slot) -> Part:
    height = np.linspace(top, hem, 7)
    hips = 1 + 0.05 * shape.look.feminine
    waist = 1 - 0.13 * shape.look.feminine
    wide = (
        np.interp(height, (0.94, 1.04), (0.17 * hips, 0.155 * (waist + hips) / 2)) * shape.girth
        + ease
    )
    deep = (
        np.interp(height, (0.94, 1.04), (0.132, 0.116 + 0.03 * shape.look.belly)) * shape.girth
        + ease
    )
    fall = np.clip((0.94 - height) / 0.4, 0, 2) * flare
    surface = column(
        height,
        np.stack([wide + fall, deep + fall * 1.6], 1),
        18,
        power=2.2,
        ahead=np.zeros(7),
        caps=False,
    )
    x, z = surface.vertices[:, 0], surface.vertices[:, 2]
    right = x > 0
    bones = np.stack(
        [np.full(len(x), int(Bone.PELVIS)), np.where(right, Bone.THIGH + 1, Bone.THIGH)], 1
    )
    weights = np.clip(np.abs(x) / 0.09, 0, 1) * 0.95 * (1 - smooth(z, 0.66, 0.97))
    weights = np.maximum(
        weights, 0.5 * (1 - smooth(z, 0.66, 0.97)) * np.clip(np.abs(x) / 0.03, 0, 1)
    )
    return Part(surface, bones, weights, np.full(len(surface.triangles), int(slot)))


def _bag(shape: Shape) -> list[Part]:
    """Bags, seen from some sides only."""
    side = -1 if shape.look.bag_left else 1
    width = 0.185 * shape.girth + shape.ease
    match shape.look.bag:
        case Bag.BACKPACK:
            back = -(0.115 * shape.girth + shape.ease)
            height = (1.0, 1.04, 1.18, 1.32, 1.42, 1.47)
            halves = np.array(
                [
                    (0.12, 0.05),
                    (0.145, 0.08),
                    (0.15, 0.085),
                    (0.145, 0.075),
                    (0.13, 0.06),
                    (0.09, 0.035),
                ]
            )
            surface = column(
                height,
                halves,
                16,
                power=4.0,
                ahead=np.array([-0.06, -0.075, -0.08, -0.07, -0.05, -0.03]) + back,
            )
            return [bound(surface, Bone.CHEST, Bone.CHEST, 0.0, Slot.BAG)]
        case Bag.SHOULDER:
            surface = box((side * (width + 0.05), -0.02, 0.92), (0.05, 0.16, 0.13))
            return [bound(surface, Bone.PELVIS, Bone.PELVIS, 0.0, Slot.BAG)]
        case Bag.CROSSBODY:
            surface = box(
                (side * 0.13 * shape.girth, 0.1 * shape.girth + 0.05, 0.97), (0.1, 0.04, 0.075)
            )
            return [bound(surface, Bone.PELVIS, Bone.PELVIS, 0.0, Slot.BAG)]
        case Bag.HANDBAG:
            x = side * (shape.shoulder + 0.02)
            pouch = box((x, 0.0, 0.5), (0.06, 0.17, 0.13))
            strap = column(
                (0.75, 0.72, 0.62),
                np.array([(0.008, 0.01), (0.008, 0.05), (0.008, 0.1)]),
                8,
                ahead=np.zeros(3),
                across=np.full(3, x),
            )
            return [bound(s, Bone.CARRIED, Bone.CARRIED, 0.0, Slot.BAG) for s in (pouch, strap)]
        case _:
            return []
