"""How people steer: towards their goal, beside their company, around others and off the walls."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def steer(
    position: Floats, velocity: Floats, heading: Floats, way: Floats, left: Floats, pace: Floats,
    waiting: NDArray[np.bool_], leader: Ints, offset: Floats, gap: Floats, away: Floats,
    step: float,
) -> Floats:  # fmt: skip
    """New velocities (N, 2) after `step` seconds.

    `way` and `left`: direction and metres to the goal; `leader`: row of the one accompanied or −1;
    `gap` and
    `away`: metres to the nearest wall and the direction from it.
    """
    speed = pace * np.where(waiting, 0.0, np.clip(left / 0.8, 0.35, 1.0))
    wish = way * speed[:, None]
    follows = leader >= 0
    if follows.any():
        wish[follows] = _beside(position, velocity, heading, pace, leader, offset, wish)[follows]
    force = (wish - velocity) / 0.45
    force += _others(position, velocity, leader)
    force += away * (5.0 * np.exp(-(gap - 0.25) / 0.1))[:, None]
    fresh = velocity + force * step
    fast = np.hypot(*fresh.T)
    limit = np.where(waiting, 0.5, 1.35 * pace)
    fresh *= np.minimum(1.0, limit / np.maximum(fast, 1e-9))[:, None]
    still = waiting & (np.hypot(*fresh.T) < 0.12)
    return np.where(still[:, None], 0.0, fresh)


def _beside(
    position: Floats,
    velocity: Floats,
    heading: Floats,
    pace: Floats,
    leader: Ints,
    offset: Floats,
    wish: Floats,
) -> Floats:
    """Keep abreast of the leader; when left behind, find the way alone."""
    side = np.stack([-np.sin(heading[leader]), np.cos(heading[leader])], axis=1)
    lag = position[leader] + offset[:, None] * side - position
    distance = np.hypot(*lag.T)
    abreast = velocity[leader] + 0.9 * lag
    limit = 1.25 * pace / np.maximum(np.hypot(*abreast.T), 1e-9)
    abreast = abreast * np.minimum(1.0, limit)[:, None]
    settled = (distance < 0.45) & (np.hypot(*velocity[leader].T) < 0.1)
    abreast[settled] = 0.0
    return np.where((distance > 4.0)[:, None], wish * 1.2, abreast)


def _others(position: Floats, velocity: Floats, leader: Ints) -> Floats:
    """Keep clear of others where both will be half a second ahead; pass them on the right."""
    between = position[:, None] - position[None]
    ahead = between + 0.5 * (velocity[:, None] - velocity[None])
    distance = np.minimum(np.linalg.norm(between, axis=2), np.linalg.norm(ahead, axis=2) + 0.15)
    np.fill_diagonal(distance, np.inf)
    rows = np.arange(len(leader))
    circle = np.where(leader >= 0, leader, rows)
    friends = circle[:, None] == circle[None]
    strength = np.where(friends, 2.0, 4.5) * np.exp(
        -(distance - 0.6) / np.where(friends, 0.12, 0.28)
    )
    strength = np.minimum(strength, 9.0)
    unit = between / np.maximum(np.linalg.norm(between, axis=2, keepdims=True), 1e-6)
    meeting = ((velocity[:, None] - velocity[None]) * between).sum(axis=2) < 0
    aside = np.stack([unit[..., 1], -unit[..., 0]], axis=2) * (0.5 * meeting * ~friends)[..., None]
    result: Floats = ((unit - aside) * strength[..., None]).sum(axis=1)
    return result
