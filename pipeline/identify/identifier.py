"""Identities, tick by tick: what the live loop calls."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pipeline.frames import EventKind, FloatArray, IdentityEvent, IntArray, TrackletUpdate
from pipeline.identify.corrections import impossible, merge
from pipeline.identify.exchange import exchange
from pipeline.identify.gallery import Gallery
from pipeline.identify.lookup import Match, Person, find, people
from pipeline.identify.matcher import Rules, settle, weigh
from pipeline.identify.prior import Prior
from pipeline.identify.settings import IdentifySettings
from pipeline.identify.store import GalleryStore

Events: TypeAlias = list[IdentityEvent]

_log = logging.getLogger(__name__)

_SECOND_THOUGHTS, _COMPARISONS = 64, 200_000
"""Tracklets that are judged anew at once, at most, and comparisons that this may take: a few milliseconds."""
_LEAP = 3600.0
"""Seconds between two ticks that no gap in the streams explains."""


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
        self._prior = Prior(settings.site, settings.floor)
        self._gallery: Gallery | None = None
        self._next_identity = 1
        self._now = self._swept = self._thought = -math.inf
        self._turn = 0
        """Whose turn it is to be judged anew."""
        if store is not None:
            self._next_identity = store.next_identity
            store.measured_by(self._prior.rulers)
            if store.size is not None:
                self._gallery = Gallery(store.size)
                self._gallery.restore(*store.load())

    def update(
        self, updates: Sequence[TrackletUpdate], ended: Sequence[tuple[str, int]], now: float
    ) -> Events:
        """One tick: new evidence and ended tracklets in, what became known out. Order does not matter.

        A tracklet in view wants an update every half second or so, with the embedding that it had if
        there is no better one: that nobody is in two places is judged by the times of updates.
        """
        gallery, forgotten = self._gallery_for(updates), self._forget_asked(now)
        if gallery is None:
            return forgotten
        if not math.isfinite(self._now):
            _from_the_future(gallery, now)
        written = gallery.write(updates)
        past = gallery.end(ended)
        due, unseated = self._due(gallery, written, past)
        again = self._again(gallery, now)
        if len(again):
            again = np.setdiff1d(again, due)
        changed, events = self._judge(gallery, due, unseated, again)
        events = forgotten + events + _departures(gallery, past)
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

    def find(self, embedding: FloatArray, k: int = 5) -> Sequence[Match]:
        """The `k` identities that resemble an embedding (E,) most, best first."""
        return find(self._gallery, embedding, k, self.settings.mapping) if self._gallery else []

    def list(self) -> Sequence[Person]:
        """Everybody known, in the order of their numbers."""
        return people(self._gallery) if self._gallery else []

    @property
    def count(self) -> int:
        """How many are known."""
        return len(self._gallery.groups.numbers) if self._gallery else 0

    def forget(self, identity: int) -> bool:
        """Erase an identity, here and in the store. Somebody still in view becomes somebody new."""
        rows = np.zeros(0, np.int64)
        if self._gallery is not None:
            names = self._store.names(identity) if self._store else {identity}
            rows = self._gallery.members(names)
            self._gallery.remove(rows)
        stored = self._store.forget(identity) if self._store else False
        return stored or len(rows) > 0

    def close(self) -> None:
        """Write what is not yet written, and close the store. Safe to call twice."""
        if self._store:
            self._store.close()

    def _gallery_for(self, updates: Sequence[TrackletUpdate]) -> Gallery | None:
        if self._gallery is None and updates:
            size = updates[0].embedding.size
            self._gallery = Gallery(size)
            if self._store:
                self._store.adopt(size)
        return self._gallery

    def _forget_asked(self, now: float) -> Events:
        """Do what another process asked for by way of the store, and tell everybody."""
        asked = self._store.forgotten() if self._store else None
        if not asked or not self._store:
            return []
        if self._gallery is not None:
            rows = self._gallery.members(asked)
            self._store.delete(self._gallery.table["serial"][rows])
            self._gallery.remove(rows)
        return [IdentityEvent(EventKind.FORGOTTEN, n, "", 0, now, 0.0) for n in sorted(asked)]

    def _due(
        self, gallery: Gallery, written: IntArray, past: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Rows to judge now, and those among them that may not keep the identity they have."""
        some = gallery.table[written]
        ripe = np.maximum(self.settings.settled_frames, 2 * some["judged"])
        due = some["frames"] >= ripe
        due |= (some["judged"] == 0) & (some["confidence"] >= self.settings.settled_confidence)
        last_word = past[gallery.table["frames"][past] != gallery.table["judged"][past]]
        unseated = impossible(gallery, written, self._prior)
        return np.unique(np.concatenate([written[due], last_word, unseated])), unseated

    def _again(self, gallery: Gallery, now: float) -> IntArray:
        """Rows to judge once more though nothing new was seen of them: all those of late, as they take turns.

        They may turn out to be somebody else who is known, but not somebody new: with everybody more who is known
        the same evidence is worth less, and that is no reason to doubt what was found out before.
        """
        if self._thought <= now < self._thought + self.settings.again:
            return np.empty(0, np.int64)
        self._thought, table = now, gallery.table
        self._prior.know(gallery.cameras)
        self._prior.measure(table)
        late = (table["identity"] > 0) & (table["last"] > now - self.settings.lately)
        rows = np.flatnonzero(late & (table["judged"] > 0))
        rows = rows[gallery.of_this_run(rows)]
        most = min(_SECOND_THOUGHTS, max(1, _COMPARISONS // max(len(gallery), 1)))
        if len(rows) > most:
            by_age = rows[np.argsort(table["serial"][rows])]
            rows = np.roll(by_age, -(self._turn % len(rows)))[:most]
            self._turn += most
        return rows

    def _judge(
        self, gallery: Gallery, fresh: IntArray, unseated: IntArray, again: IntArray
    ) -> tuple[IntArray, Events]:
        """Give the rows that are due their identities, `fresh` or `again`; returns what changed, and the events."""
        due = np.union1d(fresh, again) if len(again) else fresh
        if not len(due):
            return due, []
        table, settings = gallery.table, self.settings
        before = table["identity"].copy()
        gallery.assign(unseated, np.zeros(len(unseated), np.int64))
        rules = self._rules(gallery)
        evidence = weigh(gallery, due, settings.mapping, self._prior, rules)
        may_found = table["live"][due] | (table["frames"][due] >= settings.founding_frames)
        may_found |= before[due] > 0
        rank = np.empty(len(due), np.int64)
        rank[np.lexsort((table["serial"][due], -table["frames"][due]))] = np.arange(len(due))
        identity = table["identity"][evidence.rows]
        first_new = self._next_identity
        settled = np.isin(due, again)
        score = settle(
            evidence, identity, may_found, rank, settled, rules=rules, next_number=self._number
        )
        exchange(evidence, identity, score, before[due] > 0, rules)
        gallery.assign(evidence.rows, identity)
        table["score"][due], table["judged"][fresh] = score, table["frames"][fresh]
        merge(gallery, evidence, fresh, settings, self._prior)
        self.counts.judged += len(due)

        time = float(table["last"][due].max(initial=self._thought))
        changed = np.flatnonzero((table["identity"] != before) & (table["identity"] > 0))
        self._inherit(gallery, before, changed)
        changed = changed[np.lexsort((table["serial"][changed], -table["frames"][changed]))]
        self._note_merged(gallery, before, changed)
        founded: set[int] = set()
        events = []
        for row in changed[gallery.of_this_run(changed)]:
            number, old = int(table["identity"][row]), int(before[row])
            kind = EventKind.CORRECTED if old else EventKind.JOINED
            if not old and number >= first_new and number not in founded:
                kind = EventKind.FOUNDED
            founded.add(number)
            events.append(_event(gallery, row, kind, time, old or None))
        kinds = [event.kind for event in events]
        self.counts.founded += kinds.count(EventKind.FOUNDED)
        self.counts.joined += kinds.count(EventKind.JOINED)
        self.counts.corrected += kinds.count(EventKind.CORRECTED)
        return changed, events

    def _rules(self, gallery: Gallery) -> Rules:
        groups, last = gallery.groups, gallery.table["last"]
        recent = groups.order[last[groups.order] > last.max() - self.settings.site.window]
        about = len(np.unique(gallery.table["identity"][recent]))
        known = len(groups.numbers)
        odds = self.settings.known / (1 - self.settings.known)
        return Rules(
            newcomer=math.log1p(known) - math.log(odds),
            focus=(1 + known) / (1 + about),
            hysteresis=self.settings.hysteresis,
        )

    def _inherit(self, gallery: Gallery, before: IntArray, changed: IntArray) -> None:
        """Rows of an identity remember since when it is known, though earlier rows may be gone."""
        since = gallery.table["since"]
        left = changed[np.isin(before[changed], gallery.groups.numbers)]
        since[left] = gallery.table["first"][left]  # what they remember is of somebody else
        since[changed] = np.minimum(since[changed], gallery.table["first"][changed])
        for number in np.unique(gallery.table["identity"][changed]):
            rows = gallery.members([number])
            since[rows] = since[rows].min()

    def _note_merged(self, gallery: Gallery, before: IntArray, changed: IntArray) -> None:
        """Numbers that nobody bears any more, and who they turned out to be: what was published names them still."""
        lost = np.setdiff1d(before[changed], gallery.groups.numbers)
        if self._store and lost.any():
            rows = changed[::-1]  # where rows went apart, the one of most frames tells
            identity = gallery.table["identity"][rows]
            now = dict(zip(before[rows].tolist(), identity.tolist(), strict=True))
            self._store.merge([(old, now[old]) for old in lost.tolist() if old])

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
        full = gallery.groups.numbers[gallery.groups.sizes > settings.rows_per_identity]
        gone += [
            gallery.surplus(int(number), settings.rows_per_identity)
            for number in np.intersect1d(touched[touched > 0], full)
        ]
        # A clock that leaps must not make everybody old at once. The first tick of a run is no leap.
        leap = math.isfinite(self._now) and now - self._now > _LEAP
        pause = min(60.0, settings.retention / 10)
        if leap:
            _log.warning(
                "the clock leapt by %.0f s: nobody is forgotten for that before %.0f s have passed",
                now - self._now,
                pause,
            )
            self._swept = now
        self._now = now
        if not self._swept <= now < self._swept + pause:
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


def _from_the_future(gallery: Gallery, now: float) -> None:
    """Tracklets of an earlier run that ended later than now: the clock was set back, or films ran ahead of it.

    They are taken to have ended just now, or nobody of that time could be anybody who comes now.
    """
    table = gallery.table
    ahead = np.flatnonzero(table["last"] > now)
    if not len(ahead):
        return
    excess = table["last"][ahead] - now
    _log.warning(
        "%d tracklets of an earlier run end up to %.0f s after now (a clock set back, or films read ahead of "
        "time): they count as just seen",
        len(ahead),
        excess.max(),
    )
    for name in ("first", "last", "since"):
        table[name][ahead] -= excess


def _event(
    gallery: Gallery, row: np.int64, kind: EventKind, time: float, previous: int | None = None
) -> IdentityEvent:
    entry = gallery.table[row]
    camera = gallery.cameras[entry["camera"]]
    identity, local, score = int(entry["identity"]), int(entry["local_id"]), float(entry["score"])
    return IdentityEvent(kind, identity, camera, local, time, score, previous)


def _departures(gallery: Gallery, past: IntArray) -> Events:
    """Identities that left a camera with a tracklet that ended."""
    return [
        _event(gallery, row, EventKind.LEFT, float(gallery.table["last"][row]))
        for row in past
        if gallery.table["identity"][row] > 0
    ]
