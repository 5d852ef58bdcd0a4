"""How a body stands and walks: from a phase of the step to the place of every bone.

Legs are solved backwards from feet that stay where they are put: the heel lands, the sole stays
flat, the heel
rises about the ball of the foot, the leg swings through. Phase 0 is the left heel landing; one unit
is two steps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic.look import Arms
from synthetic.shape import BONES, Bone

Floats = NDArray[np.float64]

STANCE = 0.62
"""Share of a cycle that a foot is on the floor."""
_BALL = (0.125, -0.08)
_HEEL = (-0.06, -0.08)
"""From the ankle ahead and up, in metres of the reference adult."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What people do with their bodies at one moment, (N,) each."""

    position: Floats
    """(N, 2) on the floor."""
    heading: Floats
    """Radians, counter-clockwise from +x."""
    phase: Floats
    amount: Floats
    """0 standing … 1 in full stride."""
    idle: Floats
    """Seconds of a private clock: sway and glances."""
    glance: Floats
    """Radians that the head is turned to the left."""


@dataclass(frozen=True, slots=True)
class Frames:
    """What people's bodies are, (N,) each: the part of `Body` and `Look` that posing needs."""

    joints: Floats
    """(N, BONES, 3)."""
    scale: Floats
    stride: Floats
    """Metres per cycle at full stride."""
    swing: Floats
    lean: Floats
    toe_out: Floats
    arms: NDArray[np.int64]


def stride_length(height: float, factor: float, speed: float) -> float:
    """Metres covered by one cycle: people take longer steps when they walk faster."""
    return height / 1.75 * factor * (0.62 + 0.5 * speed)


def pose(frames: Frames, walk: Walk) -> Floats:
    """(N, BONES, 3, 4): maps rest coordinates to the world."""
    count, joints, amount = len(walk.phase), frames.joints, walk.amount
    turns = np.empty((count, BONES, 3, 3))
    places = np.empty((count, BONES, 3))
    cycle = 2 * np.pi * walk.phase
    sway = 0.014 * np.sin(cycle) * amount + 0.012 * np.sin(0.7 * walk.idle) * (1 - amount)
    feet = [_foot(frames, walk.phase + shift, amount) for shift in (0.0, 0.5)]
    thigh = joints[:, Bone.THIGH, 2] - joints[:, Bone.SHIN, 2]
    shin = joints[:, Bone.SHIN, 2] - joints[:, Bone.FOOT, 2]
    reach = 0.992 * (thigh + shin)
    drop = joints[:, Bone.PELVIS, 2] - joints[:, Bone.THIGH, 2]
    tops = [up + np.sqrt(np.maximum(reach**2 - ahead**2, 0.01)) for ahead, up, _ in feet]
    hip_height = _soft_min(tops[0], tops[1], 0.012 * frames.scale)

    twist = 0.09 * amount * np.cos(cycle)
    turns[:, Bone.PELVIS] = _about_z(-twist) @ _about_y(0.035 * amount * np.sin(cycle))
    places[:, Bone.PELVIS] = np.stack([sway, np.zeros(count), hip_height + drop], 1)
    lean = np.radians(frames.lean) * (0.4 + 0.6 * amount)
    turns[:, Bone.CHEST] = _about_z(1.3 * twist) @ _about_x(-lean)
    _hang(turns, places, joints, Bone.CHEST, Bone.PELVIS)
    turns[:, Bone.HEAD] = _about_z(walk.glance) @ _about_x(
        -0.3 * lean + 0.02 * np.sin(0.31 * walk.idle)
    )
    _hang(turns, places, joints, Bone.HEAD, Bone.CHEST)
    for right in (0, 1):
        _arm(turns, places, frames, walk, right)
        ahead, up, pitch = feet[right]
        _leg(turns, places, frames, right, ahead, up, pitch, thigh, shin)
    carrier = Bone.FOREARM + (joints[:, Bone.CARRIED, 0] > 0)
    rows = np.arange(count)
    hand = joints[:, Bone.CARRIED] - joints[rows, carrier]
    places[:, Bone.CARRIED] = places[rows, carrier] + np.einsum(
        "nij,nj->ni", turns[rows, carrier], hand
    )
    turns[:, Bone.CARRIED] = _about_x(0.15 * amount * np.sin(cycle))

    world = _about_z(walk.heading - np.pi / 2)[:, None]
    turns = world @ turns
    places = np.einsum("nbij,nbj->nbi", np.broadcast_to(world, turns.shape), places)
    places[:, :, :2] += walk.position[:, None]
    shift = places - np.einsum("nbij,nbj->nbi", turns, joints)
    return np.concatenate([turns, shift[..., None]], axis=3)


