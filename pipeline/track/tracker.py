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

import math
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.frames import Detections, FloatArray, IntArray, Tracks
from pipeline.track.association import Flags, match_overlapping, match_returning
from pipeline.track.motion import Motion, begin, predict, update

Floats: TypeAlias = NDArray[np.float64]

RETURNS = 0.5
"""How many of those who are lost are seen again at all."""
SHAPES = 2.8
"""Density of newcomers over width and height, in heights: widths spread by 0.1, heights by 1."""
ARRIVALS = 1.0
"""New people per second until the tracker knows better…"""
ARRIVALS_MEMORY = 30.0
"""…which takes it about so many seconds. Less than one in this time is never assumed."""


_INSTANT = 1e-9
"""Seconds that are none at all."""
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


class _Rows(NamedTuple):
    """What is known of N tracks."""

    ids: IntArray
    looks: IntArray
    """How often each was seen; once: he may be nobody."""
    seen: Floats
    """When last."""
    born: Floats
    beliefs: Floats
    """(N, 5, 4) as of his last look."""
    colours: FloatArray
    """(N, K), K = 0 where detections have none."""
    stays: Floats
    """(N, 6): where he has stayed, x and y, since when, his mean score, and where he is of late, x and y."""

    def of(self, some: IntArray) -> "_Rows":
        return _Rows._make(column[some] for column in self)

    def and_then(self, others: "_Rows") -> "_Rows":
        return _Rows._make(np.concatenate([self[n], others[n]]) for n in range(len(self)))


class _Found(NamedTuple):
    """M detections, sorted by their left edges."""

    boxes: Floats
    scores: Floats
    colours: FloatArray

    def of(self, some: IntArray) -> "_Found":
        return _Found._make(column[some] for column in self)


class _How(NamedTuple):
    """`TrackerSettings`, for compiled code, which would be compiled anew for whole numbers."""

    sure: float
    doubtful: float
    overlap: float
    overlap_left: float
    just_now: float
    recent: float
    absence: float
    speeds: Floats
    memory: float
    noise: float
    alike: float
    weight: float
    bonus: float
    malus: float
    nats: float
    nats_limit: float
    fading: float
    """As `colours.memory`."""

    @classmethod
    def of(cls, settings: TrackerSettings) -> "_How":
        motion, colours = settings.motion, settings.colours
        return cls(
            sure=float(settings.sure),
            doubtful=float(settings.doubtful),
            overlap=float(settings.overlap),
            overlap_left=float(settings.overlap_left),
            just_now=float(settings.just_now),
            recent=float(settings.recent),
            absence=float(settings.absence),
            speeds=np.array(motion.speeds, np.float64),
            memory=float(motion.memory),
            noise=float(motion.noise),
            alike=float(colours.alike),
            weight=float(colours.weight),
            bonus=float(colours.bonus),
            malus=float(colours.malus),
            nats=float(colours.nats),
            nats_limit=float(colours.nats_limit),
            fading=float(colours.memory),
        )


