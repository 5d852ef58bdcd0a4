"""Trackers against each other, on the same detections in the same run.

    python -m benchmarks.tracker                 everything, about ten minutes
    python -m benchmarks.tracker --rounds 1      quicker, less sure
    python -m benchmarks.tracker --sensitivity   how much each of our settings matters

MOT17-05 and -09 with their public detections where the data are there (REID_TEST_DATA), and crowds
of our own. Peers are installed into environments of their own under .cache/peers. Writes
benchmarks/results/tracker.json and tracker.png.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import lap
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from benchmarks.contestants import CONTESTANTS, throughline
from benchmarks.contestants import run as run_one
from benchmarks.machine import this_machine
from benchmarks.sequences import CROWDS, Case, crowd_cases, mot_cases, packed
from pipeline.assignment import assign
from pipeline.evaluation import evaluate
from pipeline.mot_text import parse
from pipeline.track import Tracker, TrackerSettings
from pipeline.track.association import colourless, overlapping
from pipeline.track.motion import Motion, begin

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PEERS = ROOT / ".cache" / "peers"
OURS = "throughline"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One tracker on one case."""

    microseconds: float
    """Per frame: the median over frames of a round, and the median over rounds."""
    fastest: float
    slowest: float
    """The same median of the fastest and of the slowest round."""
    hota: float | None
    idf1: float | None
    mota: float | None


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=3, help="runs of every tracker, in turn")
    options.add_argument("--only", nargs="*", help="names of the trackers to run")
    options.add_argument(
        "--sensitivity", action="store_true", help="vary our settings by a quarter"
    )
    asked = options.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    where = this_machine(["numpy", "numba", "scipy", "ultralytics", "trackeval"])
    cases = dict(mot_cases()) | dict(crowd_cases())
    if asked.sensitivity:
        print_sensitivity(console, {k: c for k, c in cases.items() if c.truth is not None})
        return
    names = asked.only or list(CONTESTANTS)
    outcomes, absent = compete(console, names, cases, asked.rounds)
    limits = {name: alone(case) for name, case in cases.items() if name.startswith("crowd")}
    report = {
        "machine": replace(where, versions=where.versions | peer_versions()).as_json(),
        "command": "python -m benchmarks.tracker",
        "rounds": asked.rounds,
        "people_per_frame": {
            n: float(np.mean([*map(len, c.detections)])) for n, c in cases.items()
        },
        "ratios": ratios(outcomes),
        "growth": {name: growth(of) for name, of in outcomes.items()},
        "outcomes": {t: {c: asdict(o) for c, o in of.items()} for t, of in outcomes.items()},
        "alone_microseconds": limits,
        "absent": absent,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "tracker.json").write_text(json.dumps(report, indent=2) + "\n")
    plot(outcomes, limits, RESULTS / "tracker.png")
    print_tables(console, outcomes, limits)


