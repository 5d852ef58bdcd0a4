"""How good the detector is, beside YOLOX-nano: on rendered people never seen in training, and on real ones.

    python -m benchmarks.detector                      # about three minutes; one and a half once rendered
    python -m benchmarks.detector --sheet misses.png   # also the worst misses, to look at

Rendered: AP50 of people of whom at least 0.3 shows, others ignored; recall and precision at the scores from which the
tracker continues a track and founds one; what is missed and why; and what AP50 would be without each sort of trouble.
Real: two clips of the test data, see `REID_TEST_DATA`. Their truth is unknown: so how far the two detectors agree,
and recall and precision on a few dozen frames that we labelled by eye (`real_people.json`).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.judging import Judged, false_boxes, judged, misses, people_of, traits, what_if
from benchmarks.known_people import (
    LEAST_VISIBLE,
    Scene,
    every,
    labelled_people,
    rendered_people,
)
from benchmarks.machine import this_machine
from benchmarks.miss_sheet import write_sheet
from benchmarks.synthetic import data_folder
from calibration.int8.likeness import overlaps
from engines.errors import EngineError
from pipeline.errors import PipelineError
from pipeline.frames import Detections, Frame
from pipeline.networks import open_detector, open_fastest
from pipeline.settings import DetectorSettings
from pipeline.track import TrackerSettings
from pipeline.zones import Detect

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "detector.json"
SEED, FRAMES, SIZE = 978, 400, (640, 360)
"""The seed is used nowhere else."""
DOUBTFUL, SURE = TrackerSettings().doubtful, TrackerSettings().sure
"""Scores from which a detection continues a track, and founds one."""
OURS, RIVAL = "person-detector", "yolox_nano"
HEIGHTS = (0, 40, 60, 80, 120, 180, 1000)
VISIBILITIES = (LEAST_VISIBLE, 0.5, 0.7, 0.9, 1.01)
STEP, BATCH, LEAST = 4, 16, 0.01
"""Every which frame of a clip is asked for, frames at once, and the least score that is looked at."""
Figures: TypeAlias = dict[str, object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and rewrite the results. Answers the exit code."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.detector",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--detector", default=DetectorSettings().package, help="package, or ONNX")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"to render ({FRAMES})")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "detector")
    parser.add_argument("--sheet", type=Path, help="picture of the worst misses (.png)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go")
    options = parser.parse_args(arguments)
    console = Console(width=150)
    try:
        report = measure(options, console)
    except (PipelineError, EngineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print_tables(console, report)
    console.print(f"written: {options.output}")
    return 0


def measure(options: argparse.Namespace, console: Console) -> Figures:
    """All figures of both detectors."""
    machine = this_machine(["openvino", "numpy", "av"]).as_json()
    data = data_folder()
    paths = {OURS: Path(options.detector), RIVAL: data / "models" / "yolox_nano.onnx"}
    detectors = {
        name: opened(path) for name, path in paths.items() if name == OURS or path.exists()
    }
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("rendering", total=options.frames)
        scenes = rendered_people(
            options.seed, options.frames, SIZE, options.cache, lambda: progress.advance(bar)
        )
    with console.status("rendered frames"):
        of = {name: judged(scenes, people(detect, scenes)) for name, detect in detectors.items()}
    if options.sheet:
        write_sheet(of[OURS], SURE, options.sheet)
    report: Figures = {
        "machine": machine,
        "command": "python -m benchmarks.detector",
        "detector": Path(options.detector).name,
        "scores": {"doubtful": DOUBTFUL, "sure": SURE},
        "rendered": {
            "seed": options.seed,
            "frames": len(scenes),
            "people": int(sum(scene.counted.sum() for scene in scenes)),
            "detectors": {name: on_rendered(one) for name, one in of.items()},
        },
    }
    clips = data / "clips"
    if clips.is_dir() and RIVAL in detectors:
        with console.status("real clips"):
            report["real"] = on_clips(detectors, clips)
    else:
        report["absent"] = "YOLOX-nano and real clips: no test data here, see REID_TEST_DATA"
    return report


def opened(path: Path) -> Detect:
    """A detector as the pipeline opens it, but one that also says what it is hardly sure of."""
    return open_detector(DetectorSettings(str(path), score=LEAST), open_fastest)


def people(detect: Detect, scenes: Sequence[Scene]) -> list[Detections]:
    """What it finds in each."""
    return found_in(detect, [scene.image for scene in scenes])


def found_in(detect: Detect, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
    frames = [Frame("", number, 0.0, image) for number, image in enumerate(images)]
    found: list[Detections] = []
    for start in range(0, len(frames), BATCH):
        found += detect(frames[start : start + BATCH])
    return found


def on_rendered(of: Judged) -> Figures:
    """Where all is known."""
    told = people_of(of.scenes)
    kinds = traits(of.scenes)
    return {
        "ap50": of.ap,
        "found_at_all": of.recall(LEAST),
        **working_points(of),
        "recall_by_height": _by(of, told["height"], HEIGHTS),
        "recall_by_visibility": _by(of, told["visibility"], VISIBILITIES),
        "recall_by_trait": {
            kind: {"people": int(who.sum()), "recall": of.recall(SURE, who)}
            for kind, who in kinds.items()
        },
        "misses": {
            cause: {"people": int(who.sum())}
            | {kind: int((who & trait).sum()) for kind, trait in kinds.items()}
            for cause, who in misses(of, SURE).items()
        },
        "false_boxes": {
            kind: {
                name: int((which & (of.scores >= least)).sum())
                for name, least in (("sure", SURE), ("doubtful", DOUBTFUL))
            }
            for kind, which in false_boxes(of).items()
        },
        "ap50_if": what_if(of),
    }


def working_points(of: Judged) -> Figures:
    """Recall and precision at the tracker's two scores."""
    return {
        name: {"recall": of.recall(least), "precision": of.precision(least)}
        for name, least in (("sure", SURE), ("doubtful", DOUBTFUL))
    }


