"""`collect`: pictures from a site's cameras, to measure on. They show people, and are deleted after some days."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from calibration.collecting import CROPS_EACH, Collection, by_class
from calibration.errors import StorageError, TooLittleError, UsageError
from calibration.sets import NAME, CalibrationSet, check_set, purge, write_set
from pipeline.errors import FeedError
from pipeline.ingest import IngestOptions, Sources, name_cameras, open_sources, parse_address
from pipeline.networks import open_detector, open_fastest, tracking
from pipeline.settings import CameraSettings, DetectorSettings, Settings, load_settings
from pipeline.track import Tracker, TrackerSettings
from pipeline.zones import Detect, ignoring

EXAMPLES = """examples:
  python -m calibration collect --site site.toml -o sets/hall
  python -m calibration collect rtsp://10.0.0.7/stream -o sets/door --crops 400 --frames 300 --duration 86400
  python -m calibration collect films/*.mp4 -o sets/films --detector yolox_nano.onnx --days 3
  python -m calibration collect --purge sets

The set stays on this machine. It holds pictures of people, unblurred, and is deleted after --days by whichever
calibration command opens it next, or by --purge, which belongs into a nightly job.
The same command goes on where it was stopped.
"""
STOPPED = 130
_SAVED = 10.0
"""Seconds between two writings of the set's description."""
_MOST_DAYS = 366
_PATIENCE = 20.0
"""Seconds to wait for the first picture of any camera before there is something wrong with all of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cameras", nargs="*", help="addresses: streams, files, folders of pictures")
    parser.add_argument("-o", "--output", type=Path, help="folder of the set")
    parser.add_argument("--site", type=Path, help="the site's file, for cameras and detector")
    parser.add_argument("--detector", help="package or ONNX graph, instead of the site's")
    parser.add_argument("--frames", type=int, default=300, help="whole pictures, at most (300)")
    parser.add_argument("--crops", type=int, default=400, help="crops of people, at most (400)")
    parser.add_argument(
        "--duration",
        type=float,
        help="seconds to collect for, spread over all of them (until there is enough, or files end)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=5.0,
        help="pictures a second and camera that are looked at (5)",
    )
    parser.add_argument("--days", type=float, default=14.0, help="until the set is deleted (14)")
    parser.add_argument(
        "--purge",
        type=Path,
        metavar="FOLDER",
        help="delete the sets at or below FOLDER whose day is over, and do nothing else",
    )
    parser.add_argument("--json", action="store_true", help="the outcome on standard output")


def run(options: argparse.Namespace) -> int:
    """Answers the exit code."""
    console = Console(stderr=True)
    if options.purge is not None:
        gone = purge(options.purge)
        if options.json:
            print(json.dumps({"deleted": [str(path) for path in gone]}))  # noqa: T201
        else:
            console.print(
                f"{len(gone)} sets deleted", *map(str, gone), soft_wrap=True, markup=False
            )
        return 0
    settings = _settings(options)
    addresses = [parse_address(camera.address) for camera in settings.camera]
    names = settings.names(name_cameras(addresses))
    content = _begin(options, names, settings.detector)
    console.print(
        f"{escape(str(options.output))} will hold [bold]pictures of people[/], unblurred, until {content.expires}; "
        "they stay on this machine",
        soft_wrap=True,
    )
    collection = Collection(options.output, content, options.frames, options.crops)
    zones = {name: camera.ignore for name, camera in zip(names, settings.camera, strict=True)}
    detect = ignoring(open_detector(settings.detector, open_fastest, len(names)), zones)
    every = not any(address.live for address in addresses)
    sources = open_sources(
        addresses, names, IngestOptions(every_frame=every, max_rate=options.rate)
    )
    try:
        _collect(
            sources, detect, tracking(settings.detector), collection, options.duration, console
        )
    except KeyboardInterrupt:
        console.print(
            f"stopped; what was taken is in {options.output}, and the same command goes on",
            soft_wrap=True,
            markup=False,
        )
        return STOPPED
    finally:
        sources.stop()
        collection.save()
    _tell(collection, options, console)
    return 0


def _collect(
    sources: Sources,
    detect: Detect,
    sureness: TrackerSettings,
    collection: Collection,
    duration: float | None,
    console: Console,
) -> None:
    trackers: dict[str, Tracker] = {}
    first: float | None = None
    passed = 0.0
    begun = saved = heard = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("waiting for pictures", total=duration)
        sources.start()
        while not sources.finished:
            frames = sources.wait(0.2)
            now = time.monotonic()
            if not frames:
                # Cameras that did show something may come back: they have all of the time that was given.
                most = _PATIENCE if first is None else duration or np.inf
                if passed + now - heard >= most:
                    break
                continue
            heard = now
            for frame, found in zip(frames, detect(frames), strict=True):
                size = frame.image.shape[1], frame.image.shape[0]
                tracker = trackers.setdefault(frame.camera, Tracker(size, sureness))
                collection.note(frame, tracker.update(found, frame.time))
            first = frames[0].time if first is None else first
            passed = max(frames[-1].time - first, 0.0)
            if now - saved > _SAVED:
                saved = now
                collection.save()
            counts = collection.counts.values()
            told = f"{sum(f for f, _ in counts)} frames, {sum(c for _, c in counts)} crops"
            progress.update(task, description=told, completed=passed)
            if collection.full if duration is None else passed >= duration:
                break
    if first is None:
        reasons = {name: camera.error for name, camera in sources.health().items() if camera.error}
        told = "; ".join(f"{name}: {error}" for name, error in reasons.items())
        waited = time.monotonic() - begun
        raise FeedError(f"no picture came from any camera in {waited:.0f} s. {told}".strip())


def _settings(options: argparse.Namespace) -> Settings:
    if options.output is None:
        raise UsageError("where to? Name the set's folder with -o")
    if options.frames < 0 or options.crops < 0 or options.frames + options.crops == 0:
        raise UsageError("--frames and --crops are numbers from 0 on, and one of them is above 0")
    if 0 < options.crops < CROPS_EACH:
        raise UsageError(f"--crops is 0, or {CROPS_EACH} at least: so many are of one person")
    if not (options.days > 0 and options.rate > 0 and (options.duration or 1) > 0):
        raise UsageError("--days, --rate and --duration are numbers above 0")
    if options.days > _MOST_DAYS:
        raise UsageError(f"--days is {_MOST_DAYS} at most: these are pictures of people")
    site = load_settings(options.site) if options.site else Settings()
    cameras = tuple(CameraSettings(address) for address in options.cameras) or site.camera
    if not cameras:
        raise UsageError("there is no camera: name addresses, or a site with --site")
    detector = DetectorSettings(package=options.detector) if options.detector else site.detector
    return Settings(camera=cameras, detector=detector)


def _begin(
    options: argparse.Namespace, names: Sequence[str], detector: DetectorSettings
) -> CalibrationSet:
    """The description is written before the first picture, so that none is ever without a last day."""
    folder: Path = options.output
    found = check_set(folder)
    if found is not None:
        if found.cameras != tuple(names):
            raise UsageError(
                f"{folder} is a set of the cameras {', '.join(found.cameras)}, not of {', '.join(names)}"
            )
        return found
    now = datetime.now(UTC)
    content = CalibrationSet(
        created=now.isoformat(timespec="seconds"),
        expires=(now + timedelta(days=options.days)).isoformat(timespec="seconds"),
        detector=Path(detector.package).name,
        cameras=tuple(names),
    )
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} holds something else already: it has no {NAME}")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}") from error
    write_set(folder, content)
    return content


def _tell(collection: Collection, options: argparse.Namespace, console: Console) -> None:
    content = collection.content
    hours = Counter[str]()
    for person in content.people:
        hours[f"{person.hour:02d}h"] += person.crops
    crops = sum(person.crops for person in content.people)
    result = {
        "set": str(options.output),
        "expires": content.expires,
        "cameras": {n: {"frames": f, "crops": c} for n, (f, c) in collection.counts.items()},
        "people": len(content.people),
        "hours": dict(sorted(hours.items())),
        "heights": by_class(content.people),
    }
    if options.json:
        print(json.dumps(result))  # noqa: T201
    else:
        for name, (frames, cut) in collection.counts.items():
            console.print(
                f"{name}: {frames} frames, {cut} crops",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )
        spread = ", ".join(f"{name} {count}" for name, count in by_class(content.people).items())
        console.print(
            f"{len(content.people)} people by height: {spread}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
        console.print(
            f"written: {options.output}, until {content.expires}", soft_wrap=True, markup=False
        )
    if options.crops and not crops:
        raise TooLittleError("crops of people", 0, 1, "the frames that were taken are kept")
