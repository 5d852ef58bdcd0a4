"""The command line of the engines: export · build · verify · bench · inspect · fetch."""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn
from rich.table import Table

from engines.adopt import NORMALISATIONS
from engines.answering import answered
from engines.errors import EngineError, PackageError
from engines.fetch import CATALOGUE, fetch
from engines.opening import BACKENDS, is_foreign, open_engine
from engines.options import between, count
from engines.package import FASTEST, PRECISIONS, Kind, Manifest, Quantisation, read_manifest

EXAMPLES = """examples:
  python -m engines build weights.safetensors -o engines-here/grl --precision bf16
  python -m engines build yolo11n.pt -o engines-here/people --size 384x640
  python -m engines build osnet.onnx -o engines-here/osnet --normalisation imagenet
  python -m engines build weights.safetensors -o engines-here/grl-trt --backend tensorrt --precision f16
  python -m engines verify engines-here/grl --source weights.safetensors
  python -m engines bench engines-here/grl --batches 1,4,16
  python -m engines inspect engines-here/grl --json
  python -m engines fetch yolo11n
"""
BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Answers the exit code."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    try:
        return answered(lambda: options.command(options, console))
    except EngineError as error:
        _complain(console, error)
        return BAD_INPUT
    except ModuleNotFoundError as error:
        told = f"this needs {error.name}, which is not installed: pip install 'throughline[train]'"
        console.print(f"[red]error:[/] {escape(told)}", highlight=False, soft_wrap=True)
        return BAD_INPUT
    except Exception as error:
        # The trainer's errors are user-facing too, but importing it here would load torch.
        if type(error).__module__ != "trainer.errors":
            raise
        _complain(console, error)
        return BAD_INPUT
    except KeyboardInterrupt:
        console.print("stopped; nothing half-made was left behind")
        return 130


def _complain(console: Console, error: Exception) -> None:
    console.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)


def _build(options: argparse.Namespace, console: Console) -> int:
    module = importlib.import_module("engines.build")
    request = module.Request(
        source=options.source,
        output=options.output,
        kind=Kind(options.kind) if options.kind else None,
        backend=options.backend,
        precision=options.precision,
        max_batch=options.max_batch,
        size=options.size,
        end_to_end=options.end_to_end,
        compact=options.compact,
        normalisation=options.normalisation,
        licence=options.licence,
        sure=options.sure,
    )
    with console.status("building") as status:
        manifest, built = module.build(request, status.update, force=options.force)
    if options.json:
        print(json.dumps(_as_json(manifest) | {"path": str(options.output), "built": built}))
        return 0
    console.print(
        f"{'built' if built else 'already there'}: {options.output}", soft_wrap=True, markup=False
    )
    _print_manifest(manifest)
    return 0


def _export(options: argparse.Namespace, console: Console) -> int:
    export = importlib.import_module("engines.export")
    registry = importlib.import_module("trainer.model.registry")
    write = {Kind.GRL_STREAM: export.export_stream, Kind.GRL_CLIP: export.export_clip}
    with console.status(f"exporting {options.source.name}"):
        if options.source.suffix == ".safetensors":
            model = registry.load_model(options.source)
            kind = Kind(options.kind or Kind.GRL_STREAM)
            write.get(kind, export.export_backbone)(
                model, options.output, half=options.precision == "f16"
            )
        else:
            detectors = importlib.import_module("engines.detectors")
            size = options.size or (640, 640)
            detectors.export_detector(
                options.source, options.output, size, end_to_end=options.end_to_end
            )
            if options.precision == "f16":
                importlib.import_module("engines.graphs").halve(options.output)
    if options.json:
        print(json.dumps({"path": str(options.output), "bytes": options.output.stat().st_size}))
    else:
        console.print(
            f"written: {options.output} ({options.output.stat().st_size / 1e6:.1f} MB)",
            soft_wrap=True,
            markup=False,
        )
    return 0