def _foot(frames: Frames, phase: Floats, amount: Floats) -> tuple[Floats, Floats, Floats]:
    """Ankle ahead of the hip, its height, and the pitch of the sole (toes up positive)."""
    phase = phase % 1.0
    size = frames.scale
    stride = frames.stride * amount
    pitch_at = (0.0, 0.07, 0.14, 0.34, 0.5, 0.62, 0.70, 0.82, 0.92, 1.0)
    pitch_is = np.radians((17, 2, 0, 0, -16, -58, -52, -8, 15, 17))
    pitch = np.interp(phase, pitch_at, pitch_is) * amount
    stance_ahead, stance_up = _planted(np.minimum(phase, STANCE), pitch, stride, size)
    t = np.clip((phase - STANCE) / (1 - STANCE), 0, 1)
    lift = np.full_like(phase, np.radians(-58)) * amount
    land = np.full_like(phase, np.radians(17)) * amount
    from_ahead, from_up = _planted(np.full_like(phase, STANCE), lift, stride, size)
    to_ahead, to_up = _planted(np.zeros_like(phase), land, stride, size)
    slope = -stride * (1 - STANCE)
    a, b = t * t * (3 - 2 * t), t * (1 - t) ** 2
    swing_ahead = from_ahead * (1 - a) + to_ahead * a + slope * (b + t * t * (t - 1)) * 0.8
    swing_up = (
        from_up * (1 - a)
        + to_up * a
        + amount * size * (0.10 * t * (1 - t) ** 3 + 0.07 * t**2 * (1 - t))
    )
    swings = phase > STANCE
    return np.where(swings, swing_ahead, stance_ahead), np.where(swings, swing_up, stance_up), pitch


def _planted(phase: Floats, pitch: Floats, stride: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Ankle of a foot whose heel or ball stays on the same spot of the floor."""
    sole = stride * (0.265 - phase)
    lean_x, lean_z = np.where(pitch[:, None] > 0, _HEEL, _BALL).T * size
    ahead = sole + lean_x - (lean_x * np.cos(pitch) - lean_z * np.sin(pitch))
    up = -(lean_x * np.sin(pitch) + lean_z * np.cos(pitch))
    return ahead, up + 0.005 * size


def _leg(
    turns: Floats, places: Floats, frames: Frames, right: int,
    ahead: Floats, up: Floats, pitch: Floats, thigh: Floats, shin: Floats,
) -> None:  # fmt: skip
    """Two bones between a hip and an ankle; the knee points ahead."""
    bone = Bone.THIGH + right
    joints = frames.joints
    _hang(turns, places, joints, bone, Bone.PELVIS, inherit=False)
    dy, dz = ahead - places[:, bone, 1], up - places[:, bone, 2]
    reach = np.clip(np.hypot(dy, dz), np.abs(thigh - shin) + 1e-3, (thigh + shin) * 0.9995)
    at_hip = np.arccos(np.clip((thigh**2 + reach**2 - shin**2) / (2 * thigh * reach), -1, 1))
    at_knee = np.pi - np.arccos(
        np.clip((thigh**2 + shin**2 - reach**2) / (2 * thigh * shin), -1, 1)
    )
    lift = np.arctan2(dy, -dz) + at_hip
    out = _about_z(np.radians(frames.toe_out) * (-1 if right else 1) * 0.6)
    turns[:, bone] = out @ _about_x(lift)
    turns[:, Bone.SHIN + right] = out @ _about_x(lift - at_knee)
    turns[:, Bone.FOOT + right] = out @ _about_x(pitch)
    _hang(turns, places, joints, Bone.SHIN + right, bone, inherit=False)
    _hang(turns, places, joints, Bone.FOOT + right, Bone.SHIN + right, inherit=False)


def _arm(turns: Floats, places: Floats, frames: Frames, walk: Walk, right: int) -> None:
    side = 1 if right else -1
    beat = np.cos(2 * np.pi * walk.phase) * side  # the right arm goes ahead with the left foot
    swing = walk.amount * frames.swing
    upper = np.radians(-4 + 21 * beat * swing) + 0.03 * np.sin(0.5 * walk.idle + right)
    elbow = np.radians(13 + 14 * swing * (0.5 + 0.5 * beat))
    spread = np.full_like(upper, np.radians(6.0))
    phone = (frames.arms == Arms.PHONE) & (right == 1)
    pockets = frames.arms == Arms.POCKETS
    upper = np.where(phone, np.radians(22) + 0.1 * (upper + 0.07), np.where(pockets, -0.35, upper))
    elbow = np.where(phone, np.radians(98), np.where(pockets, np.radians(48), elbow))
    spread = np.where(pockets, np.radians(15), spread)
    bone = Bone.UPPER_ARM + right
    turns[:, bone] = _about_x(upper) @ _about_y(-side * spread)
    _hang(turns, places, frames.joints, bone, Bone.CHEST)
    inward = np.where(phone, 0.45, np.where(pockets, 0.25, 0.06)) * side
    turns[:, Bone.FOREARM + right] = _about_x(elbow) @ _about_y(inward + 0 * elbow)
    _hang(turns, places, frames.joints, Bone.FOREARM + right, bone)


def _hang(
    turns: Floats, places: Floats, joints: Floats, bone: int, parent: int, *, inherit: bool = True
) -> None:
    """Attach a bone to its parent's end, and its own turn to the parent's."""
    if inherit:
        turns[:, bone] = turns[:, parent] @ turns[:, bone]
    offset = joints[:, bone] - joints[:, parent]
    places[:, bone] = places[:, parent] + np.einsum("nij,nj->ni", turns[:, parent], offset)


def _soft_min(a: Floats, b: Floats, width: Floats) -> Floats:
    low: Floats = np.minimum(a, b)
    return low - width * np.log1p(np.exp(-np.abs(a - b) / width))


def _about_x(angle: Floats) -> Floats:
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([i, o, o, o, c, -s, o, s, c], -1).reshape(-1, 3, 3)


def _about_y(angle: Floats) -> Floats:
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([c, o, s, o, i, o, -s, o, c], -1).reshape(-1, 3, 3)


def _about_z(angle: Floats) -> Floats:
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([c, -s, o, s, c, o, o, o, i], -1).reshape(-1, 3, 3)
