"""Whether a tracklet's newest crops still show whom the earlier ones showed.

A track can pass from one person to another who crosses before him, and boxes alone do not tell. What the crops say
does: an embedding is a mean over its frames (of single looks exactly, of a GRL stream nearly), so that what the newest
say comes of a subtraction, and no crop is looked at twice.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.streaming import REMEMBERED
from pipeline.frames import FloatArray, IntArray
from pipeline.identify.similarity import Mapping


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of a tracklet at some moment."""

    embedding: FloatArray
    frames: int
    time: float


class Continuity:
    """Remembers each slot's last embeddings, and compares."""

    def __init__(
        self, capacity: int, size: int, mapping: Mapping, newest: int, against: float
    ) -> None:
        """`newest` crops that speak `against` those before by more nats are of somebody else."""
        self._mapping, self._newest, self._against = mapping, newest, against
        self._embeddings = np.zeros((newest + 1, capacity, size), np.float32)
        """Oldest first."""
        self._frames = np.zeros((newest + 1, capacity), np.int64)
        """0 where a slot had not so many."""
        self._times = np.zeros((newest + 1, capacity))

    def note(
        self,
        slots: IntArray,
        embeddings: FloatArray,
        frames: IntArray,
        times: NDArray[np.float64],
        besides: FloatArray | float = 0.0,
    ) -> NDArray[np.bool_]:
        """One more crop for each of some slots; answers who is no longer the same.

        besides: nats that something else says for them being the same.
        """
        for history, value in (
            (self._embeddings, embeddings),
            (self._frames, frames),
            (self._times, times),
        ):
            history[:-1, slots] = history[1:, slots]
            history[-1, slots] = value
        self._frames[:-1, slots[frames <= 1]] = 0  # it began anew
        changed = np.zeros(len(slots), np.bool_)
        # Fewer earlier crops than newest ones may be poor themselves.
        long = np.flatnonzero(self._frames[0, slots] >= self._newest)
        if len(long):
            nats = self._newest_look(slots[long]) + np.broadcast_to(besides, len(slots))[long]
            changed[long] = nats < -self._against
        return changed

    def shift(self, slots: IntArray, back: float) -> None:
        """A clock went back, and takes what it told along."""
        self._times[:, slots] -= back

    def now(self, slot: int) -> Known:
        return self._known(-1, slot)

    def before(self, slot: int) -> Known:
        """As it was before it changed; the time is midway between two crops."""
        last = self._last_own(slot)
        return replace(
            self._known(last, slot), time=float(self._times[last : last + 2, slot].mean())
        )

    def _known(self, age: int, slot: int) -> Known:
        embedding = self._embeddings[age, slot].copy()
        return Known(embedding, int(self._frames[age, slot]), float(self._times[age, slot]))

    def _last_own(self, slot: int) -> int:
        """Where in its history the last crop is that resembles the old ones more than the newest one."""
        history = self._embeddings[:, slot]
        frames = np.minimum(self._frames[1:, slot], REMEMBERED)[:, None]
        single = history[:-1] + np.diff(history, axis=0) * frames.astype(np.float32)
        single /= np.maximum(np.linalg.norm(single, axis=1, keepdims=True), 1e-12)
        known = history[0] / np.maximum(np.linalg.norm(history[0]), 1e-12)
        own = single @ known > single @ single[-1]
        return int(np.argmin(own))  # the newest is not its own, whatever the others are

    def _newest_look(self, slots: IntArray) -> NDArray[np.float64]:
        """Nats for the newest crops and those before showing one person."""
        known, now = self._embeddings[0, slots], self._embeddings[-1, slots]
        weight = np.minimum(self._frames[-1, slots], REMEMBERED)[:, None] / self._newest
        newest = known + (now - known) * weight.astype(np.float32)
        lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(newest, axis=1)
        cosines = np.einsum("ij,ij->i", known, newest) / np.maximum(lengths, 1e-12)
        some = np.full(1, self._newest)
        nats = [
            self._mapping(cosine.reshape(1, 1), frames.reshape(1), some)[0, 0]
            for cosine, frames in zip(cosines, self._frames[0, slots], strict=True)
        ]
        return np.array(nats, np.float64)