class Tracker:
    """Follows people within one camera. Ids count from 1 and are never used again.

    `size` is the picture's width and height: a box is unlikelier to be a newcomer in a wider view.
    """

    def __init__(self, size: tuple[int, int], settings: TrackerSettings | None = None) -> None:
        self._settings = settings or TrackerSettings()
        self._how = _How.of(self._settings)
        self._area = float(size[0] * size[1])
        nothing = _Found(np.empty((0, 4)), np.empty(0), np.empty((0, 0), np.float32))
        self._next_id = 1
        self._rows = self._newborn(nothing, 0.0)
        self._time: float | None = None
        self._elapsed = 0.0
        """Since the frame before: whom that one showed is always recent, however slow the camera."""
        self._arrivals = ARRIVALS

    def update(self, detections: Detections, time: float) -> Tracks:
        """The people in sight, after one frame's detections; their boxes are the detections'."""
        time = float(time)
        self._pass_time(time)
        order, found = self._sound(detections)
        partner = follow(self._rows, found, self._how, time, self._elapsed, self._new())
        founding = found.scores >= self._settings.sure
        founding[partner[partner >= 0]] = False
        if founding.any():
            founders = np.flatnonzero(founding)
            self._found(found.of(founders), time)
            partner = np.concatenate([partner, founders])
        rows = self._rows
        there = (partner >= 0) & (rows.looks > 1)
        shown = np.flatnonzero(there & ~self._furniture(time))
        chosen = order[partner[shown]]
        spare = found.scores >= self._settings.doubtful
        spare[partner[there]] = False
        if len(rows.ids) > self._settings.most:
            latest = np.argsort(-rows.seen, kind="stable")[: self._settings.most]
            self._rows = rows.of(np.sort(latest))
        return Tracks(
            ids=rows.ids[shown],
            boxes=detections.boxes[chosen],
            scores=detections.scores[chosen],
            ages=(time - rows.born[shown]).astype(np.float32),
            spare=detections[order[spare]],
        )

    def renew(self, track: int) -> int | None:
        """If this track goes on, then from now on under another id, the answer: it shows somebody else."""
        row = np.flatnonzero(self._rows.ids == track)
        if not len(row):
            return None
        self._rows.ids[row], self._rows.born[row] = self._next_id, self._time
        self._next_id += 1
        return self._next_id - 1

    def __len__(self) -> int:
        """Tracks that are kept, in sight or lost."""
        return len(self._rows.ids)

    def _pass_time(self, time: float) -> None:
        """Forget whom there is no hope for. A clock that jumps back is taken to stand still."""
        settings, rows = self._settings, self._rows
        elapsed = 0.0 if self._time is None else time - self._time
        self._time, self._elapsed = time, max(elapsed, 0.0)
        if elapsed < 0:
            rows.seen[:] += elapsed
            rows.born[:] += elapsed
            rows.stays[:, 2] += elapsed
        self._arrivals *= math.exp(-self._elapsed / ARRIVALS_MEMORY)
        recent = max(settings.recent, self._elapsed)
        pause = min(self._elapsed, settings.pause)
        patience = np.where(rows.looks > 1, max(settings.patience, pause), recent)
        kept = time - rows.seen <= patience
        if not kept.all():
            self._rows = rows.of(np.flatnonzero(kept))

    def _furniture(self, time: float) -> Flags:
        settings, stays = self._settings, self._rows.stays
        furniture: Flags = time - stays[:, 2] > settings.furniture
        if furniture.any():
            furniture &= stays[:, 3] <= settings.distrusted * settings.sure
        return furniture

    def _sound(self, detections: Detections) -> tuple[IntArray, _Found]:
        """Boxes that are boxes, no more than `most` of the surest; and where among the detections they are."""
        boxes = np.array(detections.boxes, np.float64, order="C")
        scores = np.array(detections.scores, np.float64)
        sound = np.flatnonzero(are_boxes(boxes, scores))
        if len(sound) > self._settings.most:
            sound = sound[np.argsort(-scores[sound], kind="stable")[: self._settings.most]]
        order = sound[np.argsort(boxes[sound, 0], kind="stable")]
        return order, _Found(boxes[order], scores[order], self._glances(detections, order))

    def _glances(self, detections: Detections, order: IntArray) -> FloatArray:
        """Colours of the detections; of no use, and none, where those of the tracks are not their like."""
        colours, known = detections.colours, self._rows.colours
        width = 0 if colours is None else colours.shape[1]
        if len(known) and width != known.shape[1]:
            width = 0
        if width != known.shape[1]:
            self._rows = self._rows._replace(colours=np.empty((len(known), width), np.float32))
        if colours is None or not width:
            return np.empty((len(order), 0), np.float32)
        return colours[order]

    def _new(self) -> float:
        """Density of newcomers anywhere in view and of any size, as a logarithm."""
        arrivals = max(self._arrivals, 1 / ARRIVALS_MEMORY)
        return math.log(arrivals * SHAPES / self._area)

    def _found(self, founders: _Found, time: float) -> None:
        if len(self):  # those who are there at the start did not arrive
            self._arrivals += len(founders.boxes) / ARRIVALS_MEMORY
        self._rows = self._rows.and_then(self._newborn(founders, time))
        self._next_id += len(founders.boxes)

    def _newborn(self, founders: _Found, time: float) -> _Rows:
        boxes, scores, colours = founders
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        since = np.full(len(boxes), time)
        return _Rows(
            ids=self._next_id + np.arange(len(boxes)),
            looks=np.where(scores >= self._settings.beyond_doubt, 2, 1),
            seen=since.copy(),
            born=since.copy(),
            beliefs=begin(boxes, scores, self._how.speeds, self._how.noise),
            colours=colours,
            stays=np.column_stack([centres, since, scores, centres]),
        )


