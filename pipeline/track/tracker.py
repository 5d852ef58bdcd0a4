"""The per-camera tracker: detections and a time in, people with lasting local ids out.

Sure detections go to the tracks that they lie on, doubtful ones to tracks that found none. What is
left is weighed: is this somebody new, or a lost track that has moved on? Both are likelihoods. New
people arrive at a rate that the tracker measures itself, anywhere in the picture; a lost track
returns near where it was heading, less and less surely as time goes by. Whichever is likelier
wins, so that there is no distance to tune, and a busy entrance is judged more strictly than an
empty hall. Where detections bring colours, these speak in every round: who is hidden must not take
over the box of the one in front. Whoever stays in one place while the detector is anything but sure of him is a
planter or a coat, and is followed without being shown.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.frames import Detections, FloatArray, IntArray, Tracks
from pipeline.track.association import match_overlapping, match_returning
from pipeline.track.motion import Motion, begin, predict, update

Floats: TypeAlias = NDArray[np.float64]

_ROW = np.dtype([("id", np.int64), ("looks", np.int64), ("seen", np.float64), ("born", np.float64)])

RETURNS = 0.5
"""How many of those who are lost are seen again at all."""
SHAPES = 2.8
"""Density of newcomers over width and height, in heights: widths spread by 0.1, heights by 1."""
ARRIVALS = 1.0
"""New people per second until the tracker knows better…"""
ARRIVALS_MEMORY = 30.0
"""…which takes it about so many seconds. Less than one in this time is never assumed."""


_STAYS = 0.15
"""Heights that somebody's centre may move while he stays in one place."""
_TRUST = 3.0
"""Seconds over which scores are averaged…"""
_STEADY = 0.3
"""…and places: one box that strays is no step."""


@dataclass(frozen=True, slots=True)
class ColourSettings:
    """What colours say of a track and a detection, where detections have any."""

    alike: float = 0.075
    """Mean difference that speaks neither for one person nor for two."""
    weight: float = 4.0
    """What a unit less of it adds to the similarity of a pair…"""
    bonus: float = 0.2
    """…at most: colours do not bring together what lies apart…"""
    malus: float = 0.5
    """…and what a unit more takes off, at most."""
    nats: float = 60.0
    """The same for the odds of a return, as a logarithm…"""
    nats_limit: float = 5.0
    """…either way."""
    memory: float = 3.0
    """Seconds in which a track's colours follow a change: longer than somebody crosses before it."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """Times in seconds."""

    sure: float = 0.5
    """A detection with this score may found a track."""
    doubtful: float = 0.1
    """A detection with this score may continue one."""
    beyond_doubt: float = 0.7
    """A detection with this score founds a track that needs no second look before it is shown."""
    overlap: float = 0.4
    """Least similarity (see `overlapping`) of a detection and a track's predicted box."""
    overlap_left: float = 0.3
    """The same in the last round, between sure detections that would otherwise be newcomers and
    tracks seen `just_now`: nobody vanishes in an instant while another appears in his place."""
    just_now: float = 0.3
    recent: float = 0.7
    """Tracks seen within this time are matched by overlap; others only by weighing the odds."""
    furniture: float = 4.0
    """Who stays in one place for longer, and has no more than…"""
    distrusted: float = 0.85
    """…this share of `sure` as his mean score, is not shown until he moves, or the detector is surer of him."""
    absence: float = 3.0
    """How long people who return were out of sight, on average."""
    patience: float = 10.0
    """A track unseen for this long is over."""
    pause: float = 10.0
    """…but whom the last frame showed is still followed when the camera gave none for up to so long."""
    colours: ColourSettings = field(default_factory=ColourSettings)
    most: int = 1000
    """Tracks that are kept, and detections that are taken, at most."""
    motion: Motion = field(default_factory=Motion)


