"""What a step of the stream costs: against its backbone, against recomputing, against the machine's limit, and in
memory; and the shipped detector against that limit.

    python -m benchmarks.engines            # everything, about three minutes
    python -m benchmarks.engines --quick    # fewer rounds

Alternatives run in turn, round by round, and ratios are taken within a round: the machine may be busy, but it is
equally busy for both.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.machine import this_machine
from engines import open_engine
from engines.bench import PEAK_MACS, peak_product, threads_for, work_of
from engines.export import (
    export_backbone,
    export_causal_clip,
    export_stream,
    macs,
)
from engines.openvino import LANES, OpenVINOEngine, multiplies_bytes, offers, read
from engines.package import read_manifest
from trainer.model import GRL, create_model, save_model

RESULTS = Path(__file__).parent / "results" / "engines.json"
DETECTOR = Path(__file__).parent.parent / "models" / "person-detector"
CAMERAS, SLOTS_A_CAMERA = 4, 64
Work: TypeAlias = Callable[[], object]


def main() -> None:
    """Measure, print, and rewrite the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    console = Console(width=160)
    machine = this_machine(["openvino", "onnxruntime", "torch", "numpy"])
    rows = []
    with tempfile.TemporaryDirectory() as scratch, console.status("measuring") as status:
        for name in ("grl-r50", "grl-edge"):
            model = seeded(name)
            graphs = export_all(model, Path(scratch) / name)
            for precision in ("bf16", "f32") if offers("bf16") else ("f32",):
                for batch in (1, 4, 16) if name == "grl-edge" else (1, 4):
                    status.update(f"{name} in {precision}, batch {batch}")
                    rounds = 5 if options.quick else 40 if name == "grl-edge" else 15
                    row = measure(graphs, precision, batch, rounds, macs(model, "grl-stream"))
                    row |= {
                        "network": name,
                        "precision": precision,
                        "batch": batch,
                        "gmac_a_crop": macs(model, "grl-stream") / 1e9,
                        "gmac_backbone": macs(model, "backbone") / 1e9,
                    }
                    rows.append(row)
        status.update("the shipped detector")
        detector = shipped_detector(5 if options.quick else 15)
        status.update("memory of the live path")
        memory = live_memory(Path(scratch))
    print_tables(console, rows, detector, memory)
    RESULTS.parent.mkdir(exist_ok=True)
    result = {
        "machine": machine.as_json(),
        "command": "python -m benchmarks.engines",
        "rows": rows,
        "detector": detector,
        "memory": memory,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"written: {RESULTS}")


def seeded(name: str) -> GRL:
    """Random weights, none of them zero: engines may skip zeros, and fresh networks begin with some."""
    torch.manual_seed(0)
    model = create_model(name).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
    return model


def export_all(model: GRL, folder: Path) -> dict[str, Path]:
    """The graphs that are compared."""
    writers: Mapping[str, Callable[[GRL, Path], None]] = {
        "backbone": export_backbone,
        "stream": export_stream,
        "recompute": export_causal_clip,
    }
    paths = {name: folder / f"{name}.onnx" for name in writers}
    for name, write in writers.items():
        write(model, paths[name])
    return paths


def measure(
    graphs: Mapping[str, Path], precision: str, batch: int, rounds: int, stream_macs: int
) -> dict[str, object]:
    """Milliseconds a crop of each graph, and ratios, over rounds in which all take turns."""
    engines = {
        name: OpenVINOEngine(read(path), precision=precision, max_batch=max(batch, LANES))
        for name, path in graphs.items()
        if name != "recompute" or batch == 1
    }
    threads = engines["stream"].threads_for(batch)
    work = {name: work_of(engine, batch) for name, engine in engines.items()}
    taken = in_turn(work | {"limit": peak_product(precision, threads)}, rounds)
    times = {name: 1e3 * taken[name] / batch for name in engines}
    row: dict[str, object] = {f"{name}_ms": spread(values) for name, values in times.items()}
    row |= beside_limit(stream_macs * batch, taken["stream"], taken["limit"], threads)
    row["stream_over_backbone"] = spread(times["stream"] / times["backbone"])
    if "recompute" in times:
        row["recompute_over_stream"] = spread(times["recompute"] / times["stream"])
    return row


