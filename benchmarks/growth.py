"""How time grows with a site: cameras, people, the gallery, slots, and an hour of running.

    python -m benchmarks.growth            about ten minutes
    python -m benchmarks.growth --quick    about two: shorter curves, no approximate search
    python -m benchmarks.growth --only gallery slots

Each curve is drawn with the power that it grows with from point to point: where that power changes, the curve
bends. Every point is the median of several measurements. Writes benchmarks/results/growth.json and growth.png.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.crowds import HEIGHT, WIDTH, crowd
from benchmarks.machine import this_machine
from benchmarks.shaken import ShakenTruth
from engines import StreamingReid, open_engine
from engines.bench import measure
from pipeline.frames import IntArray, TrackletUpdate
from pipeline.identify import Identifier, IdentifySettings
from pipeline.identify.gallery import EXACT, ROW, Gallery
from pipeline.run import RunOptions, run
from pipeline.settings import MODELS, CameraSettings, Settings
from pipeline.track import Tracker
from synthetic import generate_site
from synthetic.live import Feed
from synthetic.write import Video, mot_rows

RESULTS = Path(__file__).parent / "results"
BATCH = 32
SIZE, LARGEST = 768, 1_000_000
NOISE = 0.03
"""Deviation of each value of a query from a unit vector of the gallery: they have a cosine of about 0.77."""
QUERIES = 50
STEADY = "minutes"
"""Over this nothing should grow at all: it is drawn without logarithms."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Cost over size."""

    name: str
    across: str
    """What grows."""
    unit: str
    x: list[float]
    y: list[float]
    why: str
    """What bends it, or would."""
    beside: dict[str, list[float | None]]
    """What else was measured at these points."""

    @property
    def powers(self) -> list[float]:
        """From each point to the next."""
        return [float(p) for p in np.diff(np.log(self.y)) / np.diff(np.log(self.x))]


def cameras(quick: bool) -> list[Curve]:
    """The live loop on rendered rooms with the truth's boxes: everything but the detector."""
    counts = (1, 2, 4) if quick else (1, 2, 4, 8, 16)
    frames = 25 if quick else 50
    times, stages = [], []
    with TemporaryDirectory() as scratch:
        folder = _rooms(Path(scratch) / "site", counts[-1], frames)
        videos = sorted(folder.glob("*.mp4"))
        for count in counts:
            settings = Settings(camera=tuple(CameraSettings(str(v)) for v in videos[:count]))
            summary = run(
                settings,
                RunOptions(Path(scratch) / f"run{count}", every_frame=True, video=False, start=0.0),
                detect=ShakenTruth(folder, 0),
            )
            spent = summary["stage_seconds"]
            assert isinstance(spent, dict)
            rounds = int(str(summary["frames"])) / count
            stages.append({k: 1e3 * v / rounds for k, v in spent.items() if k != "wait"})
            times.append(sum(stages[-1].values()))
    beside: dict[str, list[float | None]] = {
        f"{name}, ms": [stage[name] for stage in stages] for name in stages[0]
    }
    why = "below 1 while fixed costs of a round are shared; embedding has a budget for a round"
    return [Curve("round of the loop", "cameras", "ms", list(counts), times, why, beside)]


def people(quick: bool) -> list[Curve]:
    """Tracking a frame, and judging a tick in which everybody has news."""
    counts = (5, 10, 20, 50) if quick else (5, 10, 20, 50, 100, 200)
    track, identify = [], []
    for count in counts:
        made = crowd(count, frames=60, seed=count)
        tracker, spent = Tracker((int(WIDTH), int(HEIGHT))), []
        for number, found in enumerate(made.detections):
            began = time.perf_counter()
            tracker.update(found, number / made.fps)
            spent.append(time.perf_counter() - began)
        track.append(1e3 * float(np.median(spent[10:])))
        identify.append(_tick(count))
    return [
        Curve(
            "track", "people", "ms", list(counts), track,
            "flat while the cost of a call dominates; then pairs of neighbours", {},
        ),
        Curve(
            "identify, all new", "people", "ms", list(counts), identify,
            "everybody is compared with everybody: the matrix is people × people", {},
        ),
    ]  # fmt: skip


def gallery(quick: bool) -> list[Curve]:
    """One search among so many identities of one tracklet each, exact and approximate."""
    sizes = [1_000, 10_000, 100_000] + ([] if quick else [LARGEST])
    exact, one, many = [], [], []
    for size in sizes:
        people_known, asked, nearest = _gallery(size)
        exact.append(_exact(people_known, asked))
        if size >= EXACT:
            one.append(_sketched(people_known, asked[:, None], nearest[:, None]))
            many.append(_sketched(people_known, asked[None], nearest[None]))
        del people_known
    curve = Curve(
        "exact search", "identities", "ms", [float(n) for n in sizes], exact,
        "the rows leave the caches at some 10,000; from there memory is read at its full width", {},
    )  # fmt: skip
    if quick:
        return [curve]
    told = "reads a twelfth of the memory, and then compares the few that are left exactly"
    large = [float(n) for n in sizes if n >= EXACT]
    return [
        curve,
        *(
            Curve(name, "identities", "ms", large, [ms for ms, _ in found], told,
                  {"recall": [recall for _, recall in found]})
            for name, found in (("approximate search", one), (f"{QUERIES} at once", many))
        ),
    ]  # fmt: skip


