"""What every compiled network looks like from outside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. `shape[0]` is the batch; -1 stands for any size."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """numpy's name for it: float32, float16, uint8, int64…"""

    def check(self, array: Array) -> None:
        """Raise `InputError` unless `array` fits."""
        fits = len(array.shape) == len(self.shape) and all(
            want in (-1, have) for want, have in zip(self.shape, array.shape, strict=True)
        )
        if not fits or array.dtype != np.dtype(self.dtype):
            shape = "×".join("any" if n < 0 else str(n) for n in self.shape)
            found = "×".join(map(str, array.shape)) or "a scalar"
            raise InputError(
                f"input '{self.name}' must be {shape} {self.dtype}, but is {found} {array.dtype}"
            )


class Engine(Protocol):
    """A compiled network. One owner thread at a time."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...
    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...
    @property
    def max_batch(self) -> int: ...

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Answer one batch. The arrays returned belong to the caller."""
        ...

    def close(self) -> None:
        """Give the device's memory back. Safe to call twice."""
        ...
