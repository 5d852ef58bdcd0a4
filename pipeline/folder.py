"""The folder of a run: made, found again, and never written over. An earlier run's files step aside, whole."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import OutputError, SettingsError

IDENTITIES = "identities.db"
_EARLIER = "earlier"


@dataclass(frozen=True, slots=True)
class FileSettings:
    """How long a live run writes into the same files, and how long they are kept. One [files]."""

    part_hours: float = 24.0
    """After so long, counted from midnight, events, tracks, videos and report begin anew; 0: never."""
    keep_days: float = 14.0
    """A part that is older is deleted by a live run into its folder; 0: never."""


def check_inputs(folder: Path, inputs: Sequence[Path], cameras: Sequence[str]) -> None:
    """That no annotated video of these cameras would be written over one of the `inputs`."""
    places = {(folder / f"{camera}.mp4").resolve() for camera in cameras}
    for film in inputs:
        if film.resolve() in places:
            raise SettingsError(
                f"the annotated video of {film} would take its place: choose another --output"
            )


def make_folder(path: Path) -> Path:
    """A folder that can be written into."""
    with writing(path):
        (path / "tracks").mkdir(parents=True, exist_ok=True)
        (path / "events.jsonl").touch()
    return path


def set_aside(folder: Path, inputs: Sequence[Path] = ()) -> list[str]:
    """Move what an earlier run left in a folder to `earlier/<number>` in it; answers all such, oldest first.

    Identities and the record for calibration stay where they are: they go on. So do `inputs`, which nobody made here.
    """
    with writing(folder):
        kept = {int(p.name): p for p in (folder / _EARLIER).glob("*") if p.name.isdecimal()}
        for left in (*folder.glob(".*.part"), *(folder / "tracks").glob(".*.part")):
            left.unlink(missing_ok=True)  # of somebody who was killed while he wrote
        events, summary = folder / "events.jsonl", folder / "summary.json"
        tracks = sorted((folder / "tracks").glob("*.txt"))
        used = tracks or summary.exists() or (events.is_file() and events.stat().st_size)
        if used:
            number = max(kept, default=0) + 1
            part = kept[number] = folder / _EARLIER / str(number)
            part.mkdir(parents=True)
            own = {path.resolve() for path in inputs}
            films = [folder / f"{path.stem}.mp4" for path in tracks]
            for path in (*films, events, folder / "tracks", folder / "report.html", summary):
                if path.exists() and path.resolve() not in own:
                    path.rename(part / path.name)
            make_folder(folder)
        return [str(kept[n].relative_to(folder)) for n in sorted(kept)]


def expired_parts(folder: Path, before: float) -> list[Path]:
    """Earlier parts of a run's folder into which nothing was written since. What nobody here made is none."""
    parts = [part for part in parts_of(folder)[1:] if part.name.isdecimal()]
    return [part for part in parts if max(map(_written, [part, *part.rglob("*")])) < before]


def latest_run(runs: Path = Path("runs")) -> Path:
    """The folder in which identities were written last: into the file or, as a live run does, the log beside it."""
    written = [path for end in ("", "-wal") for path in runs.glob(f"*/{IDENTITIES}{end}")]
    if not written:
        raise SettingsError(f"no folder in {runs}/ holds identities: name a run's folder")
    return max(written, key=_written).parent


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # the log of a run that has just ended
        return 0.0


def parts_of(folder: Path) -> list[Path]:
    """The folder of a run and those of the runs before it."""
    return [folder, *sorted(path for path in (folder / _EARLIER).glob("*") if path.is_dir())]


def write_whole(path: Path, text: str) -> None:
    """All of a file or nothing of it: a full disk leaves what was there before."""
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Trouble with the disk, in one sentence."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error
