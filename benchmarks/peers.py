"""The whole pipeline beside others: the same videos, the same detector, the same cores.

    python -m benchmarks.peers          about half an hour
    python -m benchmarks.peers --quick  a tenth of the frames, one round

The rendered mall, scored against its truth, and a recorded clip of the test data (REID_TEST_DATA), for
time only. Every contestant runs in a process of its own, in turn. Peers know one camera at a time, so their
tracks are linked across cameras by the simplest fair rule: each goes to the identity that looks most alike,
if it is more alike than a threshold, which is the best there is on another seed of the site. Ours runs with
what the demonstration knows of the site. Networks with random weights count for time only. Writes
benchmarks/results/peers.json.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.machine import this_machine
from benchmarks.peer_runs import PEERS, Job
from benchmarks.synthetic import data_folder
from benchmarks.tables import peers_table
from benchmarks.tracker import ROOT, interpreter
from engines.build import Request, build
from engines.openvino import fastest
from engines.package import read_manifest, sha256
from pipeline.evaluation import evaluate
from pipeline.mot_text import MotBoxes, parse, read_truth
from pipeline.settings import DetectorSettings
from synthetic import SiteRequest, write_site
from trainer.compat import import_with_torchvision

Floats = NDArray[np.float64]
Answer = Mapping[str, NDArray[np.generic]]

RESULTS = Path(__file__).parent / "results" / "peers.json"
OURS = "throughline"
TIME_ONLY = ("ultralytics OpenVINO, re-ID", "BoxMOT")
"""Their re-ID networks have random weights here: the trained ones are downloads…"""
ENOUGH = 30
"""…and of each video they are given so many frames, ten of which warm up: their re-ID takes most of a second."""
MEASURES = ("frames_per_second", "processor_ms_per_frame", "peak_memory_mb", "latency_ms")
CLIP = "one-by-one-person-detection.mp4"
"""The other clip is a bare H.264 stream, which Ultralytics does not open."""
SITE, SEED, OTHER_SEED = "mall", 981, 982
"""Of no training: people of one seed keep build and cut of clothes whatever the palette."""
STAY_LOCAL = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
PATIENCE = 240
"""Seconds that a contestant has for a set of videos."""
THRESHOLDS = np.linspace(0.3, 0.98, 35)


def main() -> None:
    options = _options()
    if not options.weights.exists():
        print(
            f"no pipelines to compare: {options.weights} is not there; name a detector with --weights"
        )
        return
    console = Console(width=None if sys.stdout.isatty() else 150)
    machine = this_machine(["ultralytics", "openvino", "torch", "numpy"])
    rounds = 1 if options.quick else options.rounds
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        job = _job(folder, options.weights, options.embedder, options.size)
        seconds = 10 if options.quick else options.seconds
        sites = {seed: _site(folder / str(seed), seed, seconds) for seed in (SEED, OTHER_SEED)}
        clip = data_folder() / "clips" / CLIP
        sets = {SITE: _videos(sites[SEED])}
        if not options.quick and clip.exists():
            sets["clip"] = [str(clip)]
        names = options.only or [OURS, *PEERS]
        measured, answers, absent = _compete(console, names, job, sets, rounds)
        scores = {}
        for name in measured:
            if name == OURS:
                scores[name] = score(answers[name], sites[SEED], None)
            elif name not in TIME_ONLY:
                other, why = _one(name, job, _videos(sites[OTHER_SEED]))
                if other is None:
                    absent[name] = why
                    continue
                threshold = max(
                    THRESHOLDS,
                    key=lambda t, a=other: score(a, sites[OTHER_SEED], t)["idf1_across"],
                )
                scores[name] = score(answers[name], sites[SEED], float(threshold))
    report = {
        "machine": machine.as_json(),
        "command": shlex.join(["python", "-m", "benchmarks.peers", *sys.argv[1:]]),
        "detector": {"weights": options.weights.name, "size": list(options.size)},
        "rounds": rounds,
        "site": {"name": SITE, "seed": SEED, "seconds": seconds},
        "ratios": ratios(measured),
        "measured": measured,
        "scores": scores,
        "absent": absent,
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    console.print(peers_table(report), markup=False)
    console.print(f"written: {RESULTS}")


def _compete(
    console: Console, names: list[str], job: Job, sets: Mapping[str, list[str]], rounds: int
) -> tuple[dict[str, dict[str, dict[str, list[float]]]], dict[str, Answer], dict[str, str]]:
    """Figures of each round by contestant and set of videos; tracks on the site; who is absent."""
    measured: dict[str, dict[str, dict[str, list[float]]]] = {}
    tracks: dict[str, Answer] = {}
    absent: dict[str, str] = {}
    for turn in range(rounds):
        for name in names:
            for kind, videos in sets.items():
                if name in absent:
                    continue
                console.print(f"round {turn + 1}: {name} on the {kind}", style="dim")
                answer, why = _one(name, job, videos)
                if answer is None:
                    absent[name] = why
                    measured.pop(name, None)
                    console.print(f"  left out: {why}", style="yellow", markup=False)
                    continue
                if kind == SITE:
                    tracks[name] = answer
                for measure in MEASURES:
                    figures = measured.setdefault(name, {}).setdefault(kind, {})
                    figures.setdefault(measure, []).append(round(float(answer[measure]), 3))
    return measured, tracks, absent


def _one(name: str, job: Job, videos: list[str]) -> tuple[Answer | None, str]:
    """One contestant, once, in a fresh process; or None and why not."""
    with TemporaryDirectory() as scratch:
        given, answer = Path(scratch) / "job.json", Path(scratch) / "answer.npz"
        most = ENOUGH if name in TIME_ONLY else None
        own = replace(job, videos=videos, scratch=scratch, most=most)
        given.write_text(json.dumps(asdict(own)))
        try:
            python = _python(name)
        except subprocess.CalledProcessError as error:
            return None, f"cannot be installed: {error}"
        # -P: or this folder's modules would be taken for the packages of the same names
        command = [python, "-P", ROOT / "benchmarks" / "peer_runs.py", name, given, answer]
        try:
            done = subprocess.run(
                list(map(str, command)),
                env=os.environ | STAY_LOCAL | {"PYTHONPATH": str(ROOT)},
                cwd=scratch,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return None, f"it needed more than {PATIENCE / 60:.0f} minutes"
        if done.returncode:
            return None, (done.stderr.strip().splitlines() or ["it died"])[-1]
        with np.load(answer) as result:
            return dict(result), ""


def _python(name: str) -> Path:
    """The interpreter that has a peer; BoxMOT's gets the detector's library too."""
    python = interpreter(name)
    if name == "BoxMOT" and not list(python.parents[1].glob("lib/*/site-packages/ultralytics")):
        command = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "ultralytics",
            f"torch=={version('torch').split('+')[0]}",
        ]
        subprocess.run(command, check=True)
    return python


def score(answer: Answer, site: Path, threshold: float | None) -> dict[str, float]:
    """IDF1 within cameras, on average, and over all; `threshold` links tracks across cameras."""
    truth = {p.stem: read_truth(p) for p in sorted((site / "gt").glob("*.txt"))}
    tracks = {
        name: np.asarray(answer[f"{number}/rows"], np.float64) for number, name in enumerate(truth)
    }
    within = evaluate({name: parse(rows) for name, rows in tracks.items()}, truth)
    linked = within
    if threshold is not None:
        looks = [_looks(answer, number) for number in range(len(truth))]
        rows = link(list(tracks.values()), looks, threshold)
        linked = evaluate(dict(zip(truth, rows, strict=True)), truth)
    figures = {
        "idf1_within": float(np.mean([camera.idf1 for camera in within.cameras.values()])),
        "idf1_across": linked.overall.idf1,
    }
    return figures | ({} if threshold is None else {"threshold": threshold})


def _looks(answer: Answer, camera: int) -> dict[int, Floats]:
    ids, looks = answer[f"{camera}/tracks"], np.asarray(answer[f"{camera}/looks"], np.float64)
    return {int(track): look / np.linalg.norm(look) for track, look in zip(ids, looks, strict=True)}


def link(tracks: list[Floats], looks: list[dict[int, Floats]], threshold: float) -> list[MotBoxes]:
    """Cameras' MOT rows with global identities: in the order of their beginning, tracks go to the
    nearest mean look of those before, unless that one is in the same picture or too unlike.
    """
    spans = [
        (*_span(rows, int(track)), camera, int(track))
        for camera, rows in enumerate(tracks)
        for track in np.unique(rows[:, 1])
    ]
    sums: list[Floats | None] = []
    held: list[list[tuple[int, int, int]]] = []
    names: dict[tuple[int, int], int] = {}
    for first, last, camera, track in sorted(spans):
        look = looks[camera].get(track)
        best, chosen = threshold, -1
        for identity, total in enumerate(sums):
            if look is None or total is None or total.shape != look.shape:
                continue
            busy = any(c == camera and first <= e and b <= last for b, e, c in held[identity])
            likeness = float(look @ total) / float(np.linalg.norm(total))
            if not busy and likeness >= best:
                best, chosen = likeness, identity
        if chosen < 0:
            chosen = len(sums)
            sums.append(look)
            held.append([])
        elif look is not None and sums[chosen] is not None:
            sums[chosen] = sums[chosen] + look
        held[chosen].append((first, last, camera))
        names[camera, track] = chosen + 1
    result = []
    for camera, rows in enumerate(tracks):
        renamed = rows.copy()
        renamed[:, 1] = [names[camera, int(track)] for track in rows[:, 1]]
        result.append(parse(renamed))
    return result


def _span(rows: Floats, track: int) -> tuple[int, int]:
    frames = rows[rows[:, 1] == track, 0]
    return int(frames.min()), int(frames.max())


def ratios(
    measured: Mapping[str, Mapping[str, Mapping[str, list[float]]]],
) -> dict[str, dict[str, list[float]]]:
    """How many times as many frames per second ours does: least, median and most over rounds."""
    ours, found = measured.get(OURS), {}
    for name, sets in measured.items():
        if name != OURS and ours:
            found[name] = {
                kind: _spread(
                    np.divide(ours[kind]["frames_per_second"], figures["frames_per_second"])
                )
                for kind, figures in sets.items()
            }
    return found


def _spread(values: Floats) -> list[float]:
    return [round(float(f(values)), 2) for f in (np.min, np.median, np.max)]


def _job(folder: Path, weights: Path, embedder: Path, size: tuple[int, int]) -> Job:
    """The detector's two other forms, made from the same weights."""
    os.environ.update(STAY_LOCAL)
    copy = shutil.copy(weights, folder / "person-detector.pt")
    library = import_with_torchvision("ultralytics")
    export = library.YOLO(copy).export(
        format="openvino", imgsz=list(size), device="cpu", verbose=False
    )
    package = Path(DetectorSettings().package)
    shipped = read_manifest(package)
    if (shipped.source_sha256, shipped.input_size) != (sha256(Path(copy)), size):
        package = folder / "package"
        build(Request(Path(copy), package, precision=fastest(), size=size))
    threads = len(os.sched_getaffinity(0))
    return Job(
        [], str(copy), str(export), str(package), str(embedder.resolve()), size, threads, str(folder)
    )  # fmt: skip


def _site(folder: Path, seed: int, seconds: float) -> Path:
    write_site(SiteRequest(site=SITE, seed=seed, duration=seconds), folder)
    return folder


def _videos(site: Path) -> list[str]:
    return [str(site / f"{p.stem}.mp4") for p in sorted((site / "gt").glob("*.txt"))]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights", type=Path, default=ROOT / "models" / "person-detector.pt",
        help="the detector as Ultralytics trained it (.pt)",
    )  # fmt: skip
    parser.add_argument(
        "--embedder", type=Path, default=ROOT / "models" / "grl-edge", help="package"
    )
    parser.add_argument("--size", type=_pair, default=(448, 768), help="HxW of the detector")
    parser.add_argument("--only", nargs="+", choices=(OURS, *PEERS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40.0, help="of the rendered site (40)")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def _pair(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


if __name__ == "__main__":
    main()
