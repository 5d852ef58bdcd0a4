"""Identities, tick by tick: what the live loop calls."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import IdentifyError
from pipeline.frames import EventKind, FloatArray, IdentityEvent, IntArray, TrackletUpdate
from pipeline.identify.gallery import Gallery
from pipeline.identify.matcher import Rules, settle, weigh
from pipeline.identify.prior import Prior, Site
from pipeline.identify.similarity import Mapping
from pipeline.identify.store import GalleryStore


@dataclass(frozen=True, slots=True)
class IdentifySettings:
    """How identities are judged and how long they are kept."""

    mapping: Mapping = field(default_factory=Mapping)
    site: Site = field(default_factory=Site)
    settled_frames: int = 4
    """Frames after which a tracklet is judged first; then at every doubling, and when it ends."""
    settled_confidence: float = 0.9
    """…or when its embedding carries this much confidence."""
    founding_frames: int = 2
    """A tracklet that ended with fewer frames may join somebody, but founds nobody."""
    known: float = 0.5
    """Chance that a tracklet is of somebody known, before anything is known of it."""
    hysteresis: float = 2.0
    """Nats by which a correction must be better than what was said before."""
    merge: float = 4.0
    """Nats, on average over their tracklets, above which two identities are one."""
    rows_per_identity: int = 12
    rows: int = 50_000
    """Tracklets kept in all; beyond, the oldest go first."""
    retention: float = 24 * 3600.0
    """Seconds after which a tracklet is forgotten."""

    def __post_init__(self) -> None:
        if not (0 < self.known < 1):
            raise IdentifyError(f"known is a chance between 0 and 1, not {self.known}")
        if not (self.settled_frames >= 1 and self.rows_per_identity >= 2 and self.retention > 0):
            raise IdentifyError(
                "identities need settled_frames ≥ 1, rows_per_identity ≥ 2 and a retention above 0 s"
            )
        if self.rows < self.rows_per_identity:
            raise IdentifyError(f"{self.rows} rows hold not even one identity")


@dataclass(frozen=True, slots=True)
class Match:
    """An identity that resembles an embedding."""

    identity: int
    score: float
    """Log-likelihood ratio by appearance."""
    similarity: float
    """The cosine behind it."""


@dataclass(frozen=True, slots=True)
class Person:
    """One identity, as the gallery has it."""

    identity: int
    first_seen: float
    last_seen: float
    cameras: tuple[str, ...]
    tracklets: int
    """Tracklets kept of it, which is at most the settings' `rows_per_identity` once they ended."""
    live: bool


@dataclass(slots=True)
class IdentifyCounts:
    """What has happened so far."""

    founded: int = 0
    joined: int = 0
    corrected: int = 0
    judged: int = 0
    refused: int = 0
    """Updates that carried no usable embedding."""
    unsaved: int = 0
    """Writes that the store could not make."""


