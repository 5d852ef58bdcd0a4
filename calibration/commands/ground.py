"""`python -m calibration ground`: where in each camera's picture which part of the floor is."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from calibration.errors import RefusedError, UsageError
from calibration.floor_plan import area, overlaps
from calibration.ground_page import Marks, write_ground_page
from calibration.homography import Fit
from calibration.known_site import read_known
from calibration.people import related, spread_out, ways_in
from calibration.point_pairs import floor_of, gathered, read_points
from calibration.record import read_record
from calibration.site_file import Result, Section, apart_from, provenance, write_result
from pipeline.ground import METRES, GroundSettings, OverlapSettings
from pipeline.settings import load_settings

EXAMPLES = """examples:
  python -m calibration ground --known site.json --site site.toml
  python -m calibration ground --points points.csv --size 1920x1080 --site site.toml
  python -m calibration ground --size 1280x720 --site site.toml --pair hall 210 640 0 0 --pair hall 1100 650 4 0 \\
      --pair hall 820 300 4 6 --pair hall 420 290 0 6 --pair hall 600 420 2 3
  python -m calibration ground runs/today --site site.toml

A run that was recorded (`run_pipeline.py --record`) relates cameras that see the same people: with one camera's floor
known, by points or from before, the others' follow; with none, the frame is one camera's pixels.
"""


@dataclass(slots=True)
class _Found:
    """What the sources gave."""

    grounds: dict[str, GroundSettings] = field(default_factory=dict)
    marks: dict[str, Marks] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    amounts: list[str] = field(default_factory=list)
    unrelated: dict[tuple[str, str], str] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="?", help="a recorded run: people relate cameras")
    parser.add_argument("--site", type=Path, required=True, help="the site's TOML, to be written")
    parser.add_argument("--known", type=Path, help="site.json with image_to_floor of each camera")
    parser.add_argument("--points", type=Path, help="CSV camera,x,y,floor_x,floor_y; or TOML")
    parser.add_argument(
        "--pair",
        nargs=5,
        action="append",
        default=[],
        metavar=("CAMERA", "X", "Y", "FLOOR_X", "FLOOR_Y"),
        help="one point: pixels, and metres on the floor; repeat it",
    )
    parser.add_argument("--size", type=_size, help="width x height of the pictures of the points")
    parser.add_argument(
        "--page", type=Path, help="HTML page to write (ground.html beside the site)"
    )
    parser.add_argument("--json", action="store_true", help="the outcome on standard output")


def run(options: argparse.Namespace) -> int:
    console = Console(stderr=True)
    if not (options.known or options.points or options.pair or options.run):
        raise UsageError("there is no source: give --known, --points, --pair or a recorded run")
    page = options.page or options.site.with_name("ground.html")
    apart_from(page, options.site)
    before = load_settings(options.site).ground if options.site.exists() else ()
    found = _Found()
    _from_known(options, found)
    _from_points(options, found)
    if options.run:
        # What people told before, in some camera's pixels, they tell anew.
        fixed = {ground.camera: ground for ground in before if ground.frame == METRES}
        _from_people(options, found, fixed, console)
    grounds = {ground.camera: ground for ground in before} | found.grounds
    shared = overlaps(list(grounds.values()))
    write_ground_page(page, list(grounds.values()), shared, found.marks, found.evidence)
    write_ground(options.site, list(grounds.values()), shared, found)
    _tell(options, console, found, grounds, shared, page)
    return 0


def write_ground(
    site: Path,
    grounds: Sequence[GroundSettings],
    shared: Sequence[OverlapSettings],
    found: "_Found",
) -> None:
    """Into the site's file, with where it comes from."""
    origin = provenance("; ".join(found.sources), "; ".join(found.amounts), found.evidence)
    result: Result = {
        "ground": [_ground_section(ground) for ground in grounds],
        "overlap": [
            {"cameras": list(overlap.cameras), "floor": [_round(c) for c in overlap.floor]}
            for overlap in shared
        ],
    }
    write_result(site, "ground", result, origin)


def calibrate_known(known: Path, site: Path) -> None:
    """What `--known` does, for whoever has a site's description at hand."""
    options = argparse.Namespace(known=known)
    found = _Found()
    _from_known(options, found)
    grounds = list(found.grounds.values())
    write_ground(site, grounds, overlaps(grounds), found)


