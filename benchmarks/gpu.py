"""What the GRL stream costs on this machine's NVIDIA GPU, and whether it is right there.

`python -m benchmarks.gpu` builds grl-r50 and grl-edge for every backend that can use the GPU, compares
each with torch in float32, times steps of 1…256 crops beside a large matrix product in the same
precision, prints a table and writes results/gpu-<device>.json. Without a GPU it says so.
"""

import argparse
import json
import math
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from engines.bench import Timing, measure, time_engine
from engines.build import Request, build, reference
from engines.cuda import Device
from engines.engine import Engine
from engines.errors import BackendError, EngineError
from engines.opening import open_engine
from engines.package import Kind, Manifest
from engines.parity import batches_to_check, compare
from engines.rows import STATE
from trainer.model import create_model, save_model

NETWORKS = ("grl-edge", "grl-r50")
BACKENDS = ("tensorrt", "onnxruntime", "torch")
PRECISIONS = {"f32": torch.float32, "f16": torch.float16}
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
RESULTS = Path(__file__).with_name("results")
SIDE = 8192


@dataclass(frozen=True, slots=True)
class Result:
    """One network on one backend in one precision."""

    network: str
    backend: str
    version: str
    precision: str
    smallest_cosine: float
    """Over outputs, batches and steps: ours with torch's in float32."""
    largest_difference: dict[str, float]
    bytes_per_slot: int
    timings: tuple[Timing, ...]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each batch (default: 1)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        name = device_name()
    except BackendError as error:
        console.print(f"no NVIDIA GPU to measure: {error}", markup=False, soft_wrap=True)
        return 0
    peaks = {precision: matmul_peak(precision) for precision in PRECISIONS}
    results: list[Result] = []
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch, console.status("") as status:
        for network, backend, precision, weights in _combinations(options, Path(scratch)):
            status.update(f"{network} · {backend} · {precision}")
            package = Path(scratch) / f"{network}-{backend}-{precision}"
            try:
                results.append(
                    measure_one(
                        Request(
                            weights,
                            package,
                            Kind.GRL_STREAM,
                            backend,
                            precision,
                            max_batch=max(options.batches),
                        ),
                        options.batches,
                        peaks[precision],
                        options.seconds,
                    )
                )
            except (EngineError, ImportError) as error:
                absent[f"{network} {backend} {precision}"] = str(error)
    console.print(table(name, results))
    for what, why in absent.items():
        console.print(f"not measured: {what}: {why}", markup=False, soft_wrap=True)
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    report = {
        "device": name,
        "peak_macs_per_second": peaks,
        "results": [asdict(result) for result in results],
        "not_measured": absent,
    }
    file.write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"written to {file}", markup=False, soft_wrap=True)
    return 0


def device_name() -> str:
    """Of the first GPU, or `BackendError` that says why there is none."""
    try:
        with Device() as device:
            return device.name
    except BackendError:
        if not torch.cuda.is_available():
            raise
        return torch.cuda.get_device_name()


def matmul_peak(precision: str) -> float | None:
    """Multiply-accumulates per second of a large matrix product; None if torch cannot use the GPU."""
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = False
    left = torch.ones(SIDE, SIDE, dtype=PRECISIONS[precision], device="cuda")

    def multiply() -> None:
        torch.mm(left, left)
        torch.cuda.synchronize()

    return SIDE**3 / min(measure(multiply, 1.0))


def measure_one(request: Request, batches: list[int], peak: float | None, seconds: float) -> Result:
    """Build, compare and time one package on the GPU."""
    manifest: Manifest
    manifest, _ = build(request)
    engine = open_engine(request.output, device="cuda")
    try:
        parity = compare(
            engine, reference(request.source, Kind.GRL_STREAM), batches_to_check(max(batches))
        )
        limit = None if peak is None else (lambda threads: peak)  # however many of ours wait
        timings = time_engine(engine, batches, macs=manifest.macs, peak=limit, seconds=seconds)
        return Result(
            network=manifest.network,
            backend=manifest.backend,
            version=manifest.backend_version,
            precision=manifest.precision,
            smallest_cosine=parity.cosine,
            largest_difference=parity.largest,
            bytes_per_slot=bytes_per_slot(engine),
            timings=tuple(timings),
        )
    finally:
        engine.close()


def bytes_per_slot(engine: Engine) -> int:
    """What one tracklet's state takes."""
    return sum(
        math.prod(spec.shape[1:]) * np.dtype(spec.dtype).itemsize
        for name, spec in engine.inputs.items()
        if name.startswith(STATE)
    )


def table(name: str, results: list[Result]) -> Table:
    """One line for each batch."""
    answer = Table(title=f"GRL stream steps on {name}")
    for heading in ("network", "backend", "precision", "cosine", "KiB a slot"):
        answer.add_column(heading)
    for heading in ("batch", "p50 ms", "p99 ms", "crops/s", "of peak"):
        answer.add_column(heading, justify="right")
    for result in results:
        what = (result.network, f"{result.backend} {result.version}", result.precision)
        known = (*what, f"{result.smallest_cosine:.6f}", f"{result.bytes_per_slot / 1024:.0f}")
        for number, timing in enumerate(result.timings):
            share = "–" if timing.share_of_peak is None else f"{timing.share_of_peak:.1%}"
            answer.add_row(
                *(known if number == 0 else [""] * len(known)),
                str(timing.batch),
                f"{timing.p50_ms:.2f}",
                f"{timing.p99_ms:.2f}",
                f"{timing.pictures_per_second:,.0f}",
                share,
                end_section=number == len(result.timings) - 1,
            )
    return answer


def _combinations(
    options: argparse.Namespace, scratch: Path
) -> Iterator[tuple[str, str, str, Path]]:
    """Everything to measure, with weights drawn once for each network."""
    for network in options.networks:
        torch.manual_seed(0)
        weights = scratch / f"{network}.safetensors"
        save_model(create_model(network), network, weights)
        for backend in options.backends:
            for precision in PRECISIONS:
                yield network, backend, precision, weights


if __name__ == "__main__":
    sys.exit(main())
