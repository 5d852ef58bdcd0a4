"""Commands about who is known: `list`, `find` and `forget`. All of them may be used beside a live run."""

import argparse
import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.options import count
from pipeline.errors import OutputError, SettingsError, StoreInUse
from pipeline.folder import IDENTITIES, latest_run, parts_of
from pipeline.frames import FloatArray
from pipeline.identify import GalleryStore, Identifier, IdentifySettings
from pipeline.networks import network_of, open_fastest, open_pool
from pipeline.pixels import Image
from pipeline.publish.erase import Erased, erase
from pipeline.settings import EmbedderSettings, Settings, load_settings

_PATIENCE = 10.0
"""Seconds in which a live run has to erase somebody from its files."""


def list_people(words: Sequence[str], console: Console) -> int:
    """Who is known, and when and where they were seen."""
    parser = _parser("list", "Who is known.", "list runs/today --json")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    with closing(Identifier(IdentifySettings(), _visit(_database(options)))) as identifier:
        people = identifier.list()
    if options.json:
        print(json.dumps([asdict(person) for person in people]))
        return 0
    tall = any(person.stature for person in people)
    table = Table("identity", "first seen", "last seen", "at", "cameras", *["metres"] * tall)
    for person in people:
        first, last = _clock(person.first_seen), _clock(person.last_seen)
        cameras = escape(", ".join(person.cameras))
        stature = [f"{person.stature:.2f}" if person.stature else "–"] * tall
        table.add_row(
            str(person.identity), first, last, escape(person.last_camera), cameras, *stature
        )
    _print(table)
    return 0