def _from_known(options: argparse.Namespace, found: _Found) -> None:
    if not options.known:
        return
    for ground in read_known(options.known):
        found.grounds[ground.camera] = ground
        found.evidence[ground.camera] = "as described; nothing was measured"
    found.sources.append(str(options.known))
    found.amounts.append(f"{len(found.grounds)} cameras described")


def _from_points(options: argparse.Namespace, found: _Found) -> None:
    points = read_points(options.points) if options.points else []
    points += gathered(options.pair)
    if points and not options.size:
        raise UsageError(
            "points need --size, the width x height of the pictures that they were read from"
        )
    for some in points:
        ground, fit = floor_of(some, options.size)
        found.grounds[some.camera] = ground
        found.marks[some.camera] = Marks(some.pixels, some.floor, fit)
        found.evidence[some.camera] = _figures(fit, "points", "m")
    if points:
        found.sources.append(
            str(options.points) if options.points else "points on the command line"
        )
        found.amounts.append(f"{sum(len(some.pixels) for some in points)} point pairs")


def _from_people(
    options: argparse.Namespace,
    found: _Found,
    before: Mapping[str, GroundSettings],
    console: Console,
) -> None:
    record = read_record(options.run)
    known = dict(found.grounds)
    known |= {name: ground for name, ground in before.items() if name not in known}
    everybody = ways_in(record, known)
    count = len(everybody) * (len(everybody) - 1) // 2
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("who is seen by two cameras", total=count)
        encounters, found.unrelated = related(
            everybody, lambda told: progress.update(task, advance=1, description=told)
        )
    if not encounters:
        raise RefusedError(
            next(iter(found.unrelated.values()), "a single camera shares its floor with none")
        )
    # A camera whose floor was typed or described keeps it: people could only make it worse.
    floors = spread_out(everybody, encounters, known)
    found.grounds |= floors
    for (one, other), encounter in encounters.items():
        told = f"{encounter.people} people seen by both; "
        told += _figures(encounter.fit, "feet", f"px of {one}")
        found.evidence[f"{one}, {other}"] = told + f"; by chance {encounter.chance:.0f} feet agree"
    found.sources.append(str(options.run))
    found.amounts.append(record.amount())


def _figures(fit: Fit, what: str, unit: str) -> str:
    pixels, units = fit.told(fit.pixels), fit.told(fit.units)
    return (
        f"{fit.inliers.sum()} of {len(fit.inliers)} {what} agree; off by {pixels[0]:.1f} px (90 %: {pixels[1]:.1f}), "
        f"{units[0]:.2f} {unit} (90 %: {units[1]:.2f}); over {100 * fit.coverage:.0f} % of the picture"
    )


def _ground_section(ground: GroundSettings) -> Section:
    section: dict[str, str | float | Sequence[object]] = {
        "camera": ground.camera,
        "size": list(ground.size),
        "floor": list(ground.floor),
        "error": round(ground.error, 3),
    }
    if ground.lens:
        section["lens"] = list(ground.lens)
    if ground.frame != METRES:
        section["frame"] = ground.frame
    section["view"] = [_round(corner) for corner in ground.view]
    return section


def _round(corner: tuple[float, float]) -> list[float]:
    return [round(value, 2) for value in corner]


def _tell(
    options: argparse.Namespace,
    console: Console,
    found: _Found,
    grounds: Mapping[str, GroundSettings],
    shared: Sequence[OverlapSettings],
    page: Path,
) -> None:
    if options.json:
        outcome = {
            "cameras": {
                name: {"frame": ground.frame, "error": ground.error, "floor": list(ground.floor)}
                for name, ground in grounds.items()
            },
            "overlaps": [
                {"cameras": list(o.cameras), "area": area(np.array(o.floor))} for o in shared
            ],
            "evidence": found.evidence,
            "unrelated": {", ".join(pair): why for pair, why in found.unrelated.items()},
            "page": str(page),
        }
        sys.stdout.write(json.dumps(outcome) + "\n")
        return
    for name, told in found.evidence.items():
        console.print(f"{name}: {told}", markup=False, highlight=False, soft_wrap=True)
    for why in found.unrelated.values():
        console.print(why, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{options.site} is written; {page} shows it", markup=False, soft_wrap=True)


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"is written as 1920x1080, not {text}") from None
    if min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return width, height