def compete(
    console: Console, names: list[str], cases: Mapping[str, Case], rounds: int
) -> tuple[dict[str, dict[str, Outcome]], dict[str, str]]:
    """Every tracker on every case, round after round in turn; and who could not run, and why."""
    seconds: dict[str, dict[str, list[float]]] = {}
    rows: dict[str, dict[str, np.ndarray]] = {}
    absent: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        given, answer = Path(folder) / "cases.npz", Path(folder) / "answer.npz"
        np.savez(given, **packed(cases))
        for turn in range(rounds):
            for name in names:
                if name in absent:
                    continue
                console.print(f"round {turn + 1}: {name}", style="dim")
                # -P: or this folder's modules would be taken for the packages of the same names
                command = [interpreter(name), "-P", ROOT / "benchmarks" / "contestants.py", name]
                done = subprocess.run(
                    [*map(str, command), str(given), str(answer)],
                    env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    absent[name] = (done.stderr.strip().splitlines() or ["it died"])[-1]
                    console.print(f"  left out: {absent[name]}", style="yellow")
                    continue
                with np.load(answer) as result:
                    for case in cases:
                        median = float(np.median(result[f"{case}/seconds"]) * 1e6)
                        seconds.setdefault(name, {}).setdefault(case, []).append(median)
                        rows.setdefault(name, {})[case] = result[f"{case}/rows"]
    outcomes: dict[str, dict[str, Outcome]] = {}
    for name, mine in seconds.items():
        console.print(f"scoring {name}", style="dim")
        outcomes[name] = {c: outcome(t, rows[name][c], cases[c]) for c, t in mine.items()}
    return outcomes, absent


def interpreter(name: str) -> Path:
    """The Python that has this tracker, installed on first use unless it is in ours."""
    package = name.split(maxsplit=1)[0].lower()
    if package in (OURS, "ultralytics"):
        return Path(sys.executable)
    python = PEERS / package / "bin" / "python"
    if not python.exists():
        venv.create(PEERS / package, with_pip=True)
        torch = [f"torch=={version('torch').split('+')[0]}"] if package == "boxmot" else []
        torch += [f"torchvision=={version('torchvision').split('+')[0]}"] if torch else []
        subprocess.run([python, "-m", "pip", "install", "--quiet", *torch, package], check=True)
    return python


def outcome(times: list[float], rows: np.ndarray, case: Case) -> Outcome:
    score = None
    if case.truth is not None:
        score = evaluate({"camera": parse(rows)}, {"camera": case.truth}).overall
    return Outcome(
        microseconds=float(np.median(times)),
        fastest=min(times),
        slowest=max(times),
        hota=score and score.hota,
        idf1=score and score.idf1,
        mota=score and score.mota,
    )


def alone(case: Case) -> dict[str, float]:
    """Microseconds for finding and assigning overlaps only: what no tracker can do without."""
    last, now = case.detections[-2:]
    boxes = now.boxes[np.argsort(now.boxes[:, 0])].astype(np.float64)
    belief = begin(last.boxes.astype(np.float64), np.ones(len(last)), np.ones(4), 0.05)
    rows, columns = np.ones(len(last), bool), np.ones(len(now), bool)
    colours = colourless(len(last), len(now))
    pairs = overlapping(belief, boxes, rows, columns, 0.3, colours)
    low = np.maximum(last.boxes[:, None, :2], now.boxes[:, :2])
    high = np.minimum(last.boxes[:, None, 2:], now.boxes[:, 2:])
    cost = 1 - np.prod(np.clip(high - low, 0, None), axis=2) / np.prod(
        now.boxes[:, 2:] - now.boxes[:, :2], axis=1
    )

    def fastest(work: object) -> float:
        times = []
        for _ in range(15):
            start = time.perf_counter()
            work()  # type: ignore[operator]
            times.append(time.perf_counter() - start)
        return min(times) * 1e6

    return {
        "our pairs": fastest(lambda: overlapping(belief, boxes, rows, columns, 0.3, colours)),
        "our assignment": fastest(lambda: assign(pairs, len(boxes))),
        "scipy, dense": fastest(lambda: linear_sum_assignment(cost)),
        "lapjv, dense, cost_limit": fastest(
            lambda: lap.lapjv(cost, extend_cost=True, cost_limit=0.7)
        ),
    }


def ratios(outcomes: Mapping[str, Mapping[str, Outcome]]) -> dict[str, dict[str, float]]:
    """How many times longer than ours each peer takes for a frame."""
    ours = outcomes.get(OURS, {})
    return {
        name: {c: round(o.microseconds / ours[c].microseconds, 2) for c, o in of.items()}
        for name, of in outcomes.items()
        if name != OURS and ours
    }


def growth(of: Mapping[str, Outcome]) -> float:
    """The power of the number of people that time grows with, between 30 and 500."""
    ends = [of[f"crowd {n}"].microseconds for n in (30, 500)]
    return float(np.log(ends[1] / ends[0]) / np.log(500 / 30))


def peer_versions() -> dict[str, str]:
    """Of the peers that have environments of their own."""
    found = {}
    for folder in sorted(PEERS.glob("*")):
        for info in folder.glob(f"lib/python*/site-packages/{folder.name}-*.dist-info"):
            found[folder.name] = info.name.split("-")[1].removesuffix(".dist")
    return found


def print_tables(
    console: Console,
    outcomes: Mapping[str, Mapping[str, Outcome]],
    limits: Mapping[str, Mapping[str, float]],
) -> None:
    cases = list(next(iter(outcomes.values())))
    times = Table(title="Times ours, and µs per frame (spread over rounds)")
    scores = Table(title="HOTA / IDF1")
    for table in (times, scores):
        table.add_column("tracker")
    ours = outcomes.get(OURS, {})
    scored = [c for c in cases if any(of[c].hota is not None for of in outcomes.values())]
    for case in cases:
        times.add_column(case, justify="right")
    for case in scored:
        scores.add_column(case, justify="right")
    times.add_column("growth", justify="right")
    for name, of in outcomes.items():
        cells = []
        for c in cases:
            ratio = f"{of[c].microseconds / ours[c].microseconds:.1f}×\n" if ours else ""
            cells.append(
                f"{ratio}{of[c].microseconds:.0f} ({of[c].fastest:.0f}–{of[c].slowest:.0f})"
            )
        times.add_row(name, *cells, f"n^{growth(of):.2f}")
        figures = ((of[c].hota or 0, of[c].idf1 or 0) for c in scored)
        scores.add_row(name, *(f"{100 * h:.1f} / {100 * i:.1f}" for h, i in figures))
    limit = Table(title="Pairs and assignment alone, µs")
    limit.add_column("crowd")
    for key in next(iter(limits.values())):
        limit.add_column(key, justify="right")
    for case, figures in limits.items():
        limit.add_row(case, *(f"{us:.0f}" for us in figures.values()))
    for table in (times, scores, limit):
        console.print(table)


def plot(
    outcomes: Mapping[str, Mapping[str, Outcome]],
    limits: Mapping[str, Mapping[str, float]],
    path: Path,
) -> None:
    mpl.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4.6), layout="constrained")
    floor = [
        limits[f"crowd {n}"]["our pairs"] + limits[f"crowd {n}"]["our assignment"] for n in CROWDS
    ]
    left.plot(CROWDS, floor, color="grey", linestyle=":", label="pairs and assignment alone")
    for name, of in outcomes.items():
        style = {"color": "black", "linewidth": 2.5, "zorder": 5} if name == OURS else {}
        left.plot(
            CROWDS, [of[f"crowd {n}"].microseconds for n in CROWDS], "o-", label=name, **style
        )
    left.set(xscale="log", yscale="log", xlabel="people", ylabel="µs per frame")
    left.set_title("Time for a frame")
    left.set_xticks(CROWDS, [str(n) for n in CROWDS])
    left.minorticks_off()
    left.grid(alpha=0.3)
    scored = [c for c, o in next(iter(outcomes.values())).items() if o.hota is not None]
    for number, (name, of) in enumerate(outcomes.items()):
        place = np.arange(len(scored)) + (number - len(outcomes) / 2 + 0.5) * 0.8 / len(outcomes)
        heights = [100 * (of[c].idf1 or 0) for c in scored]
        colour = {"color": "black"} if name == OURS else {}
        right.bar(place, heights, 0.8 / len(outcomes), label=name, **colour)
    right.set_xticks(np.arange(len(scored)), scored)
    right.set(ylabel="IDF1 %", ylim=(30, 100))
    right.set_title("Who keeps the identities")
    figure.legend(*left.get_legend_handles_labels(), fontsize=8, loc="outside right center")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def print_sensitivity(console: Console, cases: Mapping[str, Case]) -> None:
    """How far HOTA and IDF1 move when one setting moves by a quarter."""
    table = Table(title="HOTA / IDF1 as each setting moves")
    table.add_column("setting")
    for case in cases:
        table.add_column(case, justify="right")
    for name, settings in varied(TrackerSettings()):
        cells = []
        for case in cases.values():
            contestant = throughline(case.fps, case.size)
            tracker = Tracker(case.size, settings)
            contestant.step = lambda given, tracker=tracker: tracker.update(*given)
            rows, _ = run_one(contestant, packed({"it": case}), "it")
            scored = outcome([0.0], rows, case)
            cells.append(f"{100 * (scored.hota or 0):.1f} / {100 * (scored.idf1 or 0):.1f}")
        table.add_row(name, *cells)
    console.print(table)


def varied(base: TrackerSettings) -> Iterator[tuple[str, TrackerSettings]]:
    yield "as shipped", base
    plain = [
        "sure", "doubtful", "beyond_doubt", "overlap", "overlap_left",
        "just_now", "recent", "absence", "patience",
    ]  # fmt: skip
    for factor in (0.75, 1.25):
        sign = f"{factor - 1:+.0%}"
        for name in plain:
            yield f"{name} {sign}", replace(base, **{name: getattr(base, name) * factor})
        for name in ("memory", "noise"):
            motion = replace(base.motion, **{name: getattr(base.motion, name) * factor})
            yield f"motion.{name} {sign}", replace(base, motion=motion)
        for name, place in (("sideways", (0,)), ("up and down", (1,)), ("size", (2, 3))):
            speeds = list(base.motion.speeds)
            for k in place:
                speeds[k] *= factor
            motion = Motion(tuple(speeds), base.motion.memory, base.motion.noise)  # type: ignore[arg-type]
            yield f"motion.speeds {name} {sign}", replace(base, motion=motion)


if __name__ == "__main__":
    main()