def on_clips(detectors: Mapping[str, Detect], clips: Path) -> Figures:
    """By clip: agreement over the whole of it, and scores on its labelled frames."""
    told: Figures = {}
    for clip, scenes in labelled_people(clips).items():
        images = [image for _, image in every(clips / clip, STEP)]
        found = {name: found_in(detect, images) for name, detect in detectors.items()}
        labelled = {name: judged(scenes, people(d, scenes)) for name, d in detectors.items()}
        told[clip] = {
            "frames": len(images),
            "agreement": {
                name: agreement(found[name], found[OURS if name == RIVAL else RIVAL])
                for name in detectors
            },
            "labelled_frames": len(scenes),
            "labelled_people": int(sum(scene.counted.sum() for scene in scenes)),
            "labelled": {
                name: {"ap50": of.ap, **working_points(of)} for name, of in labelled.items()
            },
        }
    return told


def agreement(of: Sequence[Detections], other: Sequence[Detections]) -> Figures:
    """How many of the other's sure boxes these have too, with a score that the pipeline keeps."""
    wanted = found = 0
    for ours, theirs in zip(of, other, strict=True):
        sure = theirs.boxes[theirs.scores >= SURE]
        shared = overlaps(ours.boxes[ours.scores >= DOUBTFUL], sure)
        wanted += len(sure)
        found += int((shared.max(axis=0, initial=0) >= 0.5).sum())
    return {"boxes": wanted, "share": found / wanted if wanted else None}


def print_tables(console: Console, report: Figures) -> None:
    """For people; the rest is in the file."""
    rendered = report["rendered"]
    assert isinstance(rendered, dict)
    of = rendered["detectors"]
    table = Table(
        "", *of, title=f"rendered: {rendered['people']} people, {rendered['frames']} frames"
    )
    first = of[OURS]
    for name in ("ap50", "found_at_all"):
        table.add_row(name, *(f"{one[name]:.3f}" for one in of.values()))
    for point, least in (("sure", SURE), ("doubtful", DOUBTFUL)):
        cells = (
            f"{one[point]['recall']:.3f} / {one[point]['precision']:.3f}" for one in of.values()
        )
        table.add_row(f"recall / precision, score ≥ {least}", *cells)
    for part in ("recall_by_height", "recall_by_visibility", "recall_by_trait"):
        table.add_section()
        for kind, told in first[part].items():
            cells = (f"{one[part][kind]['recall']:.3f}" for one in of.values())
            table.add_row(f"recall, {kind} ({told['people']})", *cells)
    table.add_section()
    for cause in first["misses"]:
        table.add_row(
            f"missed: {cause}", *(str(one["misses"][cause]["people"]) for one in of.values())
        )
    for kind in first["false_boxes"]:
        cells = (
            "{sure} (doubtful: {doubtful})".format(**one["false_boxes"][kind])
            for one in of.values()
        )
        table.add_row(f"false: {kind}", *cells)
    table.add_section()
    for name in first["ap50_if"]:
        table.add_row(f"AP50 {name}", *(f"{one['ap50_if'][name]:.3f}" for one in of.values()))
    console.print(table)
    real = report.get("real", {})
    assert isinstance(real, dict)
    for clip, told in real.items():
        console.print(f"{clip}: {json.dumps(told['agreement'])}\n  {json.dumps(told['labelled'])}")


def _by(of: Judged, values: NDArray[np.float64], edges: Sequence[float]) -> dict[str, Figures]:
    """Recall of the people between two edges."""
    told: dict[str, Figures] = {}
    for low, high in pairwise(edges):
        who = (values >= low) & (values < high)
        if who.any():
            told[f"{low:g}–{high:g}"] = {"people": int(who.sum()), "recall": of.recall(SURE, who)}
    return told


if __name__ == "__main__":
    sys.exit(main())
