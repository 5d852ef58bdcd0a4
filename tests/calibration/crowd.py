"""A crowd of known likeness on a known site: unit vectors of people, seen through noise, as looks of a record."""

import numpy as np

from calibration.looks import Looks, unit

SIZE = 32
TRUE_WAYS = {(0, 1): (12.0, 0.2), (1, 0): (12.0, 0.2), (1, 2): (25.0, 0.2), (2, 1): (25.0, 0.2)}


def crowd(
    people: int, seed: int, noise: float = 0.06, hours: float = 1.0, doubled: bool = False
) -> tuple[Looks, np.ndarray]:
    """People who walk 0-1-2 or back, each stay 10 s; ways as in TRUE_WAYS. Answers looks and who each is.

    `doubled`: a camera 3 sees the ground that 0 sees.
    """
    rng = np.random.default_rng(seed)
    faces = unit(rng.normal(0, 1, (people, SIZE)) + 0.7)
    camera, first, who = [], [], []
    for person in range(people):
        at = rng.uniform(0, 3600 * hours)
        route = [0, 1, 2] if rng.random() < 0.5 else [2, 1, 0]
        for n, here in enumerate(route):
            if n:
                median, spread = TRUE_WAYS[route[n - 1], here]
                at += 10 + median * np.exp(rng.normal(0, spread))
            camera.append(here)
            first.append(at)
            who.append(person)
            if doubled and here == 0:
                camera.append(3)
                first.append(at)
                who.append(person)
    first, who = np.array(first), np.array(who)
    seen = unit(faces[who] + rng.normal(0, noise, (len(who), SIZE)))
    count = len(who)
    return Looks(
        tracklet=np.arange(count),
        camera=np.array(camera),
        first=first,
        last=first + 10,
        frames=np.full(count, 16),
        embeddings=seen.astype(np.float32),
        early={n: (np.arange(count), seen.astype(np.float32)) for n in (1, 2, 4, 8, 16)},
        together=_together(np.array(camera), first),
    ), who


def _together(camera, first):
    one, other = np.triu_indices(len(first), 1)
    same = (camera[one] == camera[other]) & (np.abs(first[one] - first[other]) < 9.5)
    return one[same], other[same]
