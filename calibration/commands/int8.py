"""`int8`: a detector or stream network as an eight-bit package, if it is as good as it was."""

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from calibration.errors import CalibrationError, UsageError
from calibration.int8.page import write_int8_page
from calibration.int8.quantise import Order, Outcome, quantise
from calibration.sets import check_set
from calibration.site_file import provenance, write_result
from engines.adopt import NORMALISATIONS
from engines.errors import EngineError
from engines.options import count, seed
from engines.package import Kind

BACKENDS = ("openvino", "onnxruntime", "tensorrt")
EXAMPLES = """examples:
  python -m calibration collect --site site.toml -o sets/hall --frames 300 --crops 400
  python -m calibration int8 grl-edge.safetensors -o engines-here/grl-int8 --data sets/hall --site site.toml
  python -m calibration int8 weights/yolo11n.pt --size 384x640 -o engines-here/people-int8 --data sets/hall
  python -m synthetic reid --train 0 --test 100 --out runs/reid
  python -m calibration int8 grl-edge.safetensors -o engines-here/grl-int8 --labels runs/reid
  python -m synthetic detect --images 300 --out runs/detect
  python -m calibration int8 yolox_nano.onnx -o engines-here/people-int8 --labels runs/detect

Nothing is written if more than 0.5 points of mAP (stream) or 1 point of AP50 (detector) are lost on --labels.
Without labels the network itself is the judge: mean cosine with its own embeddings at least 0.99, or AP50 against
its own detections at least 0.97. --force writes all the same, and the package says so for ever.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=Path, help="GRL weights (.safetensors), a detector (.pt, .yaml), or .onnx"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the package")
    parser.add_argument(
        "--data",
        type=Path,
        help="pictures to measure on: a set of `collect`, MARS layout, or a folder of frames (--labels)",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        help="what decides: MARS layout for streams, YOLO layout for detectors",
    )
    parser.add_argument("--backend", choices=BACKENDS, default="openvino")
    parser.add_argument("--size", type=_size, help="HxW of an Ultralytics detector (640x640)")
    parser.add_argument("--end-to-end", action="store_true", help="its NMS-free head")
    parser.add_argument(
        "--normalisation", choices=NORMALISATIONS, help="what a foreign network wants of its pixels"
    )
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument("--licence", help="to note in the manifest")
    parser.add_argument(
        "--sure",
        type=float,
        help="of a detector: the score from which a box may be of somebody new",
    )
    parser.add_argument(
        "--pictures", type=int, default=200, help="to measure ranges on, about (200)"
    )
    parser.add_argument(
        "--no-sensitivity",
        action="store_true",
        help="measure what single layers cost only if the whole costs too much",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=4,
        help="times that the costliest layers, 2, 4, 8…, may go back to floating point (4)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="which pictures are drawn (0)")
    parser.add_argument(
        "--force", action="store_true", help="write it although it loses too much, and say so in it"
    )
    parser.add_argument("--site", type=Path, help="the site's file, which is to use the package")
    parser.add_argument(
        "--page", type=Path, help="the page that shows it (OUTPUT.html, beside the package)"
    )
    parser.add_argument("--json", action="store_true", help="the outcome on standard output")


def run(options: argparse.Namespace) -> int:
    """Answers the exit code."""
    data = options.data or options.labels
    if data is None:
        raise UsageError("there is nothing to measure on: give --data, --labels, or both")
    if options.pictures < 1 or options.max_batch < 1:
        raise UsageError("--pictures and --max-batch begin at 1")
    check_set(data)
    order = Order(
        source=options.source,
        output=options.output,
        data=data,
        labels=options.labels,
        backend=options.backend,
        size=options.size,
        end_to_end=options.end_to_end,
        normalisation=options.normalisation,
        max_batch=options.max_batch,
        licence=options.licence,
        sure=options.sure,
        pictures=options.pictures,
        sensitivity=not options.no_sensitivity,
        rounds=max(0, options.rounds),
        seed=options.seed,
        force=options.force,
        command=shlex.join(["python", "-m", "calibration", *sys.argv[1:]]),
    )
    console = Console(stderr=True)
    outcome = _watched(order, console)
    page = options.page or options.output.with_name(options.output.name + ".html")
    write_int8_page(page, outcome)
    if options.site is not None:
        _note(options.site, options.output, outcome)
    if options.json:
        print(json.dumps(_as_json(outcome, options.output, page)))  # noqa: T201
    else:
        _print(outcome, options.output, page, console)
    return 0


def _watched(order: Order, console: Console) -> Outcome:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("beginning", total=None)

        def show(what: str, done: float | None) -> None:
            progress.update(
                task,
                description=what,
                total=None if done is None else 1.0,
                completed=done or 0.0,
            )

        try:
            return quantise(order, show)
        except (CalibrationError, EngineError):
            raise
        except Exception as error:
            # The trainer's errors are user-facing too, but importing it here would load torch.
            if type(error).__module__ != "trainer.errors":
                raise
            raise UsageError(str(error)) from error


def _note(site: Path, package: Path, outcome: Outcome) -> None:
    how = outcome.manifest.quantisation
    assert how is not None
    section = "detector" if outcome.manifest.kind is Kind.DETECTOR else "embedder"
    evidence: dict[str, str | int | float] = {
        "network": outcome.manifest.network,
        "judged_on": how.judged_on,
        f"{how.measure}_before": how.before,
        f"{how.measure}_int8": how.after,
        "allowed": how.allowed,
        "layers_kept_in_float": len(how.kept),
    }
    evidence |= {f"cosine_after_{step}": value for step, value in how.drift.items()}
    if how.forced:
        evidence["forced"] = "it loses more than is allowed"
    if outcome.speed is not None:
        evidence[f"times_faster_than_{outcome.speed.float_precision}"] = outcome.speed.faster
    origin = provenance(outcome.manifest.source, how.data, evidence)
    write_result(site, "int8", {section: {"package": str(package)}}, origin)


def _print(outcome: Outcome, package: Path, page: Path, console: Console) -> None:
    how, speed = outcome.manifest.quantisation, outcome.speed
    assert how is not None
    table = Table(show_header=False, box=None)
    table.add_row(how.measure, f"{how.before:.4f} → {how.after:.4f} ({how.judged_on})")
    table.add_row("layers", f"{how.layers} in int8, {len(how.kept)} kept in floating point")
    if how.kept:
        table.add_row("kept", ", ".join(how.kept))
    if how.drift:
        steps = ", ".join(f"{value:.4f} after {step}" for step, value in how.drift.items())
        table.add_row("cosine", f"{steps} steps")
    if speed is not None:
        table.add_row(
            "speed",
            f"{speed.int8_ms:.2f} ms against {speed.float_ms:.2f} in {speed.float_precision}: "
            f"{speed.faster:.2f}× (one picture at a time, this machine, now)",
        )
    if outcome.costs:
        worst = ", ".join(f"{cost.layer} {cost.cost:.2g}" for cost in outcome.costs[:5])
        table.add_row("costliest", worst)
    table.add_row("written", f"{package}, {page}")
    console.print(table)
    if how.forced:
        console.print("[red]forced[/]: it loses more than is allowed, and its manifest says so")


def _as_json(outcome: Outcome, package: Path, page: Path) -> dict[str, object]:
    assert outcome.manifest.quantisation is not None
    return {
        "package": str(package),
        "page": str(page),
        "quantisation": asdict(outcome.manifest.quantisation),
        "speed": asdict(outcome.speed) if outcome.speed else None,
        "costs": [asdict(cost) for cost in outcome.costs],
    }


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return count(height), count(width or height)
