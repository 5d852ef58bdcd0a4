"""Walking, judged by what feet and knees do."""

import numpy as np
import pytest

from synthetic.body import body_of
from synthetic.gait import STANCE, Frames, Walk, pose, stride_length
from synthetic.look import look_of
from synthetic.shape import Bone

SPEED = 1.3
SAMPLES = 200


def walk(look, speed=SPEED, amount=1.0):
    """One person over a whole cycle, moving along +x: bone maps (S, bones, 3, 4) and the body."""
    body, stride = body_of(look), stride_length(look.height, look.stride, speed)
    phase = np.arange(SAMPLES) / SAMPLES
    column = np.ones(SAMPLES)
    frames = Frames(
        joints=np.repeat(body.joints[None], SAMPLES, axis=0), scale=body.scale * column,
        stride=stride * column, swing=look.swing * column, lean=look.lean * column,
        toe_out=0 * column, arms=np.zeros(SAMPLES, dtype=int),
    )  # fmt: skip
    position = np.column_stack([phase * stride * amount, 0 * column])
    moves = Walk(position, 0 * column, phase, amount * column, 0 * column, 0 * column)
    return pose(frames, moves), body


def moved(maps, bone, point):
    return np.einsum("sij,j->si", maps[:, bone, :, :3], point) + maps[:, bone, :, 3]


@pytest.mark.parametrize("index", [0, 5, 21, 42])
def test_the_planted_foot_does_not_slide(index):
    maps, body = walk(look_of(3, index))
    ankle = body.joints[Bone.FOOT]
    stance = np.arange(SAMPLES) / SAMPLES < STANCE - 0.03
    heel = moved(maps, Bone.FOOT, ankle + np.array([0, -0.06, -0.08]) * body.scale)
    ball = moved(maps, Bone.FOOT, ankle + np.array([0, 0.125, -0.08]) * body.scale)
    low = np.where((heel[:, 2] < ball[:, 2])[:, None], heel, ball)[stance]
    assert np.abs(low[:, 2]).max() < 0.02
    flat = stance & (np.abs(heel[:, 2] - ball[:, 2]) < 0.01)
    assert flat.sum() > 0.15 * SAMPLES
    for part in (heel, ball):
        assert np.ptp(part[flat, 0]) < 0.015


@pytest.mark.parametrize("index", [0, 5, 21, 42])
def test_no_sole_sinks_into_the_floor_and_knees_bend_one_way(index):
    maps, body = walk(look_of(3, index))
    soles = [
        moved(
            maps,
            Bone.FOOT + side,
            body.joints[Bone.FOOT + side] + np.array([0, ahead, -0.08]) * body.scale,
        )
        for side in (0, 1)
        for ahead in (-0.06, 0.125)
    ]
    assert min(sole[:, 2].min() for sole in soles) > -0.02
    for side in (0, 1):
        thigh, shin = maps[:, Bone.THIGH + side, :, 2], maps[:, Bone.SHIN + side, :, 2]
        # with +x ahead, a knee bends by turning the shin's foot end backwards
        bend = thigh[:, 0] * shin[:, 2] - thigh[:, 2] * shin[:, 0]
        assert bend.max() < 0.02
        assert bend.min() < -0.6  # about 40 degrees or more in the swing


def test_both_feet_stand_flat_at_rest():
    maps, body = walk(look_of(3, 1), amount=0.0)
    for side in (0, 1):
        sole = moved(
            maps, Bone.FOOT + side, body.joints[Bone.FOOT + side] - [0, 0, 0.08 * body.scale]
        )
        np.testing.assert_allclose(sole[:, 2], 0.0, atol=0.012)


def test_bodies_are_as_tall_as_their_looks_say():
    for index in range(0, 40, 3):
        look = look_of(9, index)
        maps, body = walk(look, amount=0.0)
        points = np.concatenate([body.vertices, np.ones((len(body.vertices), 1))], axis=1)
        blend = body.weights[:, None, None]
        bones = maps[0, body.bones]
        tall = np.einsum("vij,vj->vi", bones[:, 0] * (1 - blend) + bones[:, 1] * blend, points)[
            :, 2
        ].max()
        assert (
            look.height - 0.04 < tall < look.height + 0.06
        )  # hair and hats add, a bent knee takes
