"""The filter against textbook matrices, and the assignment against scipy's."""

import numpy as np
import pytest
from scipy.linalg import block_diag, expm
from scipy.optimize import linear_sum_assignment

from pipeline.assignment import assign
from pipeline.track.association import colourless, overlapping
from pipeline.track.motion import Motion, begin, predict, update

MOTION = Motion()
SPEEDS = np.array(MOTION.speeds)


def learned(predicted, boxes, scores):
    """What is believed after each has been found in its own box; of one track more, which was not, nothing new."""
    predicted = np.concatenate([predicted, predicted[:1]])
    belief = np.zeros_like(predicted)
    backwards = np.arange(len(boxes))[::-1]
    update(belief, predicted, boxes[::-1], scores[::-1], np.append(backwards, -1), MOTION.noise)
    assert not belief[-1].any()
    return belief[:-1]


def some_beliefs(draw, count):
    """Beliefs that have been through two looks, and the boxes they started from."""
    corner = draw.uniform(0, 500, (count, 2))
    boxes = np.hstack([corner, corner + draw.uniform([20, 50], [80, 200], (count, 2))])
    scores = draw.uniform(0.2, 1, count)
    belief = begin(boxes, scores, SPEEDS, MOTION.noise)
    belief = predict(belief, draw.uniform(0.02, 0.3, count), SPEEDS, MOTION.memory)
    return learned(belief, boxes + draw.normal(0, 3, boxes.shape), scores)


def test_one_long_step_equals_the_exact_solution_of_the_process():
    """Expected: Van Loan's matrix exponential of dx = v dt, dv = −v/τ dt + σ√(2/τ) dW."""
    draw = np.random.default_rng(1)
    belief = some_beliefs(draw, 5)
    elapsed = draw.uniform(0.01, 6, 5)
    later = predict(belief, elapsed, SPEEDS, MOTION.memory)
    for i, dt in enumerate(elapsed):
        for k in range(4):
            x, v, pp, pv, vv = belief[i, :, k]
            drift = np.array([[0, 1], [0, -1 / MOTION.memory]])
            density = 2 / MOTION.memory * (SPEEDS[k] * belief[i, 0, 3]) ** 2
            loan = expm(
                np.block([[-drift, np.diag([0, density])], [np.zeros((2, 2)), drift.T]]) * dt
            )
            step = loan[2:, 2:].T
            noise = step @ loan[:2, 2:]
            mean = step @ [x, v]
            spread = step @ [[pp, pv], [pv, vv]] @ step.T + noise
            np.testing.assert_allclose(
                later[i, :, k],
                [*mean, spread[0, 0], spread[0, 1], spread[1, 1]],
                rtol=1e-9,
                atol=1e-9,
            )


def test_an_update_equals_the_textbook_one():
    """Expected: K = P Hᵀ (H P Hᵀ + R)⁻¹ on the full 8×8 covariance."""
    draw = np.random.default_rng(2)
    belief = predict(some_beliefs(draw, 4), np.full(4, 0.2), SPEEDS, MOTION.memory)
    boxes = np.hstack([belief[:, 0, :2] - 20, belief[:, 0, :2] + [25, 60]])
    scores = draw.uniform(0.3, 1, 4)
    after = learned(belief, boxes, scores)
    for i in range(4):
        x, v, pp, pv, vv = belief[i]
        covariance = block_diag(*[[[pp[k], pv[k]], [pv[k], vv[k]]] for k in range(4)])
        look = np.kron(np.eye(4), [[1, 0]])
        left, top, right, bottom = boxes[i]
        seen = np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
        error = (MOTION.noise * max(seen[3], x[3])) ** 2 / scores[i]
        gain = covariance @ look.T @ np.linalg.inv(look @ covariance @ look.T + error * np.eye(4))
        mean = np.stack([x, v], axis=1).ravel() + gain @ (seen - x)
        covariance = (np.eye(8) - gain @ look) @ covariance
        np.testing.assert_allclose(after[i, :2].T.ravel(), mean, rtol=1e-9)
        np.testing.assert_allclose(after[i, 2], np.diag(covariance)[::2], rtol=1e-9)
        np.testing.assert_allclose(after[i, 3], np.diag(covariance, 1)[::2], rtol=1e-9)
        np.testing.assert_allclose(after[i, 4], np.diag(covariance)[1::2], rtol=1e-9)


def dense(pairs, rows, columns):
    starts, chosen, gains = pairs
    matrix = np.zeros((rows, columns))
    for i in range(rows):
        matrix[i, chosen[starts[i] : starts[i + 1]]] = gains[starts[i] : starts[i + 1]]
    return matrix


def test_the_sweep_finds_every_pair_that_overlaps_enough():
    """Expected: every pair looked at, in numpy."""
    draw = np.random.default_rng(3)
    belief = np.zeros((80, 5, 4))
    belief[:, 0] = draw.uniform([0, 0, 20, 40], [400, 300, 60, 150], (80, 4))
    corner = draw.uniform(0, 350, (90, 2))
    boxes = np.hstack([corner, corner + draw.uniform([20, 40], [60, 150], (90, 2))])
    boxes = boxes[np.argsort(boxes[:, 0])]
    rows, columns = draw.random(80) < 0.8, draw.random(90) < 0.8
    found = dense(overlapping(belief, boxes, rows, columns, 0.1, colourless(80, 90)), 80, 90)
    low, high = (belief[:, 0, :2] + s * belief[:, 0, 2:] / 2 for s in (-1, 1))
    inner = np.minimum(high[:, None], boxes[:, 2:]) - np.maximum(low[:, None], boxes[:, :2])
    outer = np.maximum(high[:, None], boxes[:, 2:]) - np.minimum(low[:, None], boxes[:, :2])
    shared = np.prod(inner.clip(0), axis=2)
    areas = np.prod(high - low, axis=1)[:, None] + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    similarity = shared / (areas - shared) * (inner.clip(0) / outer)[..., 1]
    expected = np.where(rows[:, None] & columns, (similarity - 0.1).clip(0), 0)
    assert (expected > 0).sum() > 100
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns", "share"), [(1, 1, 1), (7, 3, 0.6), (40, 60, 0.15)])
def test_no_assignment_gains_more(rows, columns, share):
    """Expected: scipy on the dense matrix, where a pair that gains nothing is as good as none."""
    for seed in range(40):
        draw = np.random.default_rng(seed)
        there = draw.random((rows, columns)) < share
        gains = np.where(there, draw.uniform(0.001, 1, (rows, columns)), 0)
        starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        found = assign((starts, np.nonzero(there)[1], gains[there]), columns)
        matched = np.flatnonzero(found >= 0)
        assert len(set(found[matched])) == len(matched)
        assert there[matched, found[matched]].all()
        best = gains[linear_sum_assignment(-gains)].sum()
        assert gains[matched, found[matched]].sum() == pytest.approx(best, abs=1e-9)
