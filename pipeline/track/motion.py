"""How people move in a picture: a Kalman filter in seconds, for all tracks at once.

Centre x, centre y, width and height move independently, so each is a filter of position and
velocity and a belief is an (N, 5, 4) array: position, velocity, and the variances of position, of
both together and of velocity, for each of the four. Velocity forgets itself (an Ornstein–Uhlenbeck
process): a person out of sight does not walk on for ever, and what is unknown about the velocity
stays bounded. Its solution in closed form takes any step of time at once, so that uneven frame
rates and long gaps are exact, and a track keeps its last look and not a chain of guesses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.frames import IntArray

Floats = NDArray[np.float64]

POSITION, VELOCITY, PP, PV, VV = range(5)


@dataclass(frozen=True, slots=True)
class Motion:
    """All lengths are in heights of the person, so that near and far people are alike."""

    speeds: tuple[float, float, float, float] = (0.6, 0.25, 0.12, 0.12)
    """Usual change per second of centre x, centre y, width and height: a walk is about 1.4 m/s,
    which is 0.8 heights sideways, much less towards or away, and hardly any in size."""
    memory: float = 2.0
    """Seconds after which a velocity is mostly forgotten."""
    noise: float = 0.035
    """Error of a detection with score 1."""


@compiled
def begin(boxes: Floats, scores: Floats, speeds: Floats, noise: float) -> Floats:
    """Beliefs (N, 5, 4) after one look at boxes (N, 4): any usual velocity is possible."""
    belief = np.zeros((len(boxes), 5, 4))
    for i in range(len(boxes)):
        seen = centred(boxes[i])
        for k in range(4):
            belief[i, POSITION, k] = seen[k]
            belief[i, PP, k] = _noise(seen[3], scores[i], noise)
            belief[i, VV, k] = (speeds[k] * seen[3]) ** 2
    return belief


@compiled
def predict(belief: Floats, elapsed: Floats, speeds: Floats, memory: float) -> Floats:
    """Beliefs (N, 5, 4) `elapsed` (N,) seconds later."""
    later = np.empty_like(belief)
    for i in range(len(belief)):
        step = elapsed[i] / memory
        kept = np.exp(-step)
        lost = 1.0 - kept
        reach = memory * lost
        for k in range(4):
            position, velocity = belief[i, POSITION, k], belief[i, VELOCITY, k]
            pp, pv, vv = belief[i, PP, k], belief[i, PV, k], belief[i, VV, k]
            variance = (speeds[k] * belief[i, POSITION, 3]) ** 2
            carried = pv + reach * vv
            wander = memory**2 * (2.0 * step - lost * (2.0 + lost))
            later[i, POSITION, k] = position + reach * velocity
            later[i, VELOCITY, k] = kept * velocity
            later[i, PP, k] = pp + reach * (pv + carried) + variance * wander
            later[i, PV, k] = kept * carried + variance * reach * lost
            later[i, VV, k] = kept**2 * vv + variance * lost * (1.0 + kept)
    return later


@compiled
def update(
    belief: Floats,
    predicted: Floats,
    boxes: Floats,
    scores: Floats,
    partner: IntArray,
    noise: float,
) -> None:
    """Let beliefs (N, 5, 4), of which `predicted` is what they say of now, learn from detections (M, 4).

    `partner` (N,) is the detection of each; -1 where there is none, and nothing is learned.
    """
    for i in range(len(belief)):
        j = partner[i]
        if j < 0:
            continue
        seen = centred(boxes[j])
        error = _noise(max(seen[3], predicted[i, POSITION, 3]), scores[j], noise)
        for k in range(4):
            position, velocity = predicted[i, POSITION, k], predicted[i, VELOCITY, k]
            pp, pv, vv = predicted[i, PP, k], predicted[i, PV, k], predicted[i, VV, k]
            gain, gain_velocity = pp / (pp + error), pv / (pp + error)
            belief[i, POSITION, k] = position + gain * (seen[k] - position)
            belief[i, VELOCITY, k] = velocity + gain_velocity * (seen[k] - position)
            belief[i, PP, k] = (1.0 - gain) * pp
            belief[i, PV, k] = (1.0 - gain) * pv
            belief[i, VV, k] = vv - gain_velocity * pv


@compiled
def centred(box: Floats) -> tuple[float, float, float, float]:
    """Centre x, centre y, width, height of left, top, right, bottom."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]


@compiled
def _noise(height: float, score: float, noise: float) -> float:
    """Variance of a detection: an unsure detector also places the box worse."""
    return (noise * height) ** 2 / max(score, 0.1)