@compiled
def follow(
    rows: _Rows, found: _Found, how: _How, time: float, elapsed: float, new: float
) -> IntArray:
    """(N,) the detection of each track, -1 where there is none; `rows` learn what it shows.

    `elapsed`: since the frame before; `new`: density of newcomers, as a logarithm.
    """
    tracks, boxes, scores = len(rows.seen), found.boxes, found.scores
    partner = np.full(tracks, -1, np.int64)
    if not tracks or not len(boxes):
        return partner
    sure, doubtful = np.empty(len(boxes), np.bool_), np.empty(len(boxes), np.bool_)
    for j in range(len(boxes)):
        sure[j] = scores[j] >= how.sure
        doubtful[j] = how.doubtful <= scores[j] < how.sure
    unseen, odds = np.empty(tracks), np.empty(tracks)
    lost, tentative = np.empty(tracks, np.bool_), np.empty(tracks, np.bool_)
    for i in range(tracks):
        unseen[i] = time - rows.seen[i]
        # A lost track that returns now, against newcomers.
        absence = max(how.absence, _INSTANT)
        odds[i] = np.log(RETURNS / absence) - unseen[i] / absence - new
        tentative[i] = rows.looks[i] <= 1
        lost[i] = not tentative[i] and unseen[i] <= max(how.recent, elapsed)
    beliefs = predict(rows.beliefs, unseen, how.speeds, how.memory)
    colours = rows.colours, found.colours, how.alike, how.weight, how.bonus, how.malus
    match_overlapping(beliefs, boxes, lost, sure, how.overlap, colours, partner)
    match_overlapping(beliefs, boxes, lost, doubtful, how.overlap, colours, partner)
    match_overlapping(beliefs, boxes, tentative, sure, how.overlap, colours, partner)
    anybody = False
    for i in range(tracks):
        lost[i] = rows.looks[i] > 1 and partner[i] < 0
        anybody |= lost[i]
    if anybody:
        nats = rows.colours, found.colours, how.alike, how.nats, how.nats_limit, how.nats_limit
        match_returning(beliefs, boxes, lost, sure, how.noise, odds, nats, partner)
        for i in range(tracks):
            lost[i] &= unseen[i] <= max(how.just_now, elapsed)
        match_overlapping(beliefs, boxes, lost, sure, how.overlap_left, colours, partner)
    update(rows.beliefs, beliefs, boxes, scores, partner, how.noise)
    for i in range(tracks):
        if partner[i] >= 0:
            since = max(time - rows.seen[i], 0.0)
            _remember(rows.colours[i], found.colours[partner[i]], since / max(how.fading, _INSTANT))
            _stay(rows.stays[i], boxes[partner[i]], scores[partner[i]], since, time)
            rows.seen[i] = time
            rows.looks[i] += 1
    return partner


@compiled
def _remember(known: FloatArray, colours: FloatArray, since: float) -> None:
    """Let a track's colours follow a change."""
    fresh = 1.0 - np.exp(-since)
    for k in range(len(known)):
        known[k] += (colours[k] - known[k]) * fresh


@compiled
def _stay(stays: Floats, box: Floats, score: float, since: float, time: float) -> None:
    """Note whether a track stays where it is, and how sure the detector is of it."""
    x, y, height = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[3] - box[1]
    fresh = 1.0 - np.exp(-since / _STEADY)
    stays[4] += fresh * (x - stays[4])
    stays[5] += fresh * (y - stays[5])
    if np.hypot(stays[4] - stays[0], stays[5] - stays[1]) > _STAYS * height:
        stays[0], stays[1], stays[2] = stays[4], stays[5], time
    stays[3] += (1.0 - np.exp(-since / _TRUST)) * (score - stays[3])


@compiled
def are_boxes(boxes: Floats, scores: Floats) -> Flags:
    """(N,) which of these have a size, and a score."""
    sound = np.empty(len(boxes), np.bool_)
    for i in range(len(boxes)):
        left, top, right, bottom = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        finite = np.isfinite(left + top + right + bottom)
        sound[i] = finite and right > left and bottom > top and scores[i] >= 0.0
    return sound


def warm_up() -> None:
    """Compile, or load what was compiled before: seconds that the first frames need not wait for."""
    tracker = Tracker((100, 100))
    boxes, scores = np.array([[0, 0, 9, 20]], np.float32), np.ones(1, np.float32)
    for step in range(3):  # found, follow, and weigh a return
        tracker.update(Detections(boxes + 30 * (step // 2), scores), step / 10)
