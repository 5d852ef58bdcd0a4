"""`ranges`: what a detector's package lacks to be computed in eight bits on CPUs, measured and put beside its plan."""

import argparse
import json
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from calibration.errors import RefusedError, UsageError
from calibration.int8 import judges
from calibration.int8.samples import Samples, frame_samples
from calibration.sets import check_set
from engines.eight_bits import Ranges, as_text, in_eight_bits, inputs_of_products, measure
from engines.openvino import OpenVINOEngine, read
from engines.options import seed
from engines.package import (
    RANGES,
    Kind,
    Manifest,
    Quantisation,
    check_files,
    read_manifest,
    reissue,
)

EXAMPLES = """examples:
  python -m calibration collect --site site.toml -o sets/hall --frames 300
  python -m calibration ranges engines-here/people --data sets/hall
  python -m synthetic detect --images 300 --out runs/detect
  python -m calibration ranges models/person-detector --labels runs/detect

The package stays what it is, and computes in eight bits too from then on: in the live loop wherever a processor
multiplies bytes faster (AVX-512 VNNI, AVX-VNNI, AMX), unless [detector] precision says otherwise. The first and the
last layers stay as they are. Nothing is written if more than 1 point of AP50 is lost on --labels, or without them more
than 3 against the network's own detections. Other networks, backends and GPUs: `python -m calibration int8`.
"""
_HELD_BACK = 48
"""Frames that judge where there are no labels."""
_THEN = " && python -m calibration ranges "
_AT_ONCE = 4
"""Frames: more is no faster, and every size takes time to open."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", type=Path, help="of a detector, for OpenVINO in f32")
    parser.add_argument(
        "--data",
        type=Path,
        help="frames to measure on: a set of `collect`, or any folder (--labels)",
    )
    parser.add_argument("--labels", type=Path, help="what decides, in YOLO layout")
    parser.add_argument("--pictures", type=int, default=64, help="to measure on (64)")
    parser.add_argument("--seed", type=seed, default=0, help="which pictures are drawn (0)")
    parser.add_argument(
        "--force", action="store_true", help="write them although too much is lost, and say so"
    )
    parser.add_argument("--json", action="store_true", help="the outcome on standard output")


def run(options: argparse.Namespace) -> int:
    """Answers the exit code."""
    data = options.data or options.labels
    if data is None:
        raise UsageError("there is nothing to measure on: give --data, --labels, or both")
    if options.pictures < 1:
        raise UsageError("--pictures begins at 1")
    check_set(data)
    options.package = options.package.resolve()
    manifest = _suitable(options.package)
    plan, console = options.package / manifest.plan, Console(stderr=True)
    held_back = 0 if options.labels else _HELD_BACK
    frames = frame_samples(data, manifest.input_size, options.pictures + held_back, options.seed)
    pictures = frames.steps[0]
    cut = min(held_back, len(pictures) // 3)
    rows = track(pictures[cut:], "measuring", console=console, transient=True)
    ranges = measure(read(plan), rows)
    quantisation = _judged(manifest, plan, ranges, frames, cut, options)
    reissue(
        options.package,
        replace(manifest, quantisation=quantisation, command=_command(manifest)),
        options.package,
        {RANGES: as_text(ranges)},
    )
    if options.json:
        print(json.dumps({"package": str(options.package)} | asdict(quantisation)))  # noqa: T201
    else:
        console.print(
            f"{quantisation.measure} {quantisation.before:.4f} → {quantisation.after:.4f} in eight bits "
            f"({quantisation.judged_on}; {quantisation.layers} layers); written: {options.package / RANGES}",
            markup=False,
            soft_wrap=True,
        )
    return 0


def _command(manifest: Manifest) -> str:
    """What makes it again: the package, and then its ranges."""
    return f"{manifest.command.partition(_THEN)[0]}{_THEN}{shlex.join(sys.argv[2:])}"


def _suitable(package: Path) -> Manifest:
    manifest = read_manifest(package)
    what = (manifest.kind, manifest.backend, manifest.precision)
    if what != (Kind.DETECTOR, "openvino", "f32"):
        raise UsageError(
            f"{package} is a {manifest.kind} for {manifest.backend} in {manifest.precision}: ranges are for detectors "
            "for openvino in f32; `python -m calibration int8` knows others"
        )
    check_files(package, manifest)
    if not inputs_of_products(read(package / manifest.plan)):
        raise UsageError(f"{package} has no layer that could compute in eight bits")
    return manifest


def _judged(
    manifest: Manifest,
    plan: Path,
    ranges: Ranges,
    frames: Samples,
    held_back: int,
    options: argparse.Namespace,
) -> Quantisation:
    """What eight bits cost, or `RefusedError` if that is more than is allowed."""
    whole, rounded = read(plan), read(plan)
    layers = sum(map(len, inputs_of_products(rounded).values()))
    in_eight_bits(rounded, ranges)
    exact = OpenVINOEngine(whole, precision="f32", max_batch=_AT_ONCE)
    coarse = OpenVINOEngine(rounded, precision="int8", max_batch=_AT_ONCE)
    judge: judges.Judge
    if options.labels:
        judge = judges.LabelledDetector(manifest, judges.labelled_pictures(options.labels, 300))
    else:
        judge = judges.DetectorAgreement(manifest, exact, list(frames.steps[0, :held_back]))
    before, after = judge(exact), judge(coarse)
    bad = not before - after <= judge.allowed
    if bad and not options.force:
        raise RefusedError(
            f"{options.package} in eight bits loses {100 * (before - after):.2f} points of {judge.measure} "
            f"({before:.4f} → {after:.4f}; {judge.judged_on}), and {100 * judge.allowed:g} are allowed: nothing was "
            "written. Give pictures that are more like the site's, or --force"
        )
    return Quantisation(
        method="inputs and weights of inner products, when the package is opened in int8",
        data=frames.source,
        layers=layers,
        kept=(),
        measure=judge.measure,
        judged_on=judge.judged_on,
        before=before,
        after=after,
        allowed=judge.allowed,
        forced=bad,
    )
