"""Writes a result into the operator's site file, and leaves the rest of it as the operator wrote it."""

import contextlib
import importlib.metadata
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Item, Table

from calibration.errors import SiteFileError, StorageError, UsageError
from calibration.toml_text import has_sections, replaced
from pipeline.errors import SettingsError
from pipeline.ingest import redact
from pipeline.sections import Evidence
from pipeline.settings import Provenance, load_settings

Value: TypeAlias = str | int | float | bool | Sequence[object]
Section: TypeAlias = Mapping[str, Value]
Result: TypeAlias = Mapping[str, Section | Sequence[Section]]
"""By name: a section, of which the given fields are set and the others stay; or several [[sections]] of one
name, which replace all that there were."""

_ORIGIN = "command", "date", "version", "source", "amount"


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


def apart_from(page: Path, site: Path) -> None:
    """That a page is not to be written over the site's file."""
    if page.resolve() == site.resolve():
        raise UsageError(f"{page} is the site's file: choose another one for the page")


def write_result(path: Path, name: str, result: Result, origin: Provenance) -> None:
    """Put the result of the command `name` into the file at `path`, which is begun if there is none.

    All or nothing: what is written was read back by the pipeline's own reader first.
    """
    path = path.resolve()
    text = _read(path)
    for section, content in result.items():
        if isinstance(content, Mapping):
            text = _set(text, section, content)
        else:
            sections = tomlkit.aot()
            for fields in content:
                sections.append(_table(fields))
            text = _replace(text, (section,), {section: sections} if content else {})
    told = _table({key: getattr(origin, key) for key in _ORIGIN})
    told.add("evidence", _table(origin.evidence))
    calibration = tomlkit.table(is_super_table=True)
    calibration.add(name, told)
    _write(path, _replace(text, ("calibration", name), {"calibration": calibration}))


def _read(path: Path) -> str:
    try:
        text = path.read_text("utf-8-sig") if path.exists() else ""
        tomlkit.parse(text)
    except OSError as error:
        raise SiteFileError(f"cannot read {path}: {error.strerror}") from error
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise SiteFileError(f"{path} is not TOML, and was left alone: {error}") from error
    return text


def _set(text: str, name: str, content: Section) -> str:
    document = tomlkit.parse(text)
    section = document.setdefault(name, tomlkit.table())
    if not isinstance(section, Table):
        raise SiteFileError(f"{name} is not a section of the site's file")
    for key, value in content.items():
        section[key] = _item(value)
    return tomlkit.dumps(document)


def _replace(text: str, name: tuple[str, ...], new: Mapping[str, Item]) -> str:
    """Sections that have headers, all else being left; what is there in another form has to go first."""
    document = tomlkit.parse(text)
    outer: object = document
    for part in name[:-1]:
        outer = outer.get(part, {}) if isinstance(outer, Mapping) else outer
    if not isinstance(outer, MutableMapping) or isinstance(outer, InlineTable):
        raise SiteFileError(f"{'.'.join(name[:-1])} is not a section of the site's file")
    if name[-1] in outer and not has_sections(text, name):
        outer.pop(name[-1])
        text = tomlkit.dumps(document)
    return replaced(text, name, tomlkit.dumps(new) if new else "")


def _table(fields: Mapping[str, Value]) -> Table:
    table = tomlkit.table()
    for key, value in fields.items():
        table.add(key, _item(value))
    return table


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


def _write(path: Path, text: str) -> None:
    """By way of a file beside it, so that a full disk or a loss of power leaves the old file or the new one."""
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
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