class Identifier:
    """Holds the gallery. One owner thread; the store does its writing on its own."""

    def __init__(self, settings: IdentifySettings, store: GalleryStore | None = None) -> None:
        self.settings = settings
        self.counts = IdentifyCounts()
        self._store = store
        self._prior = Prior(settings.site)
        self._gallery: Gallery | None = None
        self._next_identity = 1
        self._swept = -math.inf
        if store is not None:
            self._next_identity = store.next_identity
            if store.size is not None:
                self._gallery = Gallery(store.size)
                self._gallery.restore(*store.load())

    def update(
        self, updates: Sequence[TrackletUpdate], ended: Sequence[tuple[str, int]], now: float
    ) -> list[IdentityEvent]:
        """One tick: new evidence and ended tracklets in, what became known out. Order does not matter."""
        gallery = self._gallery_for(updates)
        if gallery is None:
            return []
        for identity in self._store.forgotten() if self._store else ():
            gallery.remove(gallery.members([identity]))
        written = gallery.write(updates)
        past = gallery.end(ended)
        due, unseated = self._due(gallery, written, past)
        changed, events = self._judge(gallery, due, unseated, now) if len(due) else (due, [])
        events += _departures(gallery, past)
        self._save(gallery, np.unique(np.concatenate([written, past, changed])))
        self._tidy(gallery, past, changed, now)
        self.counts.refused = gallery.refused
        return events

    def identity_of(self, camera: str, local_id: int) -> int | None:
        """The identity of a tracklet of this run; None while tentative, or once it was forgotten."""
        row = self._gallery.row(camera, local_id) if self._gallery else None
        if row is None or self._gallery is None:
            return None
        return int(self._gallery.table["identity"][row]) or None

    def find(self, embedding: FloatArray, k: int = 5) -> list[Match]:
        """The `k` identities that resemble an embedding (E,) most, best first."""
        gallery = self._gallery
        if gallery is None or not len(gallery.groups.numbers):
            return []
        look = np.asarray(embedding, np.float32).reshape(-1)
        norm = float(np.linalg.norm(look))
        if len(look) != gallery.size or not math.isfinite(norm) or norm == 0:
            raise IdentifyError(
                f"to be found, an embedding must be {gallery.size} finite values, not all zero"
            )
        cosines = (look / norm)[None] @ gallery.looks.T
        groups, mapping = gallery.groups, self.settings.mapping
        similarity = groups.maxima(cosines)[0]
        score = groups.maxima(mapping(cosines, np.ones(1, np.int64), gallery.table["frames"]))[0]
        best = np.lexsort((groups.numbers, -similarity, -score))[:k]
        return [
            Match(int(groups.numbers[i]), float(score[i]), float(similarity[i])) for i in best
        ]

    def list(self) -> "list[Person]":
        """Everybody known, in the order of their numbers."""
        gallery = self._gallery
        if gallery is None:
            return []
        ends = np.append(gallery.groups.starts, len(gallery.groups.order))
        people = []
        for number, start, end in zip(gallery.groups.numbers, ends, ends[1:], strict=False):
            some = gallery.table[gallery.groups.order[start:end]]
            cameras = tuple(sorted(gallery.cameras[i] for i in np.unique(some["camera"])))
            span = float(some["since"].min()), float(some["last"].max())
            live = bool(some["live"].any())
            people.append(Person(int(number), *span, cameras, len(some), live))
        return people

    def forget(self, identity: int) -> bool:
        """Erase an identity, here and in the store. Somebody still in view becomes somebody new."""
        rows = np.zeros(0, np.int64)
        if self._gallery is not None:
            rows = self._gallery.members([identity])
            self._gallery.remove(rows)
        stored = self._store.forget(identity) if self._store else False
        return stored or len(rows) > 0

    def close(self) -> None:
        """Write what is not yet written. The store stays open: it belongs to whoever opened it."""
        if self._store:
            self._store.flush()

    def _gallery_for(self, updates: Sequence[TrackletUpdate]) -> Gallery | None:
        if self._gallery is None and updates:
            size = updates[0].embedding.size
            self._gallery = Gallery(size)
            if self._store:
                self._store.adopt(size)
        return self._gallery

    def _due(
        self, gallery: Gallery, written: IntArray, past: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Rows to judge now, and those among them that may not keep the identity they have."""
        some = gallery.table[written]
        ripe = np.maximum(self.settings.settled_frames, 2 * some["judged"])
        due = some["frames"] >= ripe
        due |= (some["judged"] == 0) & (some["confidence"] >= self.settings.settled_confidence)
        last_word = past[gallery.table["frames"][past] > gallery.table["judged"][past]]
        unseated = self._impossible(gallery, written)
        return np.unique(np.concatenate([written[due], last_word, unseated])), unseated

    def _impossible(self, gallery: Gallery, written: IntArray) -> IntArray:
        """Rows that new evidence shows to break a hard rule: of two in one identity, the later one."""
        table, groups = gallery.table, gallery.groups
        grown = written[table["identity"][written] > 0]
        rows = groups.rows(np.isin(groups.numbers, table["identity"][grown]))
        oldest = np.full(len(gallery), np.inf)
        oldest[rows] = np.inf
        identity, last = table["identity"][rows], table["last"][rows]
        starts = np.flatnonzero(np.diff(identity, prepend=0))
        sizes = np.diff(starts, append=len(rows))
        # Only who was seen after somebody else of the same identity began can be in two places.
        begun = np.repeat(np.minimum.reduceat(table["first"][rows], starts), sizes) if len(rows) else last
        rows = rows[(np.repeat(sizes, sizes) > 1) & (last > begun)]
        grown = np.intersect1d(grown, rows)
        if not len(grown):
            return grown
        self._prior.know(gallery.cameras)
        where = self._prior.weigh(gallery.presence(grown), gallery.presence(rows))
        clash = where.forbidden & (table["identity"][grown][:, None] == table["identity"][rows])
        clash &= grown[:, None] != rows
        one, other = np.nonzero(clash)
        one, other = grown[one], rows[other]
        began, serial = table["first"], table["serial"]
        later = (began[one] > began[other]) | (
            (began[one] == began[other]) & (serial[one] > serial[other])
        )
        return np.unique(np.where(later, one, other))

    def _judge(
        self, gallery: Gallery, due: IntArray, unseated: IntArray, now: float
    ) -> tuple[IntArray, list[IdentityEvent]]:
        """Give the rows in `due` their identities; returns the rows that changed, and the events."""
        table, settings = gallery.table, self.settings
        before = table["identity"].copy()
        gallery.assign(unseated, np.zeros(len(unseated), np.int64))
        rules = Rules(self._newcomer(gallery), settings.hysteresis)
        evidence = weigh(gallery, due, settings.mapping, self._prior, rules.newcomer)
        may_found = table["live"][due] | (table["frames"][due] >= settings.founding_frames)
        may_found |= before[due] > 0
        rank = np.empty(len(due), np.int64)
        rank[np.lexsort((table["serial"][due], -table["frames"][due]))] = np.arange(len(due))
        identity = table["identity"][evidence.rows]
        first_new = self._next_identity
        score = settle(evidence, identity, may_found, rank, rules, self._number)
        gallery.assign(evidence.rows, identity)
        table["score"][due], table["judged"][due] = score, table["frames"][due]
        self._merge(gallery, due)
        self.counts.judged += len(due)

        changed = np.flatnonzero((table["identity"] != before) & (table["identity"] > 0))
        self._inherit(gallery, changed)
        changed = changed[np.lexsort((table["serial"][changed], -table["frames"][changed]))]
        founded: set[int] = set()
        events = []
        for row in changed:
            number, old = int(table["identity"][row]), int(before[row])
            kind = EventKind.CORRECTED if old else EventKind.JOINED
            if not old and number >= first_new and number not in founded:
                kind = EventKind.FOUNDED
            founded.add(number)
            events.append(_event(gallery, row, kind, now, old or None))
        kinds = [event.kind for event in events]
        self.counts.founded += kinds.count(EventKind.FOUNDED)
        self.counts.joined += kinds.count(EventKind.JOINED)
        self.counts.corrected += kinds.count(EventKind.CORRECTED)
        return changed, events

    def _newcomer(self, gallery: Gallery) -> float:
        """Prior nats of a newcomer against any one of those known."""
        odds = self.settings.known / (1 - self.settings.known)
        return math.log1p(len(gallery.groups.numbers)) - math.log(odds)

    def _merge(self, gallery: Gallery, due: IntArray) -> None:
        """Make one of two identities if a tracklet just judged links them and all the others agree."""
        table = gallery.table
        due = due[table["identity"][due] > 0]
        due = due[gallery_size(gallery, due) > 1]
        if not len(due):
            return
        newcomer = self._newcomer(gallery)
        evidence = weigh(gallery, due, self.settings.mapping, self._prior, newcomer)
        identity = table["identity"][evidence.rows]
        numbers, scores = evidence.toward(np.arange(len(due)), identity)
        scores[numbers == table["identity"][due][:, None]] = -np.inf
        for i in np.flatnonzero(scores.max(axis=1, initial=-np.inf) > newcomer):
            one, other = int(table["identity"][due[i]]), int(numbers[scores[i].argmax()])
            if one != other and self._agree(gallery, one, other):
                rows = gallery.members([one, other])
                gallery.assign(rows, np.full(len(rows), min(one, other)))

    def _agree(self, gallery: Gallery, one: int, other: int) -> bool:
        """Whether two identities look like one and no rule speaks against it."""
        rows, others = gallery.members([one]), gallery.members([other])
        if not (len(rows) and len(others)):
            return False  # one of them was merged a moment ago
        where = self._prior.weigh(gallery.presence(rows), gallery.presence(others))
        frames = gallery.table["frames"]
        cosines = gallery.looks[rows] @ gallery.looks[others].T
        likeness = self.settings.mapping(cosines, frames[rows], frames[others])
        mean = (likeness.max(axis=1).mean() + likeness.max(axis=0).mean()) / 2
        return not where.forbidden.any() and bool(mean > self.settings.merge)

    def _inherit(self, gallery: Gallery, changed: IntArray) -> None:
        """Rows of an identity remember since when it is known, though earlier rows may be gone."""
        since = gallery.table["since"]
        since[changed] = np.minimum(since[changed], gallery.table["first"][changed])
        for number in np.unique(gallery.table["identity"][changed]):
            rows = gallery.members([number])
            since[rows] = since[rows].min()

    def _number(self) -> int:
        number = self._next_identity
        self._next_identity += 1
        if self._store:
            self._store.reserve(self._next_identity)
        return number

    def _save(self, gallery: Gallery, rows: IntArray) -> None:
        if self._store:
            rows = rows[gallery.table["identity"][rows] > 0]
            self._store.put(gallery.table[rows], gallery.looks[rows], gallery.cameras)
            self.counts.unsaved = self._store.failures

    def _tidy(self, gallery: Gallery, past: IntArray, changed: IntArray, now: float) -> None:
        """Keep every table bounded: what ended unidentified, what is superfluous, what is old."""
        table, settings = gallery.table, self.settings
        gone = [past[table["identity"][past] == 0]]
        touched = np.unique(table["identity"][np.concatenate([past, changed])])
        sizes = np.diff(gallery.groups.starts, append=len(gallery.groups.order))
        full = gallery.groups.numbers[sizes > settings.rows_per_identity]
        gone += [
            gallery.surplus(int(number), settings.rows_per_identity)
            for number in np.intersect1d(touched[touched > 0], full)
        ]
        if not self._swept <= now < self._swept + min(60.0, settings.retention / 10):
            self._swept = now
            gone.append(np.flatnonzero(table["last"] < now - settings.retention))
        surplus = len(gallery) - settings.rows
        if surplus > 0:  # an eighth at once, so that this happens rarely
            oldest = np.lexsort((table["last"], table["live"]))
            gone.append(oldest[: surplus + settings.rows // 8])
        rows = np.unique(np.concatenate(gone))
        if len(rows):
            if self._store:
                self._store.delete(table["serial"][rows])
            gallery.remove(rows)


def gallery_size(gallery: Gallery, rows: IntArray) -> IntArray:
    """How many rows the identity of each row has."""
    groups = gallery.groups
    sizes = np.diff(groups.starts, append=len(groups.order))
    where = np.searchsorted(groups.numbers, gallery.table["identity"][rows])
    answer: NDArray[np.int64] = sizes[where]
    return answer


def _event(
    gallery: Gallery, row: int, kind: EventKind, time: float, previous: int | None = None
) -> IdentityEvent:
    entry = gallery.table[row]
    camera = gallery.cameras[entry["camera"]]
    identity, local, score = int(entry["identity"]), int(entry["local_id"]), float(entry["score"])
    return IdentityEvent(kind, identity, camera, local, time, score, previous)


def _departures(gallery: Gallery, past: IntArray) -> list[IdentityEvent]:
    """Identities that left a camera with a tracklet that ended."""
    return [
        _event(gallery, row, EventKind.LEFT, float(gallery.table["last"][row]))
        for row in past
        if gallery.table["identity"][row] > 0
    ]