class Tracker:
    """Follows people within one camera. Ids count from 1 and are never used again.

    `size` is the picture's width and height: a box is unlikelier to be a newcomer in a wider view.
    """

    def __init__(self, size: tuple[int, int], settings: TrackerSettings | None = None) -> None:
        self._settings = settings or TrackerSettings()
        self._area = float(size[0] * size[1])
        self._speeds = np.array(self._settings.motion.speeds)
        self._rows = np.empty(0, _ROW)
        self._beliefs = np.empty((0, 5, 4))
        """As of each row's last look."""
        self._colours = np.empty((0, 0), np.float32)
        self._stays = np.empty((0, 6))
        """Where each row has stayed, x and y, since when, its mean score, and where it is of late, x and y."""
        self._next_id = 1
        self._time: float | None = None
        self._elapsed = 0.0
        """Since the frame before: whom that one showed is always recent, however slow the camera."""
        self._arrivals = ARRIVALS

    def update(self, detections: Detections, time: float) -> Tracks:
        """The people in sight, after one frame's detections; their boxes are the detections'."""
        self._pass_time(time)
        order = _sound(detections, self._settings.most)
        boxes = detections.boxes[order].astype(np.float64)
        scores = detections.scores[order].astype(np.float64)
        colours = self._glances(detections, order)
        partner = self._match(boxes, scores, colours, time)
        matched = np.flatnonzero(partner >= 0)
        if len(matched):
            self._remember(matched, colours[partner[matched]], time)
            # In one piece, or a single track's and several tracks' would each be compiled for.
            seen = np.ascontiguousarray(self._rows["seen"])
            stay(self._stays, partner, boxes, scores, seen, time)
            self._rows["seen"][matched] = time
            self._rows["looks"][matched] += 1
        founders = np.ones(len(boxes), bool)
        founders[partner[matched]] = False
        founding = np.flatnonzero(founders & (scores >= self._settings.sure))
        if len(founding):
            self._found(boxes[founding], scores[founding], colours[founding], time)
            partner = np.concatenate([partner, founding])
        there = (partner >= 0) & (self._rows["looks"] > 1)
        shown = np.flatnonzero(there & ~self._furniture(time))
        rows, chosen = self._rows[shown], order[partner[shown]]
        spare = scores >= self._settings.doubtful
        spare[partner[there]] = False
        if len(self._rows) > self._settings.most:
            latest = np.argsort(-self._rows["seen"], kind="stable")[: self._settings.most]
            self._keep(np.sort(latest))
        return Tracks(
            ids=rows["id"].copy(),
            boxes=detections.boxes[chosen],
            scores=detections.scores[chosen],
            ages=(time - rows["born"]).astype(np.float32),
            spare=detections[order[spare]],
        )

    def renew(self, track: int) -> int | None:
        """If this track goes on, then from now on under another id, the answer: it shows somebody else."""
        row = np.flatnonzero(self._rows["id"] == track)
        if not len(row):
            return None
        self._rows["id"][row], self._rows["born"][row] = self._next_id, self._time
        self._next_id += 1
        return self._next_id - 1

    def __len__(self) -> int:
        """Tracks that are kept, in sight or lost."""
        return len(self._rows)

    def _pass_time(self, time: float) -> None:
        """Forget whom there is no hope for. A clock that jumps back is taken to stand still."""
        settings, rows = self._settings, self._rows
        elapsed = 0.0 if self._time is None else time - self._time
        self._time, self._elapsed = time, max(elapsed, 0.0)
        if elapsed < 0:
            rows["seen"] += elapsed
            rows["born"] += elapsed
            self._stays[:, 2] += elapsed
        self._arrivals *= np.exp(-self._elapsed / ARRIVALS_MEMORY)
        recent = max(settings.recent, self._elapsed)
        pause = min(self._elapsed, settings.pause)
        patience = np.where(rows["looks"] > 1, max(settings.patience, pause), recent)
        kept = time - rows["seen"] <= patience
        if not kept.all():
            self._keep(np.flatnonzero(kept))

    def _keep(self, kept: IntArray) -> None:
        self._rows, self._beliefs = self._rows[kept], self._beliefs[kept]
        self._colours, self._stays = self._colours[kept], self._stays[kept]

    def _furniture(self, time: float) -> NDArray[np.bool_]:
        settings = self._settings
        stays = time - self._stays[:, 2] > settings.furniture
        distrusted = self._stays[:, 3] <= settings.distrusted * settings.sure
        furniture: NDArray[np.bool_] = stays & distrusted
        return furniture

    def _glances(self, detections: Detections, order: IntArray) -> FloatArray:
        """Colours of the detections; of no use, and none, where those of the tracks are not their like."""
        colours = detections.colours
        width = 0 if colours is None else colours.shape[1]
        if len(self._rows) and width != self._colours.shape[1]:
            width = 0
        if width != self._colours.shape[1]:
            self._colours = np.empty((len(self._rows), width), np.float32)
        return (
            np.empty((len(order), 0), np.float32)
            if colours is None or not width
            else colours[order]
        )

    def _remember(self, rows: IntArray, colours: FloatArray, time: float) -> None:
        since = time - self._rows["seen"][rows]
        fresh = -np.expm1(-np.maximum(since, 0) / self._settings.colours.memory)
        known = self._colours[rows]
        self._colours[rows] = known + (colours - known) * fresh[:, None].astype(np.float32)

    def _match(
        self,
        boxes: Floats,
        scores: Floats,
        glances: FloatArray,
        time: float,
    ) -> IntArray:
        """(N,) the detection of each track, -1 where there is none; their beliefs are updated."""
        settings, motion, rows = self._settings, self._settings.motion, self._rows
        partner = np.full(len(rows), -1)
        if not len(rows) or not len(boxes):
            return partner
        unseen = time - rows["seen"]
        beliefs = predict(self._beliefs, unseen, self._speeds, motion.memory)
        recent, known = unseen <= max(settings.recent, self._elapsed), rows["looks"] > 1
        sure = scores >= settings.sure
        doubtful = (scores >= settings.doubtful) & ~sure
        lost = recent & known
        how, seen = settings.colours, (self._colours, glances)
        colours = *seen, how.alike, how.weight, how.bonus, how.malus
        match_overlapping(beliefs, boxes, lost, sure, settings.overlap, colours, partner)
        match_overlapping(beliefs, boxes, lost, doubtful, settings.overlap, colours, partner)
        tentative = ~known
        match_overlapping(beliefs, boxes, tentative, sure, settings.overlap, colours, partner)
        lost = known & (partner < 0)
        if lost.any() and sure.any():
            odds = self._odds(unseen, len(boxes))
            nats = *seen, how.alike, how.nats, how.nats_limit, how.nats_limit
            match_returning(beliefs, boxes, lost, sure, motion.noise, odds, nats, partner)
            lost &= unseen <= max(settings.just_now, self._elapsed)
            match_overlapping(beliefs, boxes, lost, sure, settings.overlap_left, colours, partner)
        matched = np.flatnonzero(partner >= 0)
        chosen = partner[matched]
        self._beliefs[matched] = update(
            beliefs[matched], boxes[chosen], scores[chosen], motion.noise
        )
        return partner

    def _odds(self, unseen: Floats, count: int) -> Floats:
        """(N, M): lost tracks returning now, against newcomers anywhere in view, as a logarithm."""
        settings = self._settings
        returning = np.log(RETURNS / settings.absence) - unseen / settings.absence
        arrivals = max(self._arrivals, 1 / ARRIVALS_MEMORY)
        new = np.log(arrivals * SHAPES / self._area)
        return np.repeat((returning - new)[:, None], count, axis=1)

    def _found(self, boxes: Floats, scores: Floats, colours: FloatArray, time: float) -> None:
        settings = self._settings
        if len(self._rows):  # those who are there at the start did not arrive
            self._arrivals += len(boxes) / ARRIVALS_MEMORY
        born = np.zeros(len(boxes), _ROW)
        born["id"] = self._next_id + np.arange(len(boxes))
        born["looks"] = np.where(scores >= settings.beyond_doubt, 2, 1)
        born["seen"] = born["born"] = time
        self._next_id += len(boxes)
        self._rows = np.concatenate([self._rows, born])
        self._colours = np.concatenate([self._colours, colours])
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        since = np.full(len(boxes), time)
        stays = np.column_stack([centres, since, scores, centres])
        self._stays = np.concatenate([self._stays, stays])
        self._beliefs = np.concatenate(
            [self._beliefs, begin(boxes, scores, self._speeds, settings.motion.noise)]
        )


