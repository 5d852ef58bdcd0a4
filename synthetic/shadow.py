"""Shadows of people on the floor: soft ones under feet, and long ones drawn by the sun."""

import math

import numpy as np
from numpy.typing import NDArray

from synthetic.camera import Camera
from synthetic.compiled import compiled
from synthetic.scene import Backdrop, Surroundings
from synthetic.shape import Bone

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]

_LIMBS = (
    (Bone.THIGH, Bone.SHIN, 0.085), (Bone.SHIN, Bone.FOOT, 0.055),
    (Bone.THIGH + 1, Bone.SHIN + 1, 0.085), (Bone.SHIN + 1, Bone.FOOT + 1, 0.055),
    (Bone.UPPER_ARM, Bone.FOREARM, 0.05), (Bone.UPPER_ARM + 1, Bone.FOREARM + 1, 0.05),
    (Bone.PELVIS, Bone.CHEST, 0.15), (Bone.CHEST, Bone.HEAD, 0.15), (Bone.UPPER_ARM,
    Bone.UPPER_ARM + 1, 0.10),
)  # fmt: skip
_FOREARM = 0.27
_SKULL = 0.13


def cast_shadows(
    joints: Floats, scale: Floats, camera: Camera, backdrop: Backdrop, sun: Floats | None, around:
    Surroundings,
    shade: Floats32, region: tuple[int, int, int, int],
) -> None:  # fmt: skip
    """Multiply `shade` (H, W) by the light that people leave on the floor. `joints`: (N, bones, 3)
    in the world.
    """
    segments = _segments(joints, scale)
    share = 0.0
    if sun is not None:
        direct = sun[2] * sun[3:].mean()
        share = float(direct / (direct + around.sky[:3].mean()))
    for row, solid in enumerate(segments):
        limbs = solid
        feet = joints[row, [Bone.FOOT, Bone.FOOT + 1]]
        spots = np.concatenate([feet[:, :2] + 0.9, feet[:, :2] - 0.9])
        spots = np.array([(x, y) for x in spots[:, 0] for y in spots[:, 1]])
        if sun is not None:
            ends = limbs[:, :6].reshape(-1, 3)
            flat = ends[:, :2] - ends[:, 2:] * sun[:2] / sun[2]
            limbs = _flattened(limbs, sun)
            spots = np.concatenate([spots, flat + 0.3, flat - 0.3])
        window = _window(spots, camera, region)
        if window is not None:
            left, top, right, bottom = window
            cut = np.s_[top:bottom, left:right]
            _darken(
                backdrop.floor[cut],
                backdrop.sunlit[cut],
                feet,
                joints[row, Bone.PELVIS],
                limbs,
                share,
                shade[cut],
            )


def _segments(joints: Floats, scale: Floats) -> Floats:
    """(N, limbs, 7): both ends and the radius of every limb."""
    parts = [
        np.concatenate([joints[:, a], joints[:, b], (scale * r)[:, None]], axis=1)
        for a, b, r in _LIMBS
    ]
    for side in (0, 1):
        upper, elbow = joints[:, Bone.UPPER_ARM + side], joints[:, Bone.FOREARM + side]
        along = (elbow - upper) / np.linalg.norm(elbow - upper, axis=1, keepdims=True)
        hand = elbow + along * (_FOREARM * scale)[:, None]
        parts.append(np.concatenate([elbow, hand, (0.04 * scale)[:, None]], axis=1))
    neck = joints[:, Bone.HEAD]
    crown = neck + np.array([0, 0, 0.14]) * scale[:, None]
    parts.append(np.concatenate([neck, crown, (_SKULL * 0.8 * scale)[:, None]], axis=1))
    return np.stack(parts, axis=1)


def _flattened(limbs: Floats, sun: Floats) -> Floats:
    """(limbs, 6): both ends on the floor along the sun's rays, radius and softness."""
    slant = sun[:2] / sun[2]
    first = limbs[:, :2] - limbs[:, 2:3] * slant
    second = limbs[:, 3:5] - limbs[:, 5:6] * slant
    soft = 0.015 + 0.025 * (limbs[:, 2] + limbs[:, 5]) / 2
    return np.column_stack([first, second, limbs[:, 6], soft])


def _window(
    spots: Floats, camera: Camera, region: tuple[int, int, int, int]
) -> tuple[int, int, int, int] | None:
    pixels, depth = camera.project(np.column_stack([spots, np.zeros(len(spots))]))
    pixels = pixels[depth > 0.3]
    if not len(pixels):
        return None
    low = np.maximum(np.floor(np.clip(pixels.min(axis=0), -1e6, 1e6)).astype(int), region[:2])
    high = np.minimum(np.ceil(np.clip(pixels.max(axis=0), -1e6, 1e6)).astype(int), region[2:])
    return None if (high <= low).any() else (int(low[0]), int(low[1]), int(high[0]), int(high[1]))


@compiled
def _darken(
    floor: Floats32, sunlit: NDArray[np.bool_], feet: Floats, body: Floats, limbs: Floats,
    share: float, shade: Floats32
) -> None:  # fmt: skip
    for r in range(floor.shape[0]):
        for c in range(floor.shape[1]):
            x, y = floor[r, c, 0], floor[r, c, 1]
            if math.isnan(x):
                continue
            gap = (x - body[0]) ** 2 + (y - body[1]) ** 2
            factor = 1.0
            if gap < 0.8:
                factor -= 0.32 * math.exp(-gap / 0.13)
                for k in range(feet.shape[0]):
                    near = (x - feet[k, 0]) ** 2 + (y - feet[k, 1]) ** 2
                    if near < 0.1:
                        factor *= 1.0 - 0.55 * math.exp(
                            -near / 0.018 - max(0.0, feet[k, 2] - 0.09) / 0.07
                        )
            if share > 0.0 and sunlit[r, c]:
                dark = 0.0
                for k in range(limbs.shape[0]):
                    ax, ay = limbs[k, 0], limbs[k, 1]
                    bx, by = limbs[k, 2] - ax, limbs[k, 3] - ay
                    along = ((x - ax) * bx + (y - ay) * by) / (bx * bx + by * by + 1e-9)
                    along = min(1.0, max(0.0, along))
                    squared = (x - ax - along * bx) ** 2 + (y - ay - along * by) ** 2
                    reach = limbs[k, 4] + limbs[k, 5]
                    if squared < reach * reach:
                        dark = max(dark, min(1.0, (reach - math.sqrt(squared)) / (2 * limbs[k, 5])))
                factor *= 1.0 - share * dark
            shade[r, c] *= factor
