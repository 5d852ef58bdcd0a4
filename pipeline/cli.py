"""The command line: run cameras, score a run, and ask about or forget identities."""

import argparse
import importlib
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from engines.answering import answered
from engines.errors import EngineError
from pipeline.errors import FeedError, OutputError, PipelineError, SettingsError
from pipeline.ingest import CameraState
from pipeline.ingest.redact import redact
from pipeline.known import find_people, forget_person, list_people
from pipeline.run import RunOptions
from pipeline.settings import CameraSettings, Settings, load_settings
from pipeline.terminal import score_table, watched_run

BAD_INPUT = 2
EXAMPLES = """examples:
  python run_pipeline.py rtsp://10.0.0.7/stream rtsp://10.0.0.8/stream
  python run_pipeline.py --site site.toml --output runs/today
  python run_pipeline.py hall.mp4 court.mp4 --as-fast-as-possible --embedder osnet.onnx
  python run_pipeline.py --demo
  python run_pipeline.py evaluate runs/demo --truth runs/demo/site
  python run_pipeline.py list runs/today
  python run_pipeline.py find runs/today --image crop.jpg
  python run_pipeline.py forget runs/today 17
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Answers the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands = {
        "evaluate": _evaluate,
        "list": list_people,
        "find": find_people,
        "forget": forget_person,
    }
    console = Console(stderr=True)
    try:
        command = commands.get(words[0]) if words else None
        run = partial(command, words[1:]) if command else partial(_run, words)
        return answered(lambda: run(console))
    except (PipelineError, EngineError) as error:
        console.print(
            f"[red]error:[/] {escape(redact(str(error)))}", highlight=False, soft_wrap=True
        )
        return BAD_INPUT


def _run(words: Sequence[str], console: Console) -> int:
    options = _run_parser().parse_args(words)
    settings = _settings(options)
    output = options.output or Path("runs") / time.strftime("%Y-%m-%d-%H%M%S")
    if options.demo:
        demo = importlib.import_module("pipeline.demo")  # it alone needs the synthetic site
        code: int = demo.demo(
            settings, options.output or Path("runs/demo"), console, options.duration
        )
        return code
    chosen = RunOptions(
        output=output,
        duration=options.duration,
        every_frame=options.as_fast_as_possible,
        video=not options.no_video,
        record=options.record,
    )
    summary = watched_run(settings, chosen, console)
    files = "events, tracks and report" if options.no_video else "events, tracks, video and report"
    told = f"{summary['identities']} people; {files} in {output}"
    console.print(told, markup=False, soft_wrap=True)
    earlier = summary["earlier"]
    assert isinstance(earlier, list)
    if earlier:
        told = f"the run before it is in {output / earlier[-1]}"
        console.print(told, markup=False, soft_wrap=True)
    if settings.uncalibrated:
        console.print(settings.uncalibrated, markup=False, highlight=False, soft_wrap=True)
    if options.json:
        print(json.dumps(summary))
    whole = options.duration is not None and float(str(summary["seconds"])) >= options.duration
    _complain(summary, console, whole)
    return 0


def _complain(summary: Mapping[str, object], console: Console, whole: bool) -> None:
    """One line for each camera in trouble; an error where an output failed or no camera gave a picture.

    `whole`: nobody ended the run early, so that a live camera had the time it was given.
    """
    cameras, failed = summary["cameras"], summary["failed_outputs"]
    assert isinstance(cameras, dict)
    assert isinstance(failed, dict)
    for name, camera in cameras.items():
        if camera["error"]:
            console.print(f"camera {name}: {camera['error']}", markup=False, soft_wrap=True)
    if all(
        camera["state"] == CameraState.FAILED or (whole and not camera["frames"])
        for camera in cameras.values()
    ):
        raise FeedError("no camera gave a single picture")
    if failed:
        troubles = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise OutputError(f"not everything could be written ({troubles}), but the rest is complete")


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_pipeline.py",
        description="Follow people across cameras: streams in, lasting identities out.",
        epilog=EXAMPLES + "\nother commands: evaluate, list, find, forget (each with --help)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "address",
        nargs="*",
        help="rtsp://…, http://…, a video file, a folder of pictures, webcam:0…",
    )
    parser.add_argument("--site", type=Path, help="TOML file with cameras and settings")
    parser.add_argument("--detector", help="engine package, or an ONNX graph")
    parser.add_argument("--embedder", help="engine package, or an ONNX graph or OpenVINO IR")
    parser.add_argument("--output", type=Path, help="folder of the run (runs/<time>)")
    parser.add_argument("--duration", type=_seconds, help="seconds, then stop")
    parser.add_argument(
        "--as-fast-as-possible", action="store_true", help="files completely, not in real time"
    )
    parser.add_argument("--no-video", action="store_true", help="leave out the annotated videos")
    parser.add_argument(
        "--record",
        action="store_true",
        help="keep boxes and embeddings (no pictures) for two weeks, for `python -m calibration`",
    )
    parser.add_argument(
        "--demo", action="store_true", help="a rendered site through the whole system"
    )
    parser.add_argument("--json", action="store_true", help="the summary on standard output")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"must be above 0 seconds, not {text}")
    return seconds


def _settings(options: argparse.Namespace) -> Settings:
    settings = load_settings(options.site) if options.site else Settings()
    cameras = tuple(CameraSettings(address) for address in options.address)
    settings = replace(settings, camera=settings.camera + cameras)
    if options.detector:
        settings = replace(settings, detector=replace(settings.detector, package=options.detector))
    if options.embedder:
        settings = replace(settings, embedder=replace(settings.embedder, package=options.embedder))
    if not settings.camera and not options.demo:
        raise SettingsError(
            "there is no camera: name at least one address, a site with --site, or --demo"
        )
    return settings


def _evaluate(words: Sequence[str], console: Console) -> int:
    parser = argparse.ArgumentParser(
        prog="run_pipeline.py evaluate", description="Score a run against the truth."
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--truth", type=Path, required=True, help="folder with gt/<camera>.txt")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    from pipeline.evaluation import evaluate_run  # noqa: PLC0415 (needs an extra)

    found = evaluate_run(options.run, options.truth)
    if options.json:
        print(found.to_json())
    else:
        Console().print(score_table(found))
    return 0
