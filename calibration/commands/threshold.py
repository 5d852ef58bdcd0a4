"""`threshold`: how much a likeness says on this site, learned from a run, without labels or with."""

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from calibration.errors import RefusedError, UsageError
from calibration.labelled import true_people
from calibration.labelled_crops import AT_ONCE, labelled_crops
from calibration.likeness import GRID, STEP, Likeness, learn, learn_labelled
from calibration.looks import LATEST, Looks, cosines, fisher, looks_of
from calibration.page import BLUE, GREEN, GREY, Plot, Table, plot, write_page
from calibration.rates import Threshold, thresholds
from calibration.record import read_record
from calibration.site_file import Section, apart_from, provenance, write_result
from calibration.strangers import surely, told_by
from pipeline.frames import IntArray
from pipeline.networks import network_of, open_fastest, open_pool
from pipeline.settings import EmbedderSettings, Settings, load_settings

Floats: TypeAlias = NDArray[np.float64]
RATES = (1e-1, 1e-2, 1e-3)
KNOTS = np.tanh(np.linspace(-0.6, 2.9, 36))
EXAMPLES = """examples:
  python run_pipeline.py --site site.toml --record --output runs/today
  python -m calibration threshold runs/today --site site.toml
  python -m calibration threshold runs/today --truth runs/site --site site.toml --page threshold.html
  python -m calibration threshold people --embedder models/grl-edge --site site.toml

Without --truth nothing is labelled: people in two places at one time are different, and hand-overs between cameras
are found among the best matches in time. The recording is of one network: record again after changing it. With
--embedder, `people` holds crops that somebody sorted, as <person>/<person>C<camera>T<tracklet>F<frame>.jpg (the MARS
layout).
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What --json prints."""

    curve: list[tuple[float, float]]
    noise: float
    young: float
    even: float
    labelled: bool
    tracklets: int
    pairs_of_strangers: int
    handovers: int
    share_handed_over: float
    thresholds: list[Threshold]
    realised: dict[str, float]
    """With --truth: the share of strangers in two cameras beyond the label-free threshold of each wanted rate."""
    page: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """Tracklets to learn from, and where they come from."""

    looks: Looks
    who: IntArray | None
    """Each one's person, where somebody labelled them."""
    source: str
    amount: str
    network: str
    sorted: bool = False
    """No run, but a set of people: when they were seen is not known."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "run",
        type=Path,
        help="folder of a run with --record, or its record.db; see also --embedder",
    )
    parser.add_argument("--site", type=Path, help="TOML file to write the result into")
    parser.add_argument("--truth", type=Path, help="folder with gt/<camera>.txt: learn from labels")
    parser.add_argument(
        "--embedder",
        metavar="PACKAGE",
        help="RUN is no run, but people sorted into the MARS layout: show them to this network",
    )
    parser.add_argument("--rate", type=_rate, help="another wanted rate of false matches")
    parser.add_argument("--page", type=Path, help="where the page goes (threshold.html in the run)")
    parser.add_argument("--json", action="store_true", help="the outcome on standard output")


def run(options: argparse.Namespace) -> int:
    """Learn, write, show."""
    console = Console(stderr=True)
    if options.page and options.site:
        apart_from(options.page, options.site)
    if options.site and options.site.exists():
        load_settings(options.site)  # before minutes of work
    seen = _sorted_people(options, console) if options.embedder else _recorded_people(options)
    looks, who = seen.looks, seen.who
    if len(looks) == LATEST:
        console.print(
            f"of the record, the latest {LATEST} tracklets are looked at",
            soft_wrap=True,
            markup=False,
        )
    rates = tuple(sorted({*RATES, *([options.rate] if options.rate else [])}, reverse=True))
    with console.status("learning"):
        likeness = learn(looks) if who is None else learn_labelled(looks, who)
        apart = told_by(looks, who) if who is not None and seen.sorted else surely(looks)
        found = thresholds(looks, apart, rates)
    outcome = _outcome(options, seen, likeness, found)
    _write_page(Path(outcome.page), seen, likeness, outcome)
    if options.site:
        _write_site(options.site, seen, outcome)
    _tell(console, options, outcome)
    return 0


def _recorded_people(options: argparse.Namespace) -> _Seen:
    record = read_record(options.run)
    looks = looks_of(record)
    who = true_people(record, options.truth)[looks.tracklet] if options.truth else None
    return _Seen(looks, who, str(record.path), record.amount(), record.network)


def _sorted_people(options: argparse.Namespace, console: Console) -> _Seen:
    if options.truth:
        raise UsageError("--embedder is for people who are sorted already: leave --truth out")
    settings = EmbedderSettings(package=options.embedder, slots=AT_ONCE)
    with Progress(console=console) as progress:
        task = progress.add_task("looking at people", total=1.0)
        found = labelled_crops(
            options.run,
            open_pool(settings, open_fastest),
            lambda share: progress.update(task, completed=share),
        )
    cameras = len(set(found.looks.camera.tolist()))
    amount = f"{found.source} in {cameras} cameras"
    network, _ = network_of(settings)
    return _Seen(found.looks, found.who, str(options.run), amount, network, sorted=True)


def _outcome(
    options: argparse.Namespace, seen: _Seen, likeness: Likeness, found: list[Threshold]
) -> Outcome:
    noise, looks, who = 1.0, seen.looks, seen.who
    # The curve is as seen at the usual number of frames; the mapping wants it at very many.
    usual = 2 / float(np.median(looks.frames))
    young = how_young(options, seen.network)
    at = KNOTS + young * usual
    nats = np.interp(np.arctanh(KNOTS), GRID, likeness.ratio()) * (1 + noise * usual)
    curve = _bends(at, nats)
    if not curve or curve[0][1] >= 0 or curve[-1][1] <= 0:
        raise RefusedError(
            "no likeness speaks for one person, or none for two: no mapping was written; use another network"
        )
    folder = options.run if options.run.is_dir() else options.run.parent
    return Outcome(
        curve=curve,
        noise=noise,
        young=young,
        even=float(np.interp(0.0, nats, at)),
        labelled=who is not None,
        tracklets=len(looks),
        pairs_of_strangers=likeness.pairs,
        handovers=likeness.handovers,
        share_handed_over=likeness.share,
        thresholds=found,
        realised={} if who is None or seen.sorted else _realised(looks, who, found),
        page=str(options.page or folder / "threshold.html"),
    )


def how_young(options: argparse.Namespace, network: str) -> float:
    """What is known so far of how young tracklets look to that network: of another one, nothing."""
    site = options.site
    settings = load_settings(site) if site and site.exists() else Settings()
    if options.embedder:
        settings = replace(settings, embedder=EmbedderSettings(package=options.embedder))
    installed = Path(settings.embedder.package).exists()
    if installed and network_of(settings.embedder)[0] != network:
        return 0.0
    return settings.identify().mapping.young


def _bends(at: Floats, nats: Floats) -> list[tuple[float, float]]:
    """The points of the curve at which it is not level on both sides."""
    steps = np.diff(nats) > 1e-3
    bends = np.append(steps, False) | np.append(False, steps)
    return [
        (round(float(c), 4), round(float(n), 3))
        for c, n in zip(at[bends], nats[bends], strict=True)
    ]


def _realised(looks: Looks, who: IntArray, found: list[Threshold]) -> dict[str, float]:
    apart = told_by(looks, who)
    cosine = cosines(looks.embeddings, apart.one, apart.other)
    return {f"{t.rate:g}": float((cosine > t.cosine).mean()) for t in found if t.frames is None}


def _write_site(path: Path, seen: _Seen, outcome: Outcome) -> None:
    final = [t for t in outcome.thresholds if t.frames is None]
    origin = provenance(
        f"{seen.source} ({'labels' if outcome.labelled else 'no labels'}, network {seen.network})",
        f"{seen.amount}; {outcome.tracklets} with embeddings, {outcome.pairs_of_strangers} pairs of strangers, "
        f"{outcome.handovers} {'pairs of one person' if outcome.labelled else 'searches for hand-overs'}",
        {
            "share_handed_over": outcome.share_handed_over,
            **{f"cosine_at_false_match_rate_{t.rate:g}": [t.cosine, t.low, t.high] for t in final},
            **{f"realised_at_{rate}": value for rate, value in outcome.realised.items()},
        },
    )
    match: Section = {
        "even": outcome.even,
        "noise": outcome.noise,
        "young": outcome.young,
        "curve": outcome.curve,
    }
    write_result(path, "threshold", {"match": match}, origin)


def _tell(console: Console, options: argparse.Namespace, outcome: Outcome) -> None:
    for t in outcome.thresholds:
        if t.frames is None:
            console.print(
                f"false matches {t.rate:g}: cosine {t.cosine:.3f} (95 %: {t.low:.3f} to {t.high:.3f})",
                highlight=False,
            )
    console.print(
        f"even at cosine {outcome.even:.3f}; page: {outcome.page}", soft_wrap=True, markup=False
    )
    if options.site:
        console.print(f"written into {options.site}", soft_wrap=True, markup=False)
    if options.json:
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")


def _write_page(path: Path, seen: _Seen, likeness: Likeness, outcome: Outcome) -> None:
    rows = [
        [
            "all" if t.frames is None else str(t.frames),
            f"{t.rate:g}",
            f"{t.cosine:.3f}",
            f"{t.low:.3f} … {t.high:.3f}",
            f"{100 * likeness.hits(float(fisher(np.array([t.cosine]))[0])):.0f} %"
            if t.frames is None
            else "",
            str(t.pairs),
        ]
        for t in outcome.thresholds
    ]
    head = ["frames", "false matches", "cosine", "95 %", "found", "pairs"]
    how = (
        "Learned from labels."
        if outcome.labelled
        else f"Learned without labels: {likeness.pairs} pairs of people in two places at one time, "
        f"{likeness.handovers} searches for people who left one camera, of whom "
        f"{100 * likeness.share:.0f} % seem to have come into the other."
    )
    facts = [f"{seen.source}: {seen.amount}, network {seen.network}.", how]
    table = Table("Thresholds", head, rows)
    write_page(path, "How much a likeness says", facts, [table], _plots(likeness, outcome))


def _plots(likeness: Likeness, outcome: Outcome) -> list[Plot]:
    cosine = np.tanh(GRID)
    slope = np.gradient(cosine, GRID)

    def densities(axes: Axes) -> None:
        shown = slope > 0.02
        for values, colour, label in (
            (likeness.different, GREY, "two people"),
            (likeness.same, GREEN, "one person"),
        ):
            height = values[shown] / STEP / slope[shown]
            axes.fill_between(cosine[shown], height, color=colour, alpha=0.6, label=label)
        axes.set(xlabel="cosine", ylabel="density", ylim=(0, None))
        axes.legend(frameon=False, loc="upper left")

    def roc(axes: Axes) -> None:
        false = likeness.different[::-1].cumsum()
        axes.semilogx(false, likeness.same[::-1].cumsum(), color=BLUE)
        axes.set(xlabel="false matches", ylabel="found", xlim=(1e-4, 1), ylim=(0, 1.02))

    def mapping(axes: Axes) -> None:
        axes.plot(*zip(*outcome.curve, strict=True), "o-", ms=3, color=BLUE)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set(xlabel="cosine", ylabel="nats in favour of one person")

    return [
        plot(densities, "Likeness of one person and of two people, in two cameras"),
        plot(roc, "Found and falsely matched, by threshold (ROC)"),
        plot(mapping, "What a cosine says: written into [match] as curve"),
    ]


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError(f"is a share between 0 and 1, not {text}")
    return rate