def find_people(words: Sequence[str], console: Console) -> int:
    """Who looks most like the person in a picture."""
    parser = _parser(
        "find",
        "Who looks like the person in a picture.",
        "find runs/today --image crop.jpg\n"
        "  python run_pipeline.py find --database identities.db --image hall.jpg --box 410,80,60,150",
    )
    parser.add_argument("--image", type=Path, required=True, help="a picture of one person")
    parser.add_argument(
        "--box", type=_box, help="left,top,width,height in pixels: where in the picture (all of it)"
    )
    parser.add_argument("--embedder", help="the one that the identities were made with")
    parser.add_argument("--site", type=Path, help="TOML file with the embedder and match settings")
    parser.add_argument("-k", type=count, default=5, help="how many to name, at most (5)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    settings = load_settings(options.site) if options.site else Settings()
    embedder = replace(
        settings.embedder, package=options.embedder or settings.embedder.package, slots=1
    )
    informed = replace(settings, embedder=embedder).identify()
    database = _database(options)
    crop = _picture(options.image, options.box)
    network, digest = network_of(embedder)
    store = GalleryStore(database, network, digest=digest, owner=False)
    with closing(Identifier(informed, store)) as identifier:
        people = {person.identity: person for person in identifier.list()}
        if not people:
            raise SettingsError(f"{database} knows nobody yet")
        matches = identifier.find(_embedding(embedder, crop), options.k)
    found = [(match, people[match.identity]) for match in matches]
    if options.json:
        print(json.dumps([asdict(match) | asdict(person) for match, person in found]))
        return 0
    table = Table("identity", "score", "similarity", "last seen", "at")
    for match, person in found:
        figures = f"{match.score:+.1f}", f"{match.similarity:.2f}", _clock(person.last_seen)
        table.add_row(str(match.identity), *figures, escape(person.last_camera))
    _print(table)
    console.print("a score above 0 speaks for the same person, below 0 against it")
    return 0


def forget_person(words: Sequence[str], console: Console) -> int:
    """Erase an identity from the database and from all that runs have written."""
    parser = _parser(
        "forget",
        "Erase all that is stored of somebody: identities, events, tracks, the report's bars and the record for "
        "calibration, of this run and those before it in its folder. Annotated videos stay as they are.",
        "forget runs/today 17\n  python run_pipeline.py forget --database identities.db 17",
    )
    parser.add_argument("identity", type=count)
    options = parser.parse_args(words)
    database, folder = _database(options), options.run
    if not (database.is_file() and database.stat().st_size):
        raise SettingsError(f"there are no identities at {database}")
    try:
        store, live = GalleryStore(database), False
    except StoreInUse:
        store, live = _visit(database), True
    # Held meanwhile, so that no run begins to write, and nobody else rewrites the same files.
    with closing(store), _alone(database.parent):
        # Somebody new may not be in the database yet, and a number that was not given out yet is nobody's.
        new = live and folder is not None and _told_of(folder, options.identity)
        asked = not live or folder is None or new or store.knows(options.identity)
        known, done = asked and store.forget(options.identity), []
        names = store.names(options.identity)
        quiet = _quiet(folder, live) if folder is not None else []
        done += [erase(part, names) for part in quiet]
        if live and folder is not None:
            # Whom it has let go of since has left its files too, but may be in the record.
            done.append(
                _await_erasure(folder, store, options.identity)
                if asked
                else erase(folder, names, live=True)
            )
            known |= asked
            # What was still written into before may have become a day of its own meanwhile.
            done += [erase(part, names) for part in _quiet(folder, live) if part not in quiet]
    failures = [failure for part in done for failure in part.failures]
    if not (known or failures or any(done)):
        raise SettingsError(f"{folder or database} knows no identity {options.identity}")
    if known or any(done):
        console.print(f"in {folder or database}:", markup=False, highlight=False, soft_wrap=True)
        for told in _outcome(options.identity, names, done, folder):
            console.print(told, markup=False, highlight=False, soft_wrap=True)
    if failures:
        raise OutputError(
            f"not everything of identity {options.identity} could be erased: {'; '.join(failures)}. "
            "Once that is seen to, repeat this"
        )
    return 0


def _print(table: Table) -> None:
    """A line each, however wide, where another program reads it."""
    console = Console()
    (console if console.is_terminal else Console(width=1000)).print(table)


def _outcome(
    identity: int, names: Set[int], done: Sequence[Erased], folder: Path | None
) -> list[str]:
    """What was erased, and what there is that was not."""
    events, rows = sum(part.events for part in done), sum(part.rows for part in done)
    recorded = sum(part.recorded for part in done)
    others = ", ".join(map(str, sorted(names - {identity})))
    also = f" (also known as {others})" if others else ""
    told = [
        f"identity {identity}{also} is forgotten ({events} events, {rows} rows of tracks, {recorded} of the "
        "record); its number will not be used again"
    ]
    videos = ", ".join(str(path) for part in done for path in part.videos)
    if videos:
        told.append(f"videos cannot be rewritten and may still show them: {videos}")
    if events or rows:
        told.append("totals in summary.json and the report's first line stay as they were counted")
    if folder is None:
        told.append("what runs have written was not looked into: name a run's folder for that")
    return told


def _told_of(folder: Path, identity: int) -> bool:
    """Whether the run that writes there has said anything about somebody."""
    return f'"identity": {identity},' in _events(folder)


def _events(folder: Path) -> str:
    """What the run that writes there has said so far; a new day's file may be on its way."""
    try:
        return (folder / "events.jsonl").read_text()
    except FileNotFoundError:
        return ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _quiet(folder: Path, live: bool) -> list[Path]:
    """Folders that nobody is writing into."""
    return parts_of(folder)[1:] if live else parts_of(folder)


def _await_erasure(folder: Path, store: GalleryStore, identity: int) -> Erased:
    """A live run erases from its own files, and its event log says so. If it ends before, we do it."""
    mark = f'{{"kind": "forgotten", "identity": {identity},'
    ends = time.monotonic() + _PATIENCE
    while time.monotonic() < ends:
        if mark in _events(folder):
            return erase(folder, store.names(identity), live=True)
        try:
            with closing(GalleryStore(store.path)):
                return erase(folder, store.names(identity))
        except StoreInUse:
            time.sleep(0.05)
    raise OutputError(
        f"identity {identity} is forgotten, but the live run has not yet taken it out of the files in "
        f"{folder}: repeat this when that run has ended"
    )


def _parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"run_pipeline.py {name}",
        description=description,
        epilog=f"examples:\n  python run_pipeline.py {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, nargs="?", help="folder of a run (the latest in runs/)")
    parser.add_argument("--database", type=Path, help="a file of identities, instead of a run's")
    return parser


def _database(options: argparse.Namespace) -> Path:
    """The file of identities that is meant; `options.run` becomes its folder where that is a run's."""
    if options.database is not None:
        if options.run is not None:
            raise SettingsError("name a run's folder or a --database, not both")
        path: Path = options.database
        return path
    options.run = options.run or latest_run()
    path = options.run / IDENTITIES
    return path


def _visit(database: Path) -> GalleryStore:
    return GalleryStore(database, owner=False)


def _clock(seconds: float) -> str:
    return time.strftime("%F %T", time.localtime(seconds))


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = (int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError("must be left,top,width,height in pixels") from None
    return left, top, width, height


def _picture(path: Path, box: tuple[int, int, int, int] | None) -> Image:
    """The person's pixels, (H, W, 3) uint8 BGR."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except cv2.error:  # it says that it is larger than any picture
        image = None
    if image is None:
        raise SettingsError(f"{path} is not a picture that can be read")
    height, width = image.shape[:2]
    left, top, wide, high = box or (0, 0, width, height)
    if not (0 <= left < left + wide <= width and 0 <= top < top + high <= height):
        raise SettingsError(f"the box {left},{top},{wide},{high} is not within {width}×{height}")
    crop: Image = np.ascontiguousarray(image[top : top + high, left : left + wide], np.uint8)
    return crop


def _embedding(settings: EmbedderSettings, crop: Image) -> FloatArray:
    """(E,) as a tracklet of one frame has it."""
    pool = open_pool(settings, open_fastest)
    height, width = pool.crop_size
    how = cv2.INTER_AREA if crop.shape[0] > height else cv2.INTER_LINEAR
    fitted = np.asarray(cv2.resize(crop, (width, height), interpolation=how), np.uint8)
    slots = np.array([pool.open()])
    embedding: FloatArray = pool.step(slots, fitted[None])[0]
    return embedding