def shipped_detector(rounds: int) -> list[dict[str, object]]:
    """Milliseconds a picture in every precision, and shares of the machine's limit in each; all take turns."""
    macs_each = read_manifest(DETECTOR).macs or 0
    precisions = [p for p in ("bf16", "f32") if offers(p)]
    if multiplies_bytes():
        precisions.insert(0, "int8")
    engines = {p: open_engine(DETECTOR, precision=p, max_batch=4) for p in precisions}
    cases = [(precision, batch) for precision in precisions for batch in (1, 4)]
    threads = {(p, n): threads_for(engines[p], n) or 1 for p, n in cases}
    work = {f"{p} {n}": work_of(engines[p], n) for p, n in cases}
    limits = {f"limit {p} {threads[p, n]}": peak_product(p, threads[p, n]) for p, n in cases}
    taken = in_turn(work | limits, rounds)
    rows: list[dict[str, object]] = []
    for precision, batch in cases:
        seconds, used = taken[f"{precision} {batch}"], threads[precision, batch]
        limit = taken[f"limit {precision} {used}"]
        rows.append(
            {
                "precision": precision,
                "batch": batch,
                "gmac_a_picture": macs_each / 1e9,
                "ms": spread(1e3 * seconds / batch),
                **beside_limit(macs_each * batch, seconds, limit, used),
            }
        )
    return rows


def in_turn(work: Mapping[str, Work], rounds: int) -> dict[str, NDArray[np.float64]]:
    """(rounds,) seconds that each takes, after one round for warming up."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: np.array(seconds) for name, seconds in taken.items()}


def beside_limit(
    batch_macs: int, seconds: NDArray[np.float64], limit: NDArray[np.float64], threads: int
) -> dict[str, object]:
    """Operations a second over those of large matrix products on as many threads, round by round."""
    peak = PEAK_MACS / limit
    return {
        "threads": threads,
        "peak_gmac_per_s": float(peak.max()) / 1e9,
        "share_of_peak": spread(batch_macs / seconds / peak),
    }


def spread(values: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """Least, median and most."""
    least, median, most = np.percentile(values, (0, 50, 100)).tolist()
    return {"least": least, "median": median, "most": most}


def live_memory(scratch: Path) -> dict[str, float]:
    """Resident megabytes of a fresh process that streams, with room for four cameras' tracklets."""
    weights = scratch / "edge.safetensors"
    save_model(seeded("grl-edge"), "grl-edge", weights)
    package = scratch / "edge"
    precision = "bf16" if offers("bf16") else "f32"
    build = [
        sys.executable,
        "-m",
        "engines",
        "build",
        str(weights),
        "-o",
        str(package),
        "--precision",
        precision,
    ]
    subprocess.run(build, check=True, capture_output=True)
    command = [
        sys.executable,
        "-m",
        "benchmarks.streaming_memory",
        str(package),
        str(CAMERAS * SLOTS_A_CAMERA),
    ]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def print_tables(
    console: Console,
    rows: list[dict[str, object]],
    detector: list[dict[str, object]],
    memory: Mapping[str, float],
) -> None:
    """For people."""
    table = Table(
        "network",
        "precision",
        "batch",
        "stream ms",
        "backbone ms",
        "stream / backbone",
        "recompute / stream",
    )
    table.add_column("share of peak")
    for row in rows:
        again = row.get("recompute_over_stream")
        table.add_row(
            str(row["network"]),
            str(row["precision"]),
            str(row["batch"]),
            _cell(row["stream_ms"]),
            _cell(row["backbone_ms"]),
            _cell(row["stream_over_backbone"]),
            _cell(again) if again else "",
            _cell(row["share_of_peak"]),
        )
    console.print(table)
    console.print("median (least…most) of rounds in which all take turns, milliseconds a crop")
    table = Table("person-detector", "batch", "ms a picture", "share of peak", "peak GMAC/s")
    for row in detector:
        cells = (_cell(row["ms"]), _cell(row["share_of_peak"]), f"{row['peak_gmac_per_s']:.0f}")
        table.add_row(str(row["precision"]), str(row["batch"]), *cells)
    console.print(table)
    console.print(
        f"memory, {CAMERAS} cameras × {SLOTS_A_CAMERA} slots of grl-edge: {memory['resident_mb']:.0f} MB resident, "
        f"of which {memory['interpreter_mb']:.0f} before the engine opened and {memory['rows_mb']:.0f} rows of state"
    )


def _cell(figures: object) -> str:
    assert isinstance(figures, dict)
    return f"{figures['median']:.2f} ({figures['least']:.2f}…{figures['most']:.2f})"


if __name__ == "__main__":
    main()
