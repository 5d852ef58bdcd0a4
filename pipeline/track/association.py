"""Which detection is which track: candidate pairs only, then the best assignment among them.

People far apart can never be matched, so the pairs worth looking at grow with the number of people
and not with its square. A sweep over left edges finds those that overlap.

Compiled, and written with plain loops: numba takes seconds to compile numpy's sorting and indexing.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.assignment import Pairs, assign
from pipeline.compiled import compiled
from pipeline.frames import FloatArray, IntArray
from pipeline.track.motion import POSITION, PP, centred

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Colours: TypeAlias = tuple[FloatArray, FloatArray, float, float, float, float]
"""Of tracks (N, K) and detections (M, K), K = 0 where nothing is known; then the mean difference that
speaks neither for nor against one person, what a unit less adds, and the most that colours add and take."""


def colourless(tracks: int, detections: int) -> Colours:
    """Of so many, none of whom has any."""
    known, seen = (np.empty((count, 0), np.float32) for count in (tracks, detections))
    return known, seen, 0.0, 0.0, 0.0, 0.0


@compiled
def match_overlapping(
    belief: Floats,
    boxes: Floats,
    rows: Flags,
    columns: Flags,
    floor: float,
    colours: Colours,
    partner: IntArray,
) -> None:
    """Match tracks with detections that lie where they should be, by intersection over union.

    `belief` (N, 5, 4) as predicted; `boxes` (M, 4) **sorted by their left edges**; `rows` (N,) and
    `columns` (M,) say who takes part. Writes the detection of each matched track into `partner`
    (N,) and clears the flags of both.
    """
    pairs = overlapping(belief, boxes, rows, columns, floor, colours)
    _settle(assign(pairs, len(boxes)), rows, columns, partner)


@compiled
def match_returning(
    belief: Floats,
    boxes: Floats,
    rows: Flags,
    columns: Flags,
    noise: float,
    odds: Floats,
    colours: Colours,
    partner: IntArray,
) -> None:
    """Match tracks with detections that they have likelier moved on to than not.

    As `match_overlapping`, in any order; `odds` (N,) is what speaks for each track's return before place
    and size are looked at: a logarithm, for lengths in pixels.
    """
    pairs = returning(belief, boxes, rows, columns, noise, odds, colours)
    _settle(assign(pairs, len(boxes)), rows, columns, partner)


@compiled
def overlapping(
    belief: Floats, boxes: Floats, rows: Flags, columns: Flags, floor: float, colours: Colours
) -> Pairs:
    """Pairs that are similar in place and height, and in colour.

    Similarity is the intersection over union times the same of the vertical extents alone, and what
    colours add to it; the gain is what it has above `floor`.
    """
    known, seen, alike, weight, bonus, malus = colours
    widest = 0.0
    for j in range(len(boxes)):
        widest = max(widest, boxes[j, 2] - boxes[j, 0])
    starts = np.zeros(len(rows) + 1, np.int64)
    chosen, gains = np.empty(4 * len(rows), np.int64), np.empty(4 * len(rows))
    count = 0
    for i in range(len(rows)):
        if rows[i]:
            x, y, width, height = belief[i, POSITION]
            left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
            for j in range(_first_beyond(boxes, left - widest), len(boxes)):
                if boxes[j, 0] >= right:
                    break
                if not columns[j] or boxes[j, 2] <= left:
                    continue
                wide = min(right, boxes[j, 2]) - max(left, boxes[j, 0])
                high = min(bottom, boxes[j, 3]) - max(top, boxes[j, 1])
                if high <= 0.0:
                    continue
                area = (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1])
                union = width * height + area - wide * high
                extent = max(bottom, boxes[j, 3]) - min(top, boxes[j, 1])
                gain = wide * high / union * (high / extent) - floor
                if gain + bonus > 0.0:
                    gain += _alike(known[i], seen[j], alike, weight, bonus, malus)
                if gain > 0.0:
                    chosen, gains = _append(chosen, gains, count, j, gain)
                    count += 1
        starts[i + 1] = count
    return starts, chosen[:count], gains[:count]


@compiled
def returning(
    belief: Floats,
    boxes: Floats,
    rows: Flags,
    columns: Flags,
    noise: float,
    odds: Floats,
    colours: Colours,
) -> Pairs:
    """Pairs that are likelier one person than two.

    The gain is the logarithm of the odds: the density of the predicted place and size at the
    detection, with lengths in heights of the person, and what `odds` adds.
    """
    known, glance, alike, weight, bonus, malus = colours
    open_columns = [j for j in range(len(columns)) if columns[j]]
    starts = np.zeros(len(rows) + 1, np.int64)
    chosen, gains = np.empty(4 * len(rows), np.int64), np.empty(4 * len(rows))
    count = 0
    for i in range(len(rows)):
        if rows[i]:
            for j in open_columns:
                seen = centred(boxes[j])
                height = max(belief[i, POSITION, 3], seen[3])
                gain = odds[i] - 2.0 * np.log(2.0 * np.pi * height)
                for k in range(4):
                    miss = (seen[k] - belief[i, POSITION, k]) / height
                    variance = belief[i, PP, k] / height**2 + noise**2
                    gain -= 0.5 * (miss**2 / variance + np.log(variance))
                if gain + bonus > 0.0:
                    gain += _alike(known[i], glance[j], alike, weight, bonus, malus)
                if gain > 0.0:
                    chosen, gains = _append(chosen, gains, count, j, gain)
                    count += 1
        starts[i + 1] = count
    return starts, chosen[:count], gains[:count]


@compiled
def _alike(
    known: FloatArray, seen: FloatArray, alike: float, weight: float, bonus: float, malus: float
) -> float:
    """What two glances say for one person, from −malus to bonus: nothing where their mean difference is `alike`."""
    if not len(known):
        return 0.0
    difference = 0.0
    for k in range(len(known)):
        difference += abs(known[k] - seen[k])
    return min(max(weight * (alike - difference / len(known)), -malus), bonus)


@compiled
def _first_beyond(boxes: Floats, left: float) -> int:
    """The first of the sorted boxes whose left edge lies right of `left`."""
    low, high = 0, len(boxes)
    while low < high:
        middle = (low + high) // 2
        if boxes[middle, 0] <= left:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _append(
    chosen: IntArray, gains: Floats, count: int, column: int, gain: float
) -> tuple[IntArray, Floats]:
    if count == len(chosen):
        more_chosen, more_gains = np.empty(2 * count, np.int64), np.empty(2 * count)
        for k in range(count):
            more_chosen[k], more_gains[k] = chosen[k], gains[k]
        chosen, gains = more_chosen, more_gains
    chosen[count], gains[count] = column, gain
    return chosen, gains


@compiled
def _settle(found: IntArray, rows: Flags, columns: Flags, partner: IntArray) -> None:
    for i in range(len(found)):
        if found[i] >= 0:
            partner[i] = found[i]
            rows[i], columns[found[i]] = False, False
