"""What calibrating a site is worth: `python -m benchmarks.calibration`

One day of a rendered mall is recorded and calibrated from; other days of the same cameras, with other people, are
then followed uncalibrated and with each of the calibrations. The detector looks at every frame once; the other runs
are given what it found. Besides the scores: how many strangers really are as alike on those other days as the
thresholds allow, and whether the ways between cameras are the true ones.
"""

import argparse
import json
import math
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.machine import this_machine
from calibration.__main__ import main as calibrate
from calibration.errors import CalibrationError
from calibration.labelled import true_people
from calibration.looks import cosines, looks_of
from calibration.rates import Threshold, thresholds
from calibration.record import read_record
from calibration.strangers import surely, told_by
from pipeline.errors import PipelineError
from pipeline.evaluation import Evaluation, evaluate_run
from pipeline.frames import Detections, Frame
from pipeline.networks import open_detector, open_fastest
from pipeline.run import RunOptions, run
from pipeline.settings import CameraSettings, Settings, load_settings
from pipeline.zones import Detect
from synthetic import SiteRequest, write_site
from synthetic.errors import SyntheticError

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "calibration.json"
SITE, FPS, SIZE = "mall", 12.5, (768, 432)
LEARNED, LEARNED_SECONDS = 810, 240.0
HELD_OUT, HELD_OUT_SECONDS = (841, 842, 843), 60.0
"""Seeds of the day to learn from, and of those that nothing was chosen by."""
RATES = (1e-2, 1e-3)
PACKAGES = ("openvino", "numpy", "scipy")
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "as installed": (),
    "likeness": ("likeness",),
    "likeness, from labels": ("labelled",),
    "likeness, travel": ("likeness", "travel"),
    "floor": ("floor",),
    "floor, travel": ("floor", "travel"),
    "floor, likeness": ("floor", "likeness"),
    "floor, likeness from labels": ("floor", "labelled"),
    "floor, likeness, travel": ("floor", "likeness", "travel"),
}
"""Which calibrations each variant has, in the order in which they are written into its site's file."""
Row: TypeAlias = dict[str, float]


class CalibrationFailed(Exception):
    """A calibration answered with an error."""


@dataclass(slots=True)
class Remembered:
    """A detector that looks at each picture once."""

    detect: Detect
    found: dict[tuple[str, int], Detections]

    def __call__(self, frames: Sequence[Frame]) -> Sequence[Detections]:
        new = [frame for frame in frames if (frame.camera, frame.index) not in self.found]
        for frame, detections in zip(new, self.detect(new) if new else (), strict=True):
            self.found[frame.camera, frame.index] = detections
        return [self.found[frame.camera, frame.index] for frame in frames]


def main() -> int:
    """Measure, print, and rewrite the results. Answers the exit code."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.calibration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=HELD_OUT, help="of the other days")
    parser.add_argument("--learn-from", type=int, default=LEARNED, metavar="SEED")
    parser.add_argument("--learn-seconds", type=float, default=LEARNED_SECONDS)
    parser.add_argument("--seconds", type=float, default=HELD_OUT_SECONDS, help="of each other day")
    parser.add_argument(
        "--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT",
        help="calibrations to follow with; without any that needs a record, none is made (all): "
        + ", ".join(VARIANTS),
    )  # fmt: skip
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "calibration")
    parser.add_argument("--processes", type=int, default=1, help="to render with (1)")
    parser.add_argument(
        "--output", type=Path,
        help="where the figures go (the README's results; with --only, nowhere)",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        report = measure(options)
    except (PipelineError, SyntheticError, CalibrationError, CalibrationFailed, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    output = options.output or (RESULT if set(options.only) == set(VARIANTS) else None)
    if output:  # a part must not take the place of the whole
        output.parent.mkdir(exist_ok=True)
        output.write_text(json.dumps(report, indent=1) + "\n")
    print_table(Console(width=150), report)
    return 0


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Learn from one day, then follow the others with each calibration."""
    machine = this_machine(PACKAGES).as_json()
    variants = {name: VARIANTS[name] for name in options.only}
    scores: dict[str, list[Row]] = {name: [] for name in variants}
    realised: list[dict[str, float]] = []
    detect = open_detector(Settings().detector, open_fastest)
    with Progress(console=Console(stderr=True)) as progress:
        days = len(options.seeds) * len(variants) + 2
        task = progress.add_task("a day to learn from", total=days)
        learned = _day(options, options.learn_from, options.learn_seconds)
        recorded, limits = learned / "recorded", list[Threshold]()
        if not all(calibrations == ("floor",) for calibrations in variants.values()):
            _followed(learned, recorded.name, None, Remembered(detect, {}), record=True)
            limits = _limits(recorded)
        progress.advance(task)
        sites = options.cache / "sites"
        shutil.rmtree(sites, ignore_errors=True)
        files = {
            name: _calibrated(sites / f"{number}", calibrations, recorded, learned)
            for number, (name, calibrations) in enumerate(variants.items())
        }
        progress.advance(task)
        for seed in options.seeds:
            day, remembered = _day(options, seed, options.seconds), Remembered(detect, {})
            for name, site in files.items():
                progress.update(task, description=f"day {seed}, {name}")
                out = _followed(day, "run", site, remembered, record=site is None)
                scores[name].append(_row(evaluate_run(out, day)))
                if site is None:
                    realised.append(_realised(out, day, limits))
                progress.advance(task)
    return {
        "machine": machine,
        "command": shlex.join(["python", "-m", "benchmarks.calibration", *sys.argv[1:]]),
        "site": {"name": SITE, "fps": FPS, "size": SIZE, "seconds": options.seconds},
        "learned_from": {
            "seed": options.learn_from,
            "seconds": options.learn_seconds,
            "ways": _ways(files, learned),
        },
        "seeds": list(options.seeds),
        "scores": scores,
        "realised_false_matches": {
            f"{limit.rate:g}": [day[f"{limit.rate:g}"] for day in realised] for limit in limits
        },
    }


