"""Floors from people on them: cameras that see common ground, one related to the next."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from calibration.encounters import Encounter, Ways, relate, ways
from calibration.errors import RefusedError, TooLittleError
from calibration.floor_plan import with_view
from calibration.record import Record
from pipeline.frames import FloatArray
from pipeline.ground import FloorMap, GroundSettings

_STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def ways_in(record: Record, lenses: Mapping[str, GroundSettings]) -> list[Ways]:
    """Everybody's ways over the floor, camera by camera: in pixels of the size that its floor is known for."""
    looks, feet, boxes = _looks(record), record.feet().astype(np.float64), record.boxes
    found = []
    for number, camera in enumerate(record.cameras):
        mine = boxes["camera"] == number
        width, height = size = record.sizes[number].tolist()
        pixels, corners = feet[mine], boxes["box"][mine].astype(np.float64)
        if camera in lenses:
            pixels = FloorMap(lenses[camera]).straight(pixels, (width, height))
            size = lenses[camera].size
            corners *= [size[0] / width, size[1] / height] * 2
        found.append(
            ways(
                camera,
                (size[0], size[1]),
                boxes["tracklet"][mine],
                boxes["time"][mine],
                corners,
                pixels,
                looks,
            )
        )
    return found


def related(
    everybody: Sequence[Ways], done: Callable[[str], None] = lambda told: None
) -> tuple[dict[tuple[str, str], Encounter], dict[tuple[str, str], str]]:
    """Each pair of cameras: what relates them, or why nothing does."""
    found: dict[tuple[str, str], Encounter] = {}
    failed: dict[tuple[str, str], str] = {}
    for one, other in combinations(everybody, 2):
        pair = one.camera, other.camera
        try:
            found[pair] = relate(one, other)
            done(f"{pair[0]} and {pair[1]}: {found[pair].people} people agree")
        except (RefusedError, TooLittleError) as error:
            failed[pair] = str(error)
            done(f"{pair[0]} and {pair[1]}: nothing in common found")
    return found, failed


def spread_out(
    everybody: Sequence[Ways],
    encounters: Mapping[tuple[str, str], Encounter],
    known: Mapping[str, GroundSettings],
) -> dict[str, GroundSettings]:
    """Floors of the cameras that lead, pair by pair, to one whose floor is known.

    The best related pair goes first. Where no floor is known, the camera with most in common gives the frame, and
    units are its pixels.
    """
    floors: dict[str, GroundSettings] = {}
    by_size = {camera.camera: camera.size for camera in everybody}
    while True:
        reach = [
            (encounter.people, pair)
            for pair, encounter in encounters.items()
            if (pair[0] in known or pair[0] in floors) != (pair[1] in known or pair[1] in floors)
        ]
        if reach:
            _, pair = max(reach)
            near = pair[0] if pair[0] in known or pair[0] in floors else pair[1]
            far = pair[1] if near == pair[0] else pair[0]
            base = floors.get(near) or known[near]
            floors[far] = _carried(
                base, far, by_size[far], encounters[pair], near == pair[0], known
            )
            continue
        left = [pair for pair in encounters if not {*pair} & {*known, *floors}]
        if not left:
            return floors
        first = max(left, key=lambda pair: encounters[pair].people)[0]
        error = 0.01 * math.hypot(*by_size[first])
        floors[first] = with_view(
            GroundSettings(first, by_size[first], _STRAIGHT, error, frame=first)
        )


def _carried(
    base: GroundSettings,
    camera: str,
    size: tuple[int, int],
    encounter: Encounter,
    forward: bool,
    lenses: Mapping[str, GroundSettings],
) -> GroundSettings:
    """`camera`'s floor by way of its neighbour's. `forward`: the fit leads from `camera` to the neighbour."""
    bridge = encounter.fit.matrix if forward else np.linalg.inv(encounter.fit.matrix)
    own, partner = (
        (encounter.feet, encounter.partners) if forward else (encounter.partners, encounter.feet)
    )
    matrix = np.array(base.floor).reshape(3, 3) @ bridge
    matrix /= np.abs(matrix).max()
    plain = GroundSettings(
        camera, size, tuple(map(float, matrix.ravel())), base.error, frame=base.frame
    )
    there = FloorMap(replace(base, lens=()))(partner)
    off = np.hypot(*(FloorMap(plain)(own) - there).T)
    inliers = np.isfinite(off) & encounter.fit.inliers
    error = math.hypot(base.error, float(np.median(off[inliers])) / 2)
    return with_view(replace(plain, error=error))


def _looks(record: Record) -> FloatArray | None:
    """(T, E) the last embedding of each tracklet, of unit length; zero where there is none."""
    if not record.embeddings.size:
        return None
    looks = np.zeros((len(record.tracklets), record.embeddings.shape[1]), np.float32)
    looks[record.looks["tracklet"]] = record.embeddings  # sorted by frames: the last one stays
    looks /= np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9)
    return looks
