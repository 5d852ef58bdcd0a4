"""How large the values in a network become, measured while it runs on real pictures.

A stream is run from its first crop past the end of a segment with its own state, so that what its memory grows
to is in the ranges.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from calibration.int8.samples import Samples, answers
from engines.onnxruntime import ONNXRuntimeEngine

LEVELS = 127
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


def measure(
    model: ModelProto,
    names: Sequence[str],
    samples: Samples,
    *,
    batch: int = 4,
    seed: int = 0,
    advance: Callable[[int], None] = lambda pictures: None,
) -> dict[str, Range]:
    """Ranges of the named tensors over all samples."""
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
        name: Range(peaks[name], best_limit(np.concatenate(kept[name]), peaks[name]))
        for name in names
    }


def best_limit(values: NDArray[np.float32], peak: float) -> float:
    """The limit for which magnitudes, rounded to 127 steps of it and cut at it, are least wrong."""
    if peak == 0.0:
        return 1.0  # never seen to be anything but zero: any scale represents that
    errors = [_error(values, peak * share) for share in _CANDIDATES]
    return float(peak * _CANDIDATES[int(np.argmin(errors))])


def limits(ranges: Mapping[str, Range]) -> dict[str, float]:
    return {name: found.limit for name, found in ranges.items()}


def _error(values: NDArray[np.float32], limit: float) -> float:
    step = limit / LEVELS
    rounded = np.minimum(np.rint(values / step), LEVELS) * step
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
