"""Int8 against the fastest floating point of this CPU, both through OpenVINO: speed and accuracy, side by side.

    python -m benchmarks.int8                                  # what is shipped, and grl-r50 with random weights
    python -m benchmarks.int8 --only detector --detector yolo11s.pt --size 384x640
    python -m benchmarks.int8 --reid runs/reid --detect runs/detect    # sets that are there already

Streams with trained weights are judged by mAP on rendered people, others by likeness with the network itself; the
detector by AP50 on rendered sites. Both engines take turns, and ratios are taken within a round: the machine may be
busy, but it is equally busy for both.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.engines import seeded, spread
from benchmarks.machine import this_machine
from calibration.int8.quantise import Order, in_turn, quantise
from engines.build import Request, build
from engines.engine import Engine
from engines.opening import open_engine
from engines.openvino import fastest
from engines.parity import random_pictures
from engines.rows import STATE
from synthetic.detection_set import DetectRequest, write_detect
from synthetic.reid_set import ReidRequest, write_reid
from trainer.model.registry import save_model

RESULTS = Path(__file__).parent / "results" / "int8.json"
MODELS = Path(__file__).parent.parent / "models"
WANTED = {"grl-r50": 1.6, "detector": 1.0}
"""How many times as fast as floating point it is meant to be on two cores."""
PEOPLE, CAMERAS, FRAMES, PICTURES = 60, 3, 9, 300
BATCHES = (1, 4)


@dataclass(frozen=True, slots=True)
class Subject:
    """A network to be measured."""

    name: str
    source: Path
    data: Path
    labels: Path | None
    size: tuple[int, int] | None = None


def main() -> None:
    """Measure, print, and rewrite the results."""
    options = _options()
    console = Console(width=170)
    machine = this_machine(["openvino", "onnxruntime", "torch", "numpy"])
    rows = []
    with tempfile.TemporaryDirectory() as scratch, console.status("preparing") as status:
        for subject in _subjects(options, Path(scratch)):
            status.update(subject.name)
            rows.append(measure(subject, Path(scratch), options.rounds, status.update))
    _print(console, rows)
    RESULTS.parent.mkdir(exist_ok=True)
    result = {
        "machine": machine.as_json(),
        "command": "python -m benchmarks.int8",
        "float": fastest(),
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"written: {RESULTS}")


def measure(
    subject: Subject, scratch: Path, rounds: int, report: Callable[[str], None]
) -> dict[str, object]:
    """Quantise as `python -m calibration int8 --force` does, then time both engines in turn."""
    as_float = Request(
        subject.source, scratch / f"{subject.name}-float", precision="f32", size=subject.size
    )
    build(as_float)
    order = Order(
        source=subject.source,
        output=scratch / f"{subject.name}-int8",
        data=subject.data,
        labels=subject.labels,
        size=subject.size,
        pictures=150,
        sensitivity=False,
        force=True,
    )
    outcome = quantise(order, lambda what, done: report(f"{subject.name}: {what}"))
    rival = open_engine(as_float.output, precision="fastest")
    ours = open_engine(order.output)
    assert outcome.manifest.quantisation is not None
    row: dict[str, object] = {
        "network": subject.name,
        "source": subject.source.name,
        "wanted": WANTED.get(subject.name),
        "accuracy": asdict(outcome.manifest.quantisation),
        "bytes": {
            "float": _size(as_float.output),
            "int8": _size(order.output),
        },
        "batches": {},
    }
    for batch in BATCHES:
        report(f"{subject.name}: timing, batch {batch}")
        work = [_Work(engine, batch) for engine in (rival, ours)]
        times = np.array(in_turn(work, rounds)) * 1e3 / batch
        row["batches"][str(batch)] = {  # type: ignore[index]
            "float_ms": spread(times[:, 0].tolist()),
            "int8_ms": spread(times[:, 1].tolist()),
            "faster": spread((times[:, 0] / times[:, 1]).tolist()),
            "faster_at_best": float(times[:, 0].min() / times[:, 1].min()),
        }
    return row


class _Work:
    """One step of a stream, or one run of anything else."""

    def __init__(self, engine: Engine, batch: int) -> None:
        self._engine = engine
        self._pictures = random_pictures(engine.inputs, batch, np.random.default_rng(0))
        stateful = any(name.startswith(STATE) for name in engine.inputs)
        self._rows = engine.state_rows(batch) if stateful else None
        self._slots = np.arange(batch)

    def __call__(self) -> object:
        if self._rows is None:
            return self._engine.run(self._pictures)
        return self._rows.step(self._slots, self._pictures)


def _subjects(options: argparse.Namespace, scratch: Path) -> Iterator[Subject]:
    reid = options.reid or scratch / "reid"
    if options.reid is None and {"grl-r50", "grl-edge"} & set(options.only):
        request = ReidRequest(
            seed=3, train=0, test=PEOPLE, frames=FRAMES, tracklets=1, cameras=CAMERAS
        )
        write_reid(request, reid, processes=1)
    reid = reid / "bbox_test" if (reid / "bbox_test").is_dir() else reid
    for name, given in (("grl-r50", options.r50), ("grl-edge", options.edge)):
        if name in options.only:
            weights = given or scratch / f"{name}.safetensors"
            if given is None:
                save_model(seeded(name), name, weights)
            yield Subject(name, weights, reid, labels=reid if given else None)
    if "detector" in options.only:
        detect = options.detect or scratch / "detect"
        if options.detect is None:
            write_detect(DetectRequest(seed=3, images=PICTURES, val_share=0.5), detect, processes=1)
        yield Subject("detector", options.detector, detect, detect, options.size)


def _print(console: Console, rows: list[dict[str, object]]) -> None:
    table = Table("network", "batch", f"{fastest()} ms", "int8 ms", "times as fast", "at best")
    for column in ("wanted", "accuracy", "layers kept", "cosine after 1, 8, 64 steps", "MB"):
        table.add_column(column)
    for row in rows:
        how, sizes, batches = row["accuracy"], row["bytes"], row["batches"]
        assert isinstance(how, dict)
        assert isinstance(sizes, dict)
        assert isinstance(batches, dict)
        for batch, times in batches.items():
            first = batch == next(iter(batches))
            told = (
                f"≥ {row['wanted']}" if row["wanted"] else "",
                f"{how['measure']} {how['before']:.4f} → {how['after']:.4f}"
                + (" (too much)" if how["forced"] else ""),
                str(len(how["kept"])),
                ", ".join(f"{value:.4f}" for value in how["drift"].values()),
                f"{sizes['float'] / 1e6:.1f} → {sizes['int8'] / 1e6:.1f}",
            )
            table.add_row(
                str(row["network"]) if first else "",
                batch,
                *(_cell(times[key]) for key in ("float_ms", "int8_ms", "faster")),
                f"{times['faster_at_best']:.2f}",
                *(told if first else ("",) * len(told)),
            )
    console.print(table)
    console.print(
        "median (least…most) of rounds in turn, milliseconds a picture; at best: ratio of the least times"
    )


def _cell(figures: dict[str, float]) -> str:
    return f"{figures['median']:.2f} ({figures['least']:.2f}…{figures['most']:.2f})"


def _size(package: Path) -> int:
    return sum(file.stat().st_size for file in package.iterdir())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("grl-r50", "grl-edge", "detector")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--r50", type=Path, help="weights of grl-r50 (random ones)")
    parser.add_argument(
        "--edge",
        type=Path,
        default=MODELS / "grl-edge.safetensors",
        help="weights of grl-edge (shipped)",
    )
    parser.add_argument(
        "--detector",
        type=Path,
        default=MODELS / "person-detector.pt",
        help="a .pt or .onnx (shipped)",
    )
    parser.add_argument("--size", type=_pair, default=(448, 768), help="HxW of a .pt detector")
    parser.add_argument("--reid", type=Path, help="people in the MARS layout (rendered)")
    parser.add_argument("--detect", type=Path, help="frames in the YOLO layout (rendered)")
    parser.add_argument("--rounds", type=int, default=30)
    return parser.parse_args()


def _pair(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


if __name__ == "__main__":
    main()