def slots(quick: bool) -> list[Curve]:
    """One more crop for every slot of the stream, in batches."""
    counts = (16, 64, 128) if quick else (16, 64, 256, 1024)
    rng = np.random.default_rng(0)
    engine = open_engine(MODELS / "grl-edge", precision="fastest")
    times = []
    for count in counts:
        pool = StreamingReid(engine, count)
        taken = np.array([pool.open() for _ in range(count)])
        crops = rng.integers(0, 256, (BATCH, *pool.crop_size, 3), np.uint8)
        parts = [taken[at : at + BATCH] for at in range(0, count, BATCH)]

        def every(
            pool: StreamingReid = pool, parts: list[np.ndarray] = parts, crops: np.ndarray = crops
        ) -> None:
            for part in parts:
                pool.step(part, crops[: len(part)])

        times.append(1e3 * float(np.median(measure(every, 1.0))))
    why = "1 throughout: a step costs the same however many slots there are"
    return [Curve("step of all slots", "slots", "ms", list(counts), times, why, {})]


def hour(quick: bool) -> list[Curve]:
    """Identities over an hour of a site with four cameras: 12 people a minute, some of them known."""
    minutes = 10 if quick else 60
    rng = np.random.default_rng(0)
    identifier = Identifier(IdentifySettings())
    known = _units(rng, 400)
    x, y, rows = [], [], []
    for minute in range(1, minutes + 1):
        spent = []
        for visit in range(12):
            person, now = known[rng.integers(len(known))], 60.0 * (minute - 1) + 5.0 * visit
            name, local = f"camera{visit % 4}", 12 * minute + visit
            for step in range(8):
                look = person + 0.02 * rng.standard_normal(SIZE, dtype=np.float32)
                update = TrackletUpdate(name, local, now + 0.5 * step, look, step + 1, 0.5)
                ended = [(name, local)] if step == 7 else []
                began = time.perf_counter()
                identifier.update([update], ended, now + 0.5 * step)
                spent.append(time.perf_counter() - began)
        if minute % (2 if quick else 5) == 0:
            x.append(float(minute))
            y.append(1e3 * float(np.mean(spent)))
            rows.append(float(sum(person.tracklets for person in identifier.list())))
    why = "grows until everybody who comes is known; rows of an identity are limited"
    return [Curve("identify, one tick", "minutes", "ms", x, y, why, {"tracklets kept": [*rows]})]


PARTS: dict[str, Callable[[bool], list[Curve]]] = {
    "cameras": cameras,
    "people": people,
    "gallery": gallery,
    "slots": slots,
    "hour": hour,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for what is written")
    options = parser.parse_args()
    console = Console()
    machine = this_machine(["numpy", "numba", "openvino"])
    curves: list[Curve] = []
    for name in options.only:
        console.print(name, style="dim")
        curves += PARTS[name](options.quick)
    options.output.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": machine.as_json(),
        "command": "python -m benchmarks.growth",
        "quick": options.quick,
        "curves": [asdict(curve) | {"powers": curve.powers} for curve in curves],
    }
    (options.output / "growth.json").write_text(json.dumps(report, indent=1) + "\n")
    plot(curves, options.output / "growth.png")
    table = Table("what", "over", "ms", "power from point to point")
    for curve in curves:
        points = ", ".join(f"{x:g}: {y:.3g}" for x, y in zip(curve.x, curve.y, strict=True))
        table.add_row(curve.name, curve.across, points, ", ".join(f"{p:.2f}" for p in curve.powers))
    console.print(table)


