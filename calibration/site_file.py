"""Writes a result into the operator's site file, and leaves the rest of it as the operator wrote it."""

import contextlib
import importlib.metadata
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Item, Table

from calibration.errors import SiteFileError, StorageError
from pipeline.errors import SettingsError
from pipeline.ingest import redact
from pipeline.sections import Evidence
from pipeline.settings import Provenance, load_settings

Value: TypeAlias = str | int | float | bool | Sequence[object]
Section: TypeAlias = Mapping[str, Value]
Result: TypeAlias = Mapping[str, Section | Sequence[Section]]
"""By name: a section, of which the given fields are set and the others stay; or several [[sections]] of one
name, which replace all that there were."""


def provenance(source: str, amount: str, evidence: Evidence) -> Provenance:
    """Where a result of the command that is running comes from."""
    return Provenance(
        command=redact(shlex.join(["python", "-m", "calibration", *sys.argv[1:]])),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        version=importlib.metadata.version("throughline"),
        source=source,
        amount=amount,
        evidence=evidence,
    )


def write_result(path: Path, name: str, result: Result, origin: Provenance) -> None:
    """Put the result of the command `name` into the file at `path`, which is begun if there is none.

    All or nothing: what is written was read back by the pipeline's own reader first.
    """
    path = path.resolve()
    document = _read(path)
    for section, content in result.items():
        if isinstance(content, Mapping):
            _set(document, section, content)
        else:
            _replace(document, section, content)
    calibration = document.setdefault("calibration", tomlkit.table(is_super_table=True))
    calibration[name] = _provenance(origin)
    _write(path, tomlkit.dumps(document))


def _read(path: Path) -> tomlkit.TOMLDocument:
    try:
        text = path.read_text() if path.exists() else ""
        return tomlkit.parse(text)
    except OSError as error:
        raise SiteFileError(f"cannot read {path}: {error.strerror}") from error
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise SiteFileError(f"{path} is not TOML, and was left alone: {error}") from error


def _set(document: tomlkit.TOMLDocument, name: str, content: Section) -> None:
    section = document.setdefault(name, tomlkit.table())
    if not isinstance(section, Table):
        raise SiteFileError(f"{name} is not a section of the site's file")
    for key, value in content.items():
        section[key] = _item(value)


def _replace(document: tomlkit.TOMLDocument, name: str, content: Sequence[Section]) -> None:
    sections: AoT = tomlkit.aot()
    for fields in content:
        table = tomlkit.table()
        for key, value in fields.items():
            table.add(key, _item(value))
        sections.append(table)
    document.pop(name, None)
    if content:
        document.add(name, sections)


def _item(value: Value) -> Item:
    """Figures are rounded to what a reader can take in."""
    item = tomlkit.item(_rounded(value))
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 4:
        item.multiline(True)  # type: ignore[attr-defined]
    return item


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(part) for part in value]
    return value


def _provenance(origin: Provenance) -> Table:
    table = tomlkit.table()
    for key in ("command", "date", "version", "source", "amount"):
        table.add(key, getattr(origin, key))
    evidence = tomlkit.table()
    for name, figure in origin.evidence.items():
        evidence.add(name, _item(figure))
    table.add("evidence", evidence)
    return table


def _write(path: Path, text: str) -> None:
    """By way of a file beside it, so that a full disk or a loss of power leaves the old file or the new one."""
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            load_settings(Path(part))
            Path(part).chmod(mode)
            Path(part).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(part).unlink()
            raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    except SettingsError as error:
        told = str(error).replace(part, str(path))
        raise SiteFileError(
            f"the result does not fit the site's file, which was left alone: {told}"
        ) from error