def _verify(options: argparse.Namespace, console: Console) -> int:
    parity = importlib.import_module("engines.parity")
    building = importlib.import_module("engines.build")
    manifest = read_manifest(options.package)
    engine = open_engine(options.package)
    with console.status("comparing"):
        judge = building.reference(
            options.source,
            manifest.kind,
            size=manifest.input_size,
            head=manifest.head,
            normalisation=manifest.normalisation,
        )
        found = parity.compare(engine, judge, parity.batches_to_check(engine.max_batch))
    sound = found.cosine >= options.least_cosine and all(row.finite for row in found.rows)
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in found.rows], "sound": sound}))
    else:
        table = Table(
            "output", "batch", "largest difference", "least cosine", title=str(options.package)
        )
        for row in found.rows:
            table.add_row(row.output, str(row.batch), f"{row.largest:.2e}", f"{row.cosine:.6f}")
        Console().print(table)
        console.print(
            "agrees" if sound else f"[red]differs[/]: a cosine is below {options.least_cosine}"
        )
    return 0 if sound else 1


def _bench(options: argparse.Namespace, console: Console) -> int:
    bench = importlib.import_module("engines.bench")
    manifest = None if is_foreign(options.package) else read_manifest(options.package)
    engine = open_engine(options.package, precision=options.precision, threads=options.threads)
    batches = [n for n in options.batches if n <= engine.max_batch]
    if not batches:
        raise PackageError(f"{options.package} takes {engine.max_batch} pictures at once, at most")
    precision = options.precision or (manifest.precision if manifest else FASTEST)
    on_cpu = manifest is not None and manifest.device == "cpu" and precision != FASTEST
    with console.status("measuring") as status:
        peak = cache(partial(bench.cpu_peak, precision)) if on_cpu else None
        macs = manifest.macs if manifest else None
        timings = bench.time_engine(
            engine,
            batches,
            macs=macs,
            peak=peak,
            threads=(options.threads or os.cpu_count()) if on_cpu else None,
            seconds=options.seconds,
            report=status.update,
        )
        threads = sorted({row.threads for row in timings if row.threads})
        peaks = {n: peak(n) / 1e9 for n in threads} if peak else {}
    if options.json:
        rows = [row.as_json() for row in timings]
        print(json.dumps({"peak_gmacs_per_second_by_threads": peaks, "rows": rows}))
        return 0
    table = Table(
        "batch", "threads", "p50 ms", "p99 ms", "ms a picture", "pictures/s", "share of peak"
    )
    for row in timings:
        share = "–" if row.share_of_peak is None else f"{row.share_of_peak:.0%}"
        cells = (f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.p50_ms / row.batch:.2f}")
        counts = str(row.batch), str(row.threads or "–")
        table.add_row(*counts, *cells, f"{row.pictures_per_second:.0f}", share)
    Console().print(table)
    if peaks:
        told = ", ".join(f"{peak:.0f} GMAC/s on {n}" for n, peak in peaks.items())
        console.print(f"peak by threads: {told}; matrix products of 2048×2048, same precision")
    return 0


def _inspect(options: argparse.Namespace, console: Console) -> int:
    manifest = read_manifest(options.package)
    if options.json:
        print(json.dumps(_as_json(manifest)))
    else:
        _print_manifest(manifest)
    if options.check:
        open_engine(options.package).close()
        if manifest.has_ranges:  # as the live loop does
            open_engine(options.package, precision=FASTEST).close()
        console.print("opens on this machine")
    return 0


def _fetch(options: argparse.Namespace, console: Console) -> int:
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(options.name, total=None)
        path = fetch(
            options.name,
            options.output,
            lambda done, total: progress.update(task, completed=done, total=total or None),
        )
    weights, size = CATALOGUE[options.name], path.stat().st_size
    if options.json:
        print(json.dumps({"path": str(path), "bytes": size, **asdict(weights)}))
    else:
        console.print(
            f"{path}: {size / 1e6:.1f} MB, {weights.licence}, SHA-256 {weights.sha256}",
            soft_wrap=True,
            markup=False,
        )
    return 0


def _as_json(manifest: Manifest) -> dict[str, object]:
    return asdict(manifest) | {"key": manifest.key}


