"""Rows of recurrent state that stay on the device, gathered and scattered by slot.

The stream graph takes `state.<name>` and returns `next.<name>`, both batch-first. For each, the
device holds `capacity` rows and one row of zeros; a step copies the rows of its slots in front of
the graph, runs it, and copies the new rows back.
"""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.cuda import Device
from engines.engine import Array, Arrays, TensorSpec
from engines.errors import InputError
from engines.rows import NEXT, STATE

Rows: TypeAlias = tuple[int, int]
"""Where rows lie on the device, and where the list of their numbers lies."""


class DeviceEngine(Protocol):
    """An engine whose tensors have fixed places on a device, `max_batch` rows each."""

    device: Device

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...
    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...
    @property
    def max_batch(self) -> int: ...
    def address(self, name: str) -> int: ...
    def row_bytes(self, name: str) -> int: ...
    def upload(self, inputs: Arrays, names: list[str]) -> int: ...
    def execute(self, batch: int) -> None: ...
    def download(self, batch: int, names: list[str]) -> dict[str, Array]: ...


class DeviceRows:
    """`capacity` rows of every state tensor of one stream engine. Slots are 0…capacity-1."""

    def __init__(self, engine: DeviceEngine, capacity: int) -> None:
        self.capacity = capacity
        self._engine = engine
        self._device = device = engine.device
        states = [name.removeprefix(STATE) for name in engine.inputs if name.startswith(STATE)]
        self._row_bytes = {name: engine.row_bytes(STATE + name) for name in states}
        for name in states:
            if NEXT + name not in engine.outputs:
                raise InputError(f"the graph takes '{STATE}{name}' but returns no '{NEXT}{name}'")
            if engine.row_bytes(NEXT + name) != self._row_bytes[name]:
                raise InputError(f"'{NEXT}{name}' is not of the size of '{STATE}{name}'")
        self._fresh = [name for name in engine.inputs if not name.startswith(STATE)]
        self._answers = [name for name in engine.outputs if not name.startswith(NEXT)]
        # Copies row by row would cost about 2 µs for each row, tensor and direction, all in Python;
        # the kernel costs one launch for each tensor and direction, whatever the batch.
        self._copy_16 = device.kernel(copy_rows(16), "copy_rows")
        self._copy_1 = device.kernel(copy_rows(1), "copy_rows")
        self._pools = {
            name: device.allocate((capacity + 1) * size) for name, size in self._row_bytes.items()
        }
        for name, size in self._row_bytes.items():
            device.zero(self._pools[name], (capacity + 1) * size)
        longest = max(engine.max_batch, capacity)
        self._indices = device.pinned((longest,), np.int32)
        self._slots = device.allocate(4 * longest)
        self._ordinals = self._constant(np.arange(engine.max_batch, dtype=np.int32))
        self._zero_row = self._constant(np.full(capacity, capacity, np.int32))

    @property
    def nbytes(self) -> int:
        """Device memory that the rows take, the one of zeros included."""
        return (self.capacity + 1) * sum(self._row_bytes.values())

    def clear(self, slots: NDArray[np.int64]) -> None:
        """Zero those rows: no frames yet."""
        self._send(slots)
        for name, pool in self._pools.items():
            self._copy(name, len(slots), (pool, self._slots), (pool, self._zero_row))
        self._device.synchronise()

    def step(self, slots: NDArray[np.int64], inputs: Arrays) -> dict[str, Array]:
        """Run the graph for `slots`, in their order, and keep their new state."""
        batch = self._engine.upload(inputs, self._fresh)
        if batch != len(slots):
            raise InputError(f"{len(slots)} slots were given with {batch} crops")
        self._send(slots)
        for name, pool in self._pools.items():
            place = self._engine.address(STATE + name)
            self._copy(name, batch, (place, self._ordinals), (pool, self._slots))
        self._engine.execute(batch)
        for name, pool in self._pools.items():
            place = self._engine.address(NEXT + name)
            self._copy(name, batch, (pool, self._slots), (place, self._ordinals))
        return self._engine.download(batch, self._answers)

    def close(self) -> None:
        """Give the rows back. Safe to call twice."""
        if not self._pools:
            return
        for address in (*self._pools.values(), self._slots, self._ordinals, self._zero_row):
            self._device.release(address)
        self._device.unpin(self._indices)
        self._pools = {}

    def _send(self, slots: NDArray[np.int64]) -> None:
        """Put slot numbers where the kernel finds them, once sure that each is one of ours."""
        count = len(slots)
        if count and not (slots.min() >= 0 and slots.max() < self.capacity):
            raise InputError(f"slots must be 0…{self.capacity - 1}, but are {slots.tolist()}")
        if len(np.unique(slots)) != count:
            raise InputError(f"a slot occurs twice in one step: {slots.tolist()}")
        self._indices[:count] = slots
        self._device.upload(self._slots, self._indices[:count])

    def _copy(self, name: str, rows: int, to: Rows, source: Rows) -> None:
        """Copy `rows` rows of one state tensor between two places."""
        if rows:
            size = self._row_bytes[name]
            copy, words = (self._copy_1, size) if size % 16 else (self._copy_16, size // 16)
            (to_start, to_rows), (start, from_rows) = to, source
            copy((-(-words // THREADS), rows), THREADS, to_start, start, to_rows, from_rows, words)

    def _constant(self, values: NDArray[np.int32]) -> int:
        address = self._device.allocate(values.nbytes)
        self._device.upload(address, values)
        self._device.synchronise()
        return address


THREADS = 256


def copy_rows(word: int) -> str:
    """PTX that copies rows made of words of 16 bytes or 1."""
    kind, register, shift = {16: ("v4.u32", "{%a, %b, %c, %d}", 4), 1: ("u8", "%byte", 0)}[word]
    return COPY_ROWS.format(kind=kind, word=register, shift=shift)


# to[to_rows[y]] = from[from_rows[y]] for every row y of the grid, one word to a thread. PTX,
# because any driver compiles it for its own device and no compiler need be installed; ISA 6.0 and
# sm_50 are older than every device that runs TensorRT 8.6.
COPY_ROWS = """
.version 6.0
.target sm_50
.address_size 64
.visible .entry copy_rows(
    .param .u64 to, .param .u64 from, .param .u64 to_rows, .param .u64 from_rows, .param .u32 words)
{{
    .reg .pred %past;
    .reg .u16 %byte;
    .reg .u32 %block, %threads, %thread, %row, %to_row, %from_row, %words, %word, %a, %b, %c, %d;
    .reg .u64 %to, %from, %list, %index, %column, %place;

    mov.u32 %block, %ctaid.x;
    mov.u32 %threads, %ntid.x;
    mov.u32 %thread, %tid.x;
    mad.lo.u32 %word, %block, %threads, %thread;
    ld.param.u32 %words, [words];
    setp.ge.u32 %past, %word, %words;
    @%past ret;
    cvt.u64.u32 %column, %word;

    mov.u32 %row, %ctaid.y;
    mul.wide.u32 %index, %row, 4;
    ld.param.u64 %list, [from_rows];
    add.u64 %list, %list, %index;
    ld.u32 %from_row, [%list];
    ld.param.u64 %list, [to_rows];
    add.u64 %list, %list, %index;
    ld.u32 %to_row, [%list];

    mul.wide.u32 %place, %from_row, %words;
    add.u64 %place, %place, %column;
    shl.b64 %place, %place, {shift};
    ld.param.u64 %from, [from];
    add.u64 %from, %from, %place;
    ld.{kind} {word}, [%from];

    mul.wide.u32 %place, %to_row, %words;
    add.u64 %place, %place, %column;
    shl.b64 %place, %place, {shift};
    ld.param.u64 %to, [to];
    add.u64 %to, %to, %place;
    st.{kind} [%to], {word};
    ret;
}}
"""
