"""Sections of a TOML file as dataclasses: every value is of its field's type, or an error says what it must be."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar, get_type_hints

from pipeline.errors import SettingsError
from pipeline.zones import Polygon, is_polygons

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Pairs: TypeAlias = tuple[tuple[str, str], ...]
Outline: TypeAlias = tuple[tuple[float, float], ...]
Evidence: TypeAlias = Mapping[str, str | int | float | Sequence[object]]
Section = TypeVar("Section", bound="DataclassInstance")


def sections(
    kind: type[Section], raw: Mapping[str, object], name: str, path: Path
) -> tuple[Section, ...]:
    """As many as are written, as [[name]]."""
    found = raw.get(name, [])
    if not isinstance(found, list):
        raise SettingsError(f"{path}: {name} is written as [[{name}]], one a section")
    return tuple(section(kind, part, f"{path}, [[{name}]]") for part in found)


def section(kind: type[Section], raw: object, where: str) -> Section:
    """One, as a dataclass: its fields say what may be written, `where` is what errors begin with."""
    if not isinstance(raw, Mapping):
        raise SettingsError(f"{where} must be a section, not {raw!r}")
    wanted = get_type_hints(kind)
    refuse_unknown(raw, set(wanted), where)
    missing = [
        item.name
        for item in fields(kind)
        if item.default is item.default_factory is MISSING and item.name not in raw
    ]
    if missing:
        raise SettingsError(f"{where} lacks '{missing[0]}'")
    return kind(
        **{name: _typed(value, wanted[name], f"{where} {name}") for name, value in raw.items()}
    )


def _typed(value: object, kind: object, where: str) -> object:
    """The value as the field wants it: whole numbers may stand for broken ones, and lists for tuples."""
    value = _frozen(value)
    if kind in (float, float | None) and _is_whole(value):
        value = float(value)  # type: ignore[arg-type]
    if kind in (tuple[float, ...], Outline):
        value = _as_floats(value)
    wanted, fits = _ACCEPTED[kind]
    if not fits(value):
        raise SettingsError(f"{where} must be {wanted}, not {value!r}")
    return value


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _as_floats(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_as_floats, value))
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_row(value: object, length: int | None = None) -> bool:
    return (
        isinstance(value, tuple)
        and (length is None or len(value) == length)
        and all(map(_is_finite, value))
    )


def _is_whole(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_text, value))


_ACCEPTED: dict[object, tuple[str, Callable[[object], bool]]] = {
    str: ("a text", _is_text),
    str | None: ("a text", _is_text),
    int: ("a whole number from 1 on", lambda value: _is_whole(value, 1)),
    float: ("a number from 0 on", _is_number),
    float | None: ("a number above 0", lambda value: _is_number(value) and value != 0),
    tuple[int, ...]: (
        "a list of whole numbers",
        lambda value: isinstance(value, tuple) and bool(value) and all(map(_is_whole, value)),
    ),
    tuple[Polygon, ...]: (
        "a list of polygons, each of at least three corners [x, y] between 0 and 1",
        is_polygons,
    ),
    Pairs: (
        "a list of pairs of cameras",
        lambda value: isinstance(value, tuple) and all(map(_is_pair, value)),
    ),
    tuple[int, int]: (
        "two whole numbers from 1 on",
        lambda value: (
            isinstance(value, tuple) and len(value) == 2 and all(_is_whole(v, 1) for v in value)
        ),
    ),
    tuple[float, ...]: ("a list of numbers", _is_row),
    Outline: (
        "a list of points, two numbers each",
        lambda value: isinstance(value, tuple) and all(_is_row(point, 2) for point in value),
    ),
    tuple[str, str]: ("a pair of cameras", _is_pair),
    Evidence: ("a section", lambda value: isinstance(value, Mapping)),
}
"""What may be written for a field, by its type."""


def refuse_unknown(raw: Mapping[str, object], known: set[str], where: str) -> None:
    """What nobody would read."""
    unknown = sorted(set(raw) - known)
    if unknown:
        raise SettingsError(f"{where} has no '{unknown[0]}'; there are {', '.join(sorted(known))}")