def plot(curves: Sequence[Curve], path: Path) -> None:
    """One panel for each thing that grows."""
    mpl.use("Agg")
    panels = list(dict.fromkeys(curve.across for curve in curves))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.4 * len(panels), 4.2), layout="constrained", squeeze=False
    )
    for axis, across in zip(axes[0], panels, strict=True):
        steady = across == STEADY
        for curve in (c for c in curves if c.across == across):
            (line,) = axis.plot(curve.x, curve.y, "o-", label=curve.name)
            for (x0, x1), (y0, y1), power in zip(
                pairwise(curve.x), pairwise(curve.y), curve.powers, strict=True
            ):
                axis.annotate(
                    "" if steady else f"{power:.2f}", ((x0 * x1) ** 0.5, (y0 * y1) ** 0.5), color=line.get_color(),
                    textcoords="offset points", xytext=(0, 6), ha="right", fontsize=8,
                )  # fmt: skip
        axis.set(xlabel=across, ylabel="ms")
        if steady:
            axis.set_ylim(0, 1.3 * max(max(c.y) for c in curves if c.across == across))
        else:
            axis.set(xscale="log", yscale="log")
        axis.set_title("\n".join(f"{c.name}: {_wrapped(c.why)}" for c in curves if c.across == across),
                       fontsize=7, loc="left")  # fmt: skip
        points = sorted({x for curve in curves if curve.across == across for x in curve.x})
        axis.set_xticks(points, [f"{x:,.0f}" for x in points], fontsize=8)
        axis.xaxis.minorticks_off()
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3, which="both")
    figure.suptitle("Milliseconds over size; numbers beside the lines are powers")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _wrapped(text: str, width: int = 44) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f"{word} "
    return "\n".join(line.strip() for line in lines)


def _rooms(folder: Path, count: int, frames: int) -> Path:
    """Videos and truth of a generated site, at 640×360."""
    (folder / "gt").mkdir(parents=True)
    site = generate_site(count, 3).resized((640, 360))
    for camera in site.cameras:
        feed = Feed(site, camera.name, 3)
        video = Video(folder / f"{camera.name}.mp4", (640, 360), site.fps, 23)
        rows = []
        for index in range(frames):
            shot = feed.frame(index)
            video.add(shot.rendered.image)
            rows.append(mot_rows(index + 1, shot.rendered))
        video.close()
        # nobody may have been there
        (folder / "gt" / f"{camera.name}.txt").write_text("".join(rows) or "0,0,0,0,0,0,0,0,0\n")
    return folder


def _tick(count: int) -> float:
    """Milliseconds of a tick in which so many new tracklets are judged."""
    rng = np.random.default_rng(count)
    spent = []
    for _ in range(7):
        identifier, looks = Identifier(IdentifySettings()), _units(rng, count)
        for step, now in enumerate((0.0, 1.0)):
            updates = [
                TrackletUpdate(f"camera{k % 4}", k, now, look, 4 * (step + 1), 0.95)
                for k, look in enumerate(looks)
            ]
            began = time.perf_counter()
            identifier.update(updates, [], now)
            if step == 0:
                spent.append(time.perf_counter() - began)
    return 1e3 * float(np.median(spent[1:]))


def _gallery(size: int) -> tuple[Gallery, IntArray, IntArray]:
    """A gallery of `size` people with a tracklet each, the rows of tracklets to be asked about, and who they are."""
    rng = np.random.default_rng(size)
    looks = np.empty((size + QUERIES, SIZE), np.float32)
    for start in range(0, size, 65536):
        part = looks[start : min(start + 65536, size)]
        part[:] = _units(rng, len(part))
    nearest = rng.integers(size, size=QUERIES)
    looks[size:] = looks[nearest] + NOISE * rng.standard_normal((QUERIES, SIZE), dtype=np.float32)
    looks[size:] /= np.linalg.norm(looks[size:], axis=1, keepdims=True)
    rows = np.zeros(size + QUERIES, ROW)
    rows["serial"] = np.arange(1, len(rows) + 1)
    rows["identity"][:size] = np.arange(1, size + 1)
    rows["frames"] = 8
    rows["last"] = 10.0 * np.arange(len(rows))  # a few about, as anywhere
    people_known = Gallery(SIZE, room=len(rows))
    people_known.restore(rows, looks, ["camera"])
    return people_known, np.arange(size, size + QUERIES), nearest


def _exact(people_known: Gallery, asked: IntArray) -> float:
    turn = cycle(asked.tolist())
    spent = measure(lambda: people_known.looks[[next(turn)]] @ people_known.looks.T, 1.0)
    return 1e3 * float(np.median(spent))


def _sketched(people_known: Gallery, asked: IntArray, nearest: IntArray) -> tuple[float, float]:
    """Milliseconds a question, of one tracklet or of many, and how often the nearest was among those compared."""
    spent, found = [], []
    for due, right in zip(asked, nearest, strict=True):
        began = time.perf_counter()
        some = people_known.worth_comparing(due)
        assert some is not None
        people_known.looks[due] @ people_known.looks[some].T
        spent.append(time.perf_counter() - began)
        found += np.isin(right, some).tolist()
    return 1e3 * float(np.median(spent)), float(np.mean(found))


def _units(rng: np.random.Generator, count: int) -> np.ndarray:
    looks = rng.standard_normal((count, SIZE), dtype=np.float32)
    return np.asarray(looks / np.linalg.norm(looks, axis=1, keepdims=True))


if __name__ == "__main__":
    sys.exit(main())
