"""How large the values in a network become, measured while it runs on real pictures.

A stream is run from its first crop past the end of a segment with its own state, so that what its memory grows
to is in the ranges.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from calibration.int8.samples import Samples, answers
from engines.onnxruntime import ONNXRuntimeEngine

SIGNED, UNSIGNED = 127, 255
"""Steps from zero to the limit."""
_KEPT = 8000
"""Values kept of each tensor and step: enough to see where the bulk of them lies."""
_CANDIDATES = np.linspace(0.15, 1.0, 35)


@dataclass(frozen=True, slots=True)
class Range:
    """Of one tensor's magnitudes."""

    peak: float
    """The largest that was seen."""
    limit: float
    """What is represented: above, values are cut. Chosen for the least square error of rounding and cutting."""
    signed: bool = True
    """Whether values below zero are represented as well."""


def measure(
    model: ModelProto,
    names: Sequence[str],
    samples: Samples,
    *,
    unsigned: Collection[str] = (),
    batch: int = 4,
    seed: int = 0,
    advance: Callable[[int], None] = lambda pictures: None,
) -> dict[str, Range]:
    """Ranges of the named tensors over all samples; those in `unsigned` are never negative."""
    engine = ONNXRuntimeEngine(_showing(model, names).SerializeToString())
    rng = np.random.default_rng(seed)
    kept: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    peaks = dict.fromkeys(names, 0.0)
    for answer in answers(engine, samples, batch=batch, advance=advance):
        for name in names:
            values = np.abs(answer[name]).ravel()
            peaks[name] = max(peaks[name], float(values.max(initial=0.0)))
            kept[name].append(values[rng.integers(0, values.size, min(values.size, _KEPT))])
    return {
        name: _range(np.concatenate(kept[name]), peaks[name], name in unsigned) for name in names
    }


def best_limit(values: NDArray[np.float32], peak: float, levels: int = SIGNED) -> float:
    """The limit for which magnitudes, rounded to so many steps of it and cut at it, are least wrong."""
    if peak == 0.0:
        return 1.0  # never seen to be anything but zero: any scale represents that
    errors = [_error(values, peak * share, levels) for share in _CANDIDATES]
    return float(peak * _CANDIDATES[int(np.argmin(errors))])


def _range(values: NDArray[np.float32], peak: float, unsigned: bool) -> Range:
    levels = UNSIGNED if unsigned else SIGNED
    return Range(peak, best_limit(values, peak, levels), signed=not unsigned)


def _error(values: NDArray[np.float32], limit: float, levels: int) -> float:
    step = limit / levels
    rounded = np.minimum(np.rint(values / step), levels) * step
    return float(np.square(rounded - values).mean())


def _showing(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """A copy that answers with these values too."""
    copy = ModelProto()
    copy.CopyFrom(model)
    there = {output.name for output in copy.graph.output}
    copy.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in there
    )
    return copy