def _print_manifest(manifest: Manifest) -> None:
    table = Table(show_header=False, box=None)
    rows = {
        "kind": f"{manifest.kind}" + (f", {manifest.head} head" if manifest.head else ""),
        "network": manifest.network,
        "backend": f"{manifest.backend} {manifest.backend_version} on {manifest.device}, {manifest.precision}",
        "takes": f"1…{manifest.max_batch} pictures of {manifest.input_size[0]}×{manifest.input_size[1]}, uint8 BGR",
        "answers": ", ".join(
            f"{s.name} {'×'.join(map(str, s.shape[1:]))}" for s in manifest.outputs
        ),
        "work": f"{manifest.macs / 1e9:.2f} GMAC a picture" if manifest.macs else "not counted",
        "parity": ", ".join(f"{name} {value:.1e}" for name, value in manifest.parity.items())
        or "not compared",
        **({"int8": _quantised(manifest.quantisation)} if manifest.quantisation else {}),
        "source": f"{manifest.source} ({manifest.source_sha256[:12]}), {manifest.licence}",
        "again": manifest.command,
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def _quantised(how: Quantisation) -> str:
    kept = f", {len(how.kept)} layers kept in floating point" if how.kept else ""
    forced = ", forced" if how.forced else ""
    return f"{how.measure} {how.before:.4f} → {how.after:.4f} on {how.judged_on}{kept}{forced}"


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return count(height), count(width or height)


def _counts(text: str) -> list[int]:
    return [count(part) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engines",
        description="Turn networks into engines, check them, time them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="compile a network into a package")
    build.set_defaults(command=_build)
    build.add_argument(
        "source", type=Path, help="GRL weights (.safetensors), .pt, .yaml, .onnx or .xml"
    )
    build.add_argument("-o", "--output", type=Path, required=True, help="folder of the package")
    build.add_argument(
        "--kind", choices=[str(kind) for kind in Kind], help="default: told from the source"
    )
    build.add_argument("--backend", choices=BACKENDS, default="openvino")
    build.add_argument("--precision", choices=PRECISIONS, default="f32")
    build.add_argument("--max-batch", type=count, default=64)
    build.add_argument("--size", type=_size, help="HxW of an Ultralytics detector (640x640)")
    build.add_argument(
        "--end-to-end", action="store_true", help="the detector's NMS-free head, where it has one"
    )
    build.add_argument(
        "--compact",
        action="store_true",
        help="keep an OpenVINO package's weights in half precision: half the size on disk",
    )
    build.add_argument(
        "--normalisation", choices=NORMALISATIONS, help="what a foreign network wants of its pixels"
    )
    build.add_argument("--licence", help="to note in the manifest")
    build.add_argument(
        "--sure",
        type=between(0, 1),
        help="of a detector: the score from which a box may be of somebody new",
    )
    build.add_argument(
        "--force", action="store_true", help="build even if the same package is there"
    )

    export = commands.add_parser("export", help="write a network as an ONNX graph")
    export.set_defaults(command=_export)
    export.add_argument(
        "source", type=Path, help="GRL weights (.safetensors), or a detector (.pt, .yaml)"
    )
    export.add_argument("-o", "--output", type=Path, required=True, help="the .onnx file")
    export.add_argument("--kind", choices=[str(kind) for kind in Kind])
    export.add_argument("--precision", choices=("f32", "f16"), default="f32")
    export.add_argument("--size", type=_size)
    export.add_argument("--end-to-end", action="store_true")

    verify = commands.add_parser(
        "verify", help="compare a package with the network that it was made from"
    )
    verify.set_defaults(command=_verify)
    verify.add_argument("package", type=Path)
    verify.add_argument(
        "--source", type=Path, required=True, help="what the package was built from"
    )
    verify.add_argument(
        "--least-cosine",
        type=between(-1, 1),
        default=0.99,
        help="below it the exit code is 1 (0.99)",
    )

    bench = commands.add_parser("bench", help="time an engine against the machine's limit")
    bench.set_defaults(command=_bench)
    bench.add_argument("package", type=Path)
    bench.add_argument("--batches", type=_counts, default=[1, 4, 16], help="1,4,16")
    bench.add_argument("--seconds", type=between(0.01, 3600), default=2.0, help="a batch (2)")
    bench.add_argument("--threads", type=count)
    bench.add_argument(
        "--precision",
        choices=(*PRECISIONS, FASTEST),
        help="instead of what the package was built for",
    )

    inspect = commands.add_parser("inspect", help="what a package is")
    inspect.set_defaults(command=_inspect)
    inspect.add_argument("package", type=Path)
    inspect.add_argument("--check", action="store_true", help="open it too")

    download = commands.add_parser(
        "fetch", help="download official detector weights: " + ", ".join(CATALOGUE)
    )
    download.set_defaults(command=_fetch)
    download.add_argument("name")
    download.add_argument(
        "-o", "--output", type=Path, default=Path("weights"), help="folder (weights)"
    )

    for command in commands.choices.values():
        command.add_argument(
            "--json", action="store_true", help="machine-readable answer on standard output"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
