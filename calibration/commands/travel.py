"""`travel`: which cameras neighbour which, how long people take, and which see common ground, learned from a run."""

import argparse
import json
import sys
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from rich.console import Console

from calibration.errors import TooLittleError, UsageError
from calibration.journeys import EDGES, LEAST_COMPANY, Company, Journeys, Way
from calibration.looks import LATEST, looks_of
from calibration.page import BLUE, GREY, Plot, Table, plot, write_page
from calibration.record import Record, read_record
from calibration.site_file import Section, apart_from, provenance, write_result
from pipeline.settings import Settings, load_settings

LEAST_TRACKLETS = 60
MOST_PLOTS = 12
EXAMPLES = """examples:
  python -m calibration threshold runs/today --site site.toml
  python -m calibration travel runs/today --site site.toml
  python -m calibration travel runs/today --site site.toml --true-times runs/site/site.json

Run `threshold` first: what a likeness says decides who is held to have gone where.
"""


Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Learned:
    """A way, by name."""

    origin: str
    target: str
    median: float
    spread: float
    journeys: float
    gain: float
    true_median: float | None
    true_journeys: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What --json prints."""

    ways: list[Learned]
    overlapping: list[tuple[str, str]]
    apart: list[tuple[str, str]]
    undecided: list[tuple[str, str]]
    page: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("run", type=Path, help="folder of a run with --record, or its record.db")
    parser.add_argument("--site", type=Path, help="TOML file: read, and the result written into it")
    parser.add_argument("--true-times", type=Path, help="a synthetic site's site.json, to compare")
    parser.add_argument("--page", type=Path, help="where the page goes (travel.html in the run)")
    parser.add_argument("--json", action="store_true", help="the outcome on standard output")


def run(options: argparse.Namespace) -> int:
    """Learn, write, show."""
    console = Console(stderr=True)
    if options.page and options.site:
        apart_from(options.page, options.site)
    record = read_record(options.run)
    settings = load_settings(options.site) if options.site and options.site.exists() else Settings()
    truth = _true_times(options.true_times) if options.true_times else {}
    looks = looks_of(record)
    if len(looks) < LEAST_TRACKLETS:
        raise TooLittleError(
            "tracklets with embeddings", len(looks), LEAST_TRACKLETS, "record for longer"
        )
    if len(looks) == LATEST:
        console.print(
            f"of the record, the latest {LATEST} tracklets are looked at",
            soft_wrap=True,
            markup=False,
        )
    with console.status("learning"):
        journeys = Journeys(len(record.cameras), settings.identify().mapping)
        journeys.update(looks)
        ways, company = journeys.ways(), journeys.company()
    folder = options.run if options.run.is_dir() else options.run.parent
    page = options.page or folder / "travel.html"
    outcome = _outcome(record, ways, company, truth, str(page))
    _write_page(page, record, ways, company, outcome)
    if options.site:
        _write_site(options.site, settings, record, outcome, len(looks))
    _tell(console, options, outcome)
    return 0


def _outcome(
    record: Record,
    ways: Sequence[Way],
    company: Sequence[Company],
    truth: dict[str, tuple[float, int]],
    page: str,
) -> Outcome:
    names = record.cameras
    learned = []
    for way in ways:
        a, b = names[way.origin], names[way.target]
        true = truth.get(f"{a}>{b}", (None, None))
        learned.append(Learned(a, b, way.median, way.spread, way.journeys, way.gain, *true))
    pairs = [((names[c.one], names[c.other]), c) for c in company]
    return Outcome(
        ways=learned,
        overlapping=[pair for pair, c in pairs if c.overlapping],
        apart=[pair for pair, c in pairs if c.apart],
        undecided=[pair for pair, c in pairs if not c.apart and not c.overlapping],
        page=page,
    )


def _true_times(path: Path) -> dict[str, tuple[float, int]]:
    try:
        times = json.loads(path.read_text())["travel_times"]
        return {pair: (float(told["median"]), int(told["count"])) for pair, told in times.items()}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a synthetic site's site.json") from error


def _write_site(
    path: Path, settings: Settings, record: Record, outcome: Outcome, tracklets: int
) -> None:
    """What was learned takes the place of what was said of the same cameras; whatever else was said stays."""
    decided = {frozenset(pair) for pair in (*outcome.overlapping, *outcome.apart)}
    match: Section = {
        "overlapping": _together(outcome.overlapping, settings.match.overlapping, decided),
        "apart": _together(outcome.apart, settings.match.apart, decided),
    }
    known = [(w.origin, w.target, w.median, w.spread) for w in settings.travel]
    known += [(w.origin, w.target, w.median, w.spread) for w in outcome.ways]
    fields = ("origin", "target", "median", "spread")
    ways: dict[Pair, Section] = {way[:2]: dict(zip(fields, way, strict=True)) for way in known}
    origin = provenance(
        f"{record.path} (network {record.network})",
        f"{record.amount()}; {tracklets} with embeddings",
        {f"{way.origin} to {way.target}, journeys": way.journeys for way in outcome.ways},
    )
    write_result(path, "travel", {"match": match, "travel": list(ways.values())}, origin)


def _together(
    learned: Sequence[Pair], said: Sequence[Pair], decided: Set[frozenset[str]]
) -> list[list[str]]:
    return [list(pair) for pair in (*learned, *(p for p in said if frozenset(p) not in decided))]


def _tell(console: Console, options: argparse.Namespace, outcome: Outcome) -> None:
    for way in outcome.ways:
        true = "" if way.true_median is None else f"; truly {way.true_median:.1f} s"
        console.print(
            f"{way.origin} → {way.target}: {way.median:.1f} s (×/÷ {np.exp(way.spread):.2f}), "
            f"{way.journeys:.0f} journeys{true}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    for told, pairs in (("overlap", outcome.overlapping), ("are apart", outcome.apart)):
        for pair in pairs:
            console.print(f"{pair[0]} and {pair[1]} {told}", highlight=False, markup=False)
    console.print(f"page: {outcome.page}", soft_wrap=True, markup=False)
    if options.site:
        console.print(f"written into {options.site}", soft_wrap=True, markup=False)
    if options.json:
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")


def _write_page(
    path: Path, record: Record, ways: Sequence[Way], company: Sequence[Company], outcome: Outcome
) -> None:
    rows = [
        [
            f"{way.origin} → {way.target}",
            f"{way.median:.1f} s",
            f"{np.exp(way.spread):.2f}",
            f"{way.journeys:.1f}",
            f"{way.gain:.1f}",
            "" if way.true_median is None else f"{way.true_median:.1f} s ({way.true_journeys})",
        ]
        for way in outcome.ways
    ]
    head = ["way", "median", "×/÷", "journeys", "nats gained", "truth"]
    said = {True: "overlap", False: "not decided"}
    together = [
        [
            f"{record.cameras[c.one]}, {record.cameras[c.other]}",
            str(c.people),
            f"{100 * c.share:.1f} %",
            f"{100 * c.by_chance:.1f} %",
            "apart" if c.apart else said[c.overlapping],
        ]
        for c in company
    ]
    tables = [
        Table("Ways", head, rows),
        Table(
            "Common ground",
            ["cameras", "people with company", "seen in both", "by chance", ""],
            together,
        ),
    ]
    facts = [
        f"{record.path}: {record.amount()}, network {record.network}.",
        f"A pair of cameras is judged from {LEAST_COMPANY} people on who had company in the other.",
    ]
    plots = [_histogram(record, way) for way in ways[:MOST_PLOTS]]
    write_page(path, "How people go from camera to camera", facts, tables, plots)


def _histogram(record: Record, way: Way) -> Plot:
    middles = np.sqrt(EDGES[1:] * EDGES[:-1])
    law = np.exp(-0.5 * ((np.log(middles) - np.log(way.median)) / way.spread) ** 2)
    wrong = (way.gaps.sum() - way.journeys) * way.chance

    def draw(axes: Axes) -> None:
        axes.bar(EDGES[:-1], way.gaps, np.diff(EDGES), align="edge", color="#c9d4e3")
        axes.plot(middles, wrong, color=GREY, label="by chance")
        axes.plot(middles, wrong + way.journeys * law / law.sum(), color=BLUE, label="fit")
        axes.set(xscale="log", xlabel="seconds", ylabel="weighed journeys")
        axes.legend(frameon=False, loc="upper left")

    return plot(draw, f"{record.cameras[way.origin]} → {record.cameras[way.target]}")