def print_table(console: Console, report: Mapping[str, object]) -> None:
    scores, realised = report["scores"], report["realised_false_matches"]
    assert isinstance(scores, dict)
    assert isinstance(realised, dict)
    table = Table("calibrated", "IDF1 across", "by day", "within", "links P / R", title=SITE)
    for name, rows in scores.items():
        mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        days = " ".join(f"{100 * row['across']:.1f}" for row in rows)
        links = f"{mean['link_precision']:.2f} / {mean['link_recall']:.2f}"
        table.add_row(
            name, f"{100 * mean['across']:.1f}", days, f"{100 * mean['within']:.1f}", links
        )
    console.print(table)
    for rate, shares in realised.items():
        told = ", ".join(f"{share:.4f}" for share in shares)
        console.print(f"false matches wanted {rate}: on the other days {told}", highlight=False)


def _day(options: argparse.Namespace, seed: int, seconds: float) -> Path:
    """A rendered day; what was rendered before stays."""
    folder: Path = options.cache / f"{SITE}-{seed}-{seconds:g}"
    if not (folder / "site.json").exists():
        write_site(SiteRequest(SITE, seed, seconds, FPS, SIZE), folder, options.processes)
    return folder


def _followed(
    day: Path, name: str, site: Path | None, detect: Detect, *, record: bool = False
) -> Path:
    """The folder of a run over a whole day, with the settings of a site's file."""
    output = day / name
    shutil.rmtree(output, ignore_errors=True)
    known = load_settings(site) if site else Settings()
    cameras = tuple(CameraSettings(str(path)) for path in sorted(day.glob("*.mp4")))
    options = RunOptions(output, every_frame=True, video=False, start=0.0, record=record)
    run(replace(known, camera=cameras), options, detect=detect)
    return output


def _calibrated(
    folder: Path, calibrations: Sequence[str], recorded: Path, day: Path
) -> Path | None:
    """The site's file after those calibrations; None where there are none."""
    if not calibrations:
        return None
    folder.mkdir(parents=True)
    site = folder / "site.toml"
    words = {
        "floor": ("ground", "--known", str(day / "site.json")),
        "likeness": ("threshold", str(recorded)),
        "labelled": ("threshold", str(recorded), "--truth", str(day)),
        "travel": ("travel", str(recorded)),
    }
    for number, calibration in enumerate(calibrations):
        page = str(folder / f"{number}-{calibration}.html")
        _calibrate(*words[calibration], "--site", str(site), "--page", page)
    return site


def _ways(files: Mapping[str, Path | None], day: Path) -> list[dict[str, object]]:
    """The ways that were learned, beside the true ones of that day."""
    site = files.get("likeness, travel")
    if site is None:
        return []
    truth = json.loads((day / "site.json").read_text())["travel_times"]
    return [
        {
            "origin": way.origin,
            "target": way.target,
            "median": way.median,
            "true_median": truth.get(f"{way.origin}>{way.target}", {}).get("median"),
            "true_journeys": truth.get(f"{way.origin}>{way.target}", {}).get("count", 0),
        }
        for way in load_settings(site).travel
    ]


def _calibrate(*words: str) -> None:
    said = StringIO()
    with redirect_stderr(said):
        code = calibrate(words)
    if code:
        raise CalibrationFailed(f"calibration {words[0]}: {said.getvalue().strip()}")


def _limits(recorded: Path) -> list[Threshold]:
    """Cosines for the wanted rates, learned without labels."""
    looks = looks_of(read_record(recorded))
    found = thresholds(looks, surely(looks), RATES)
    return [limit for limit in found if limit.frames is None]


def _realised(output: Path, day: Path, limits: Sequence[Threshold]) -> dict[str, float]:
    """Share of strangers in two cameras who are more alike than each limit."""
    record = read_record(output)
    looks = looks_of(record)
    apart = told_by(looks, true_people(record, day)[looks.tracklet])
    cosine = cosines(looks.embeddings, apart.one, apart.other)
    return {f"{limit.rate:g}": float((cosine > limit.cosine).mean()) for limit in limits}


def _row(outcome: Evaluation) -> Row:
    links = outcome.links_across
    return {
        "across": outcome.overall.idf1,
        "linked_by_truth": outcome.truth_linked.idf1,
        "within": float(np.mean([camera.idf1 for camera in outcome.cameras.values()])),
        "link_precision": 0.0 if math.isnan(links.precision) else links.precision,
        "link_recall": 0.0 if math.isnan(links.recall) else links.recall,
    }


if __name__ == "__main__":
    sys.exit(main())
