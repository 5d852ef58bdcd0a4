"""Slots of recurrent state: one per tracklet that is being followed."""

import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array, Arrays, Engine, StateRows, TensorSpec
from engines.errors import InputError, SlotsExhausted
from engines.rows import NEXT, STATE, HostRows

REMEMBERED = 256
"""Frames that the embedding of a tracklet is a mean of at most. Those of GRL streams are as many."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SlotCounts:
    """What has happened so far."""

    capacity: int
    open: int
    refused: int
    """Times that `open` found no free row."""
    reset: int
    """Rows cleared because the network's answer was not finite."""


class StreamingReid:
    """Feeds crops of many tracklets to a stream engine, each to its own row of state.

    Any thread may call; calls take turns. With TensorRT all calls must come from the engine's owner thread.
    """

    def __init__(self, engine: Engine, capacity: int) -> None:
        if "crops" not in engine.inputs or "embedding" not in engine.outputs:
            raise InputError(
                "the engine is not a stream network: it has no input 'crops' or no output 'embedding'"
            )
        if capacity < 1:
            raise InputError(f"a pool needs at least one slot, not {capacity}")
        self._engine = engine
        self._rows = engine.state_rows(capacity)
        self._lock = threading.Lock()
        self._frames = np.zeros(capacity, np.int64)
        self._in_use = np.zeros(capacity, np.bool_)
        self._free = list(range(capacity))[::-1]
        self._refused = self._reset = 0

    @property
    def embedding_size(self) -> int:
        return self._engine.outputs["embedding"].shape[1]

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of the crops it takes."""
        shape = self._engine.inputs["crops"].shape
        return shape[1], shape[2]

    @property
    def counts(self) -> SlotCounts:
        with self._lock:
            in_use = int(self._in_use.sum())
            return SlotCounts(len(self._in_use), in_use, self._refused, self._reset)

    def open(self) -> int:
        """A slot in which nothing was seen yet."""
        with self._lock:
            if not self._free:
                self._refused += 1
                raise SlotsExhausted(
                    f"all {len(self._in_use)} slots are in use: close some, or make the pool larger"
                )
            slot = self._free.pop()
            self._clear(np.array([slot]))
            self._in_use[slot] = True
            return slot

    def close(self, slot: int) -> None:
        """Give a slot back."""
        with self._lock:
            self._check(np.array([slot]))
            self._in_use[slot] = False
            self._free.append(slot)

    def step(self, slots: NDArray[np.int64], crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One more crop for each slot: uint8 (N, H, W, 3) BGR gives embeddings (N, E) float32.

        A row whose answer is not finite comes back as NaN, and its slot starts anew.
        """
        slots = np.asarray(slots, np.int64)
        with self._lock:
            self._check(slots)
            if len(slots) != len(crops):
                raise InputError(f"{len(slots)} slots were given {len(crops)} crops")
            batch = self._engine.max_batch
            parts: list[Array] = [np.zeros((0, self.embedding_size), np.float32)]
            for start in range(0, len(slots), batch):
                some = slice(start, start + batch)
                parts.append(self._rows.step(slots[some], {"crops": crops[some]})["embedding"])
            embeddings: NDArray[np.float32] = np.concatenate(parts).astype(np.float32, copy=False)
            self._frames[slots] += 1
            self._reset_unsound(slots, embeddings)
            return embeddings

    def frames_seen(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many crops each slot has had since it was opened or reset."""
        with self._lock:
            self._check(slots)
            return self._frames[slots]

    def shut(self) -> None:
        """Give all memory back. The engine stays open: it belongs to whoever opened it."""
        with self._lock:
            self._rows.close()
            self._in_use[:] = False
            self._free = []

    def _reset_unsound(self, slots: NDArray[np.int64], embeddings: NDArray[np.float32]) -> None:
        unsound = ~np.isfinite(embeddings).all(axis=1)
        if unsound.any():
            embeddings[unsound] = np.nan
            self._clear(slots[unsound])
            self._reset += int(unsound.sum())
            _log.warning(
                "the network's answer was not finite for slots %s: they start anew", slots[unsound]
            )

    def _clear(self, slots: NDArray[np.int64]) -> None:
        self._rows.clear(slots)
        self._frames[slots] = 0

    def _check(self, slots: NDArray[np.int64]) -> None:
        if slots.ndim != 1 or len(set(slots.tolist())) != len(slots):
            raise InputError(f"slots must be a list without repeats, not {slots.tolist()}")
        inside = (slots >= 0) & (slots < len(self._in_use))
        if not inside.all() or not self._in_use[slots].all():
            closed = [
                int(s) for s, ok in zip(slots, inside, strict=True) if not ok or not self._in_use[s]
            ]
            raise InputError(f"slots {closed} are not open")


class FrameAverages:
    """Makes a stream engine of one that embeds single frames: a tracklet's embedding is their mean so far.

    So that networks without state can be compared in the same loop. Each frame counts with unit length, and beyond
    `REMEMBERED` of them old ones fade, as they do in a stream.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        size = math.prod(engine.outputs["embedding"].shape[1:])
        self.outputs: Mapping[str, TensorSpec] = engine.outputs
        self.max_batch = engine.max_batch
        self.inputs: Mapping[str, TensorSpec] = {
            **engine.inputs,
            STATE + "count": TensorSpec(STATE + "count", (-1, 1), "float32"),
            STATE + "mean": TensorSpec(STATE + "mean", (-1, size), "float32"),
        }

    def run(self, inputs: Arrays) -> dict[str, Array]:
        count = np.minimum(inputs[STATE + "count"] + 1, np.float32(REMEMBERED))
        mean = inputs[STATE + "mean"]
        answer = self._engine.run({"crops": inputs["crops"]})["embedding"].reshape(len(mean), -1)
        unit = answer / np.maximum(np.linalg.norm(answer, axis=1, keepdims=True), 1e-12)
        mean = mean + (unit - mean) / count
        return {"embedding": mean, NEXT + "count": count, NEXT + "mean": mean}

    def state_rows(self, capacity: int) -> StateRows:
        return HostRows(self.run, self.inputs, capacity)

    def close(self) -> None:
        self._engine.close()
