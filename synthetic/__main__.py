"""`python -m synthetic`: rendered sites, re-identification sets and detection sets with exact
truth.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from synthetic.detection_set import LEAST_VISIBLE, DetectRequest, write_detect
from synthetic.errors import SyntheticError
from synthetic.load import site_names
from synthetic.palette import PALETTES
from synthetic.reid_set import ReidRequest, write_reid
from synthetic.sheet import detection_sheet, reid_sheet, site_sheets
from synthetic.write import SiteRequest, write_site

_EXAMPLES = """examples:
  python -m synthetic site mall --seed 7 --duration 60 --out runs/mall
  python -m synthetic site plaza --size 640x360 --fps 10 --sheet --out runs/plaza
  python -m synthetic site generated:12 --duration 30 --out runs/twelve
  python -m synthetic reid --train 300 --test 100 --palette train --test-palette test --out
  runs/reid
  python -m synthetic detect --images 2000 --out runs/detect
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        result: dict[str, object] = options.run(options)
    except SyntheticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m synthetic", description=__doc__, epilog=_EXAMPLES, formatter_class=raw
    )
    commands = parser.add_subparsers(required=True, metavar="site | reid | detect")
    site = commands.add_parser(
        "site", help="videos of a whole site", epilog=_EXAMPLES, formatter_class=raw
    )
    site.add_argument("site", help=f"{', '.join(site_names())}, generated:N, or a TOML file")
    site.add_argument("--duration", type=float, default=60.0, help="seconds (60)")
    site.add_argument("--fps", type=float, help="frames per second (the site's own)")
    site.set_defaults(run=_site)
    reid = commands.add_parser(
        "reid",
        help="a re-identification set laid out like MARS",
        epilog=_EXAMPLES,
        formatter_class=raw,
    )
    reid.add_argument("--train", type=int, default=200, help="identities to train on (200)")
    reid.add_argument("--test", type=int, default=100, help="identities to test on (100)")
    reid.add_argument("--frames", type=int, default=16, help="crops per tracklet (16)")
    reid.add_argument("--tracklets", type=int, default=2, help="per identity and camera (2)")
    reid.add_argument("--cameras", type=int, default=6, help="of an invented site, up to 9 (6)")
    reid.add_argument("--site", default="", help="a site whose cameras to use instead")
    reid.add_argument("--test-site", default="", help="another site for the test half")
    reid.add_argument(
        "--test-palette", choices=PALETTES, help="other clothes colours for the test half"
    )
    reid.add_argument(
        "--rough",
        action="store_true",
        help="people as live cameras see them: cut by the picture's edge, behind others",
    )
    reid.set_defaults(run=_reid)
    detect = commands.add_parser(
        "detect", help="a detection set laid out for YOLO", epilog=_EXAMPLES, formatter_class=raw
    )
    detect.add_argument("--images", type=int, default=1000, help="in all (1000)")
    detect.add_argument("--val", type=float, default=0.15, help="share kept for validation (0.15)")
    detect.add_argument(
        "--site", action="append", default=[], help="a site to use, can be repeated (invented ones)"
    )
    detect.add_argument(
        "--invented", type=int, help="sites of four cameras to invent (one for 40 pictures)"
    )
    detect.add_argument(
        "--crowd", type=float, default=1.0, help="times as many people as usual (1)"
    )
    detect.add_argument(
        "--least-visible",
        type=float,
        default=LEAST_VISIBLE,
        help=f"share of a person that must show for a label ({LEAST_VISIBLE})",
    )
    detect.add_argument(
        "--near",
        type=float,
        default=0.0,
        help="share of pictures from within a few steps of somebody, who is large in them (0)",
    )
    detect.add_argument(
        "--clutter",
        type=float,
        default=0.0,
        help="share of cameras in rooms full of furniture, doors, screens and stains (0)",
    )
    detect.set_defaults(run=_detect)
    for command in (site, reid, detect):
        command.add_argument("--size", type=_size, help="width x height of a frame (960x540)")
        command.add_argument("--out", type=Path, required=True, help="folder to write")
        command.add_argument(
            "--seed", type=_seed, default=0, help="another seed is another world (0)"
        )
        command.add_argument(
            "--palette", choices=PALETTES, default="all", help="which clothes colours (all)"
        )
        command.add_argument(
            "--processes", type=int, default=os.cpu_count() or 1, help="at a time (all cores)"
        )
        command.add_argument("--sheet", action="store_true", help="add contact sheets to look at")
        command.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return parser


def _site(options: argparse.Namespace) -> dict[str, object]:
    request = SiteRequest(
        options.site, options.seed, options.duration, options.fps, options.size, options.palette
    )
    outcome = write_site(request, options.out, options.processes)
    if options.sheet:
        site_sheets(options.out, [camera.name for camera in request.load().cameras])
    return outcome


def _reid(options: argparse.Namespace) -> dict[str, object]:
    request = ReidRequest(
        seed=options.seed, train=options.train, test=options.test, frames=options.frames,
        tracklets=options.tracklets, cameras=options.cameras, site=options.site,
        test_site=options.test_site,
        size=options.size or (960, 540), palette=options.palette,
        test_palette=options.test_palette, rough=options.rough,
    )  # fmt: skip
    outcome = write_reid(request, options.out, options.processes)
    if options.sheet:
        reid_sheet(options.out)
    return outcome


def _detect(options: argparse.Namespace) -> dict[str, object]:
    request = DetectRequest(
        options.seed,
        options.images,
        options.val,
        options.size or (960, 540),
        tuple(options.site),
        options.palette,
        options.invented,
        options.crowd,
        options.least_visible,
        options.near,
        options.clutter,
    )
    outcome = write_detect(request, options.out, options.processes)
    if options.sheet:
        detection_sheet(options.out)
    return outcome


def _size(text: str) -> tuple[int, int]:
    width, x, height = text.lower().partition("x")
    if not (x and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"is written as 960x540, not {text}")
    return int(width), int(height)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, not {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
