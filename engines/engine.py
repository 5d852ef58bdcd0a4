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


class StateRows(Protocol):
    """Recurrent state of many tracklets, a row each, kept where the network runs."""

    def clear(self, slots: NDArray[np.int64]) -> None:
        """Set rows to zero, which means that nothing was seen yet."""
        ...

    def step(self, slots: NDArray[np.int64], inputs: Arrays) -> dict[str, Array]:
        """Run the network on the rows of `slots`, put their new state back, return the other outputs."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class Engine(Protocol):
    """A compiled network. On CPUs any threads may run it, also at the same time; else one owner thread."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...
    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...
    @property
    def max_batch(self) -> int: ...

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Answer one batch of 1…max_batch. The arrays returned belong to the caller."""
        ...

    def state_rows(self, capacity: int) -> StateRows:
        """Rows for the `state.*` inputs of this network, all zero."""
        ...

    def close(self) -> None:
        """Give the device's memory back. Safe to call twice."""
        ...


def check_batch(inputs: Arrays, specs: Mapping[str, TensorSpec], max_batch: int) -> int:
    """The size of a batch that fits the network, else `InputError`."""
    if inputs.keys() != specs.keys():
        raise InputError(f"the network takes {', '.join(specs)}, but was given {', '.join(inputs)}")
    for name, spec in specs.items():
        spec.check(inputs[name])
    sizes = {array.shape[0] for array in inputs.values()}
    if len(sizes) != 1:
        raise InputError(f"inputs of one batch have different sizes: {sorted(sizes)}")
    size = int(sizes.pop())
    if not 1 <= size <= max_batch:
        raise InputError(
            f"a batch of {size} is outside the 1…{max_batch} that this engine was built for"
        )
    return size
