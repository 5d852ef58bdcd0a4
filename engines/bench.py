"""How fast an engine is, and how far that is from what the machine can do."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from engines.engine import Engine
from engines.openvino import OpenVINOEngine
from engines.parity import random_pictures
from engines.rows import STATE

_PEAK_SIDE = 2048
_PEAK_SECONDS = 1.5
_PEAK_PRODUCTS = 4
PEAK_MACS = float(_PEAK_PRODUCTS * _PEAK_SIDE**3)


@dataclass(frozen=True, slots=True)
class Timing:
    """One size of batch."""

    batch: int
    p50_ms: float
    p99_ms: float
    best_ms: float
    pictures_per_second: float
    share_of_peak: float | None
    """Multiply-accumulates done per second at the median, over what a large matrix product reached here on as many
    threads."""
    threads: int | None
    """That computed it; None where it was no CPU."""

    def as_json(self) -> dict[str, float | int | None]:
        return asdict(self)


def time_engine(
    engine: Engine,
    batches: Sequence[int],
    *,
    macs: int | None,
    peak: Callable[[int], float] | None,
    threads: int | None = None,
    seconds: float = 2.0,
    report: Callable[[str], None] = lambda text: None,
) -> list[Timing]:
    """Time steps of streams, or runs of anything else, for `seconds` a batch after a warm-up.

    `macs` is for one picture; `peak` answers multiply-accumulates per second of so many threads. `threads`: of the
    CPU, for an engine that does not say how many compute a batch.
    """
    timings = []
    for batch in batches:
        report(f"batch {batch}")
        durations = np.array(measure(work_of(engine, batch), seconds)) * 1e3
        median = float(np.median(durations))
        used = threads_for(engine, batch) or threads
        share = None
        if macs is not None and peak is not None:
            share = macs * batch / (median / 1e3) / peak(used or 1)
        timings.append(
            Timing(
                batch=batch,
                p50_ms=median,
                p99_ms=float(np.percentile(durations, 99)),
                best_ms=float(durations.min()),
                pictures_per_second=batch / (median / 1e3),
                share_of_peak=share,
                threads=used,
            )
        )
    return timings


def measure(work: Callable[[], object], seconds: float, least: int = 5) -> list[float]:
    """Seconds that each call took, over at least `seconds` and `least` calls, two warm-up calls aside."""
    work()
    work()
    taken: list[float] = []
    while sum(taken) < seconds or len(taken) < least:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


def threads_for(engine: Engine, batch: int) -> int | None:
    """How many threads of a CPU compute such a batch, where that is known."""
    return engine.threads_for(batch) if isinstance(engine, OpenVINOEngine) else None


def cpu_peak(precision: str, threads: int, seconds: float = _PEAK_SECONDS) -> float:
    """Multiply-accumulates per second that large matrix products reach on so many threads in this precision."""
    return PEAK_MACS / min(measure(peak_product(precision, threads), seconds))


def peak_product(precision: str, threads: int) -> Callable[[], object]:
    """Matrix products that stand for the machine's limit: `PEAK_MACS` multiply-accumulates a call.

    Several in a row, each of what the last one gave: in eight bits, only the first has floats to round.
    """
    side = _PEAK_SIDE
    most, heaviest = np.float32(2), np.float32(2 / side)
    left = value = ops.parameter([side, side], np.float32)
    for _ in range(_PEAK_PRODUCTS):
        right = ops.constant(np.full((side, side), 1 / side, np.float32))
        if precision == "int8":
            value = ops.fake_quantize(value, most * 0, most, most * 0, most, 256)
            right = ops.fake_quantize(right, -heaviest, heaviest, -heaviest, heaviest, 255)
        value = ops.matmul(value, right, False, False)
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = ov.Core().compile_model(ov.Model([value], [left]), "CPU", settings)
    request = compiled.create_infer_request()
    values = np.ones((side, side), np.float32)
    return lambda: request.infer([values], share_inputs=True, share_outputs=True)


def work_of(engine: Engine, batch: int) -> Callable[[], object]:
    """A run over random pictures, or a step of streams."""
    pictures = random_pictures(engine.inputs, batch, np.random.default_rng(0))
    if not any(name.startswith(STATE) for name in engine.inputs):
        return lambda: engine.run(pictures)
    rows, slots = engine.state_rows(batch), np.arange(batch)
    return lambda: rows.step(slots, pictures)