@compiled
def stay(
    stays: Floats, partner: IntArray, boxes: Floats, scores: Floats, seen: Floats, time: float
) -> None:
    """Note of each track (N, 6) whose detection is `partner` (N,) whether it stays, and how sure the detector is."""
    for i in range(len(partner)):
        j = partner[i]
        if j < 0:
            continue
        x, y = (boxes[j, 0] + boxes[j, 2]) / 2, (boxes[j, 1] + boxes[j, 3]) / 2
        height = boxes[j, 3] - boxes[j, 1]
        since = max(time - seen[i], 0.0)
        fresh = 1.0 - np.exp(-since / _STEADY)
        stays[i, 4] += fresh * (x - stays[i, 4])
        stays[i, 5] += fresh * (y - stays[i, 5])
        if np.hypot(stays[i, 4] - stays[i, 0], stays[i, 5] - stays[i, 1]) > _STAYS * height:
            stays[i, 0], stays[i, 1], stays[i, 2] = stays[i, 4], stays[i, 5], time
        fresh = 1.0 - np.exp(-since / _TRUST)
        stays[i, 3] += fresh * (scores[j] - stays[i, 3])


def warm_up() -> None:
    """Compile, or load what was compiled before: seconds that the first frames need not wait for."""
    tracker = Tracker((100, 100))
    boxes, scores = np.array([[0, 0, 9, 20]], np.float32), np.ones(1, np.float32)
    for step in range(3):  # found, follow, and weigh a return
        tracker.update(Detections(boxes + 30 * (step // 2), scores), step / 10)


def _sound(detections: Detections, most: int) -> IntArray:
    """Places of boxes that are boxes, no more than `most` of the surest, sorted by left edge."""
    boxes, scores = detections.boxes, detections.scores
    sound = np.flatnonzero(
        (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & np.isfinite(boxes).all(axis=1) & (scores >= 0)
    )
    if len(sound) > most:
        sound = sound[np.argsort(-scores[sound], kind="stable")[:most]]
    return sound[np.argsort(boxes[sound, 0], kind="stable")]
