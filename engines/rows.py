"""Rows of recurrent state in the machine's own memory, for engines that run there."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array, Arrays, TensorSpec

STATE, NEXT = "state.", "next."
_ALIGNMENT = 64


class HostRows:
    """One aligned array per tensor of the state, a row a slot."""

    def __init__(
        self,
        run: Callable[[Arrays], Mapping[str, Array]],
        inputs: Mapping[str, TensorSpec],
        capacity: int,
    ) -> None:
        """`run` may return arrays that are valid only until it is called again."""
        self._run = run
        specs = {
            name.removeprefix(STATE): s for name, s in inputs.items() if name.startswith(STATE)
        }
        self._rows = {
            name: _aligned_zeros((capacity, *spec.shape[1:]), np.dtype(spec.dtype))
            for name, spec in specs.items()
        }

    def clear(self, slots: NDArray[np.int64]) -> None:
        for rows in self._rows.values():
            rows[slots] = 0

    def step(self, slots: NDArray[np.int64], inputs: Arrays) -> dict[str, Array]:
        state = {STATE + name: rows[slots] for name, rows in self._rows.items()}
        outputs = self._run({**inputs, **state})
        for name, rows in self._rows.items():
            rows[slots] = outputs[NEXT + name]
        return {name: array.copy() for name, array in outputs.items() if not name.startswith(NEXT)}

    @property
    def nbytes(self) -> int:
        return sum(rows.nbytes for rows in self._rows.values())

    def close(self) -> None:
        self._rows = {}


def _aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """Zeros that start on a cache line, so that a network may read rows in place."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
