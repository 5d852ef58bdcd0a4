"""Sections of a TOML text as lines, so that one is replaced and every other line, remarks above all, stays as it is."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Name = tuple[str, ...]
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""' r"|'''.*?'''" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|#[^\n]*",
    re.DOTALL,
)


class _Section(NamedTuple):
    """Lines start…end − 1: a header and what belongs to it, without the remarks before the next header."""

    name: Name
    start: int
    end: int


def replaced(text: str, name: Name, new: str) -> str:
    """A valid text in which `new` stands for all sections of that name and those within them."""
    lines = _lines(text)
    mine = [section for section in _sections(lines) if section.name[: len(name)] == name]
    place = mine[0].start if mine else len(lines)
    for section in reversed(mine):
        del lines[section.start : section.end]
    before, after = lines[:place], lines[place:]
    if before and before[-1].strip() and not mine:
        before.append("\n")
    if after and after[0].strip() and new:
        after.insert(0, "\n")
    while len(after) > 1 and not after[0].strip() and not after[1].strip():
        after.pop(0)  # one empty line is enough where something went
    return "".join(before) + new.strip("\n") + ("\n" if new else "") + "".join(after)


def has_sections(text: str, name: Name) -> bool:
    """Whether any header is of that name, or of one within it."""
    return any(section.name[: len(name)] == name for section in _sections(_lines(text)))


def _lines(text: str) -> list[str]:
    """TOML knows one end of a line; a text may hold other ones in its strings."""
    return [f"{line}\n" for line in text.removesuffix("\n").split("\n")] if text else []


def _sections(lines: Sequence[str]) -> Iterator[_Section]:
    headers = list(_headers(lines))
    for place, (start, name) in enumerate(headers, 1):
        last = headers[place][0] if place < len(headers) else len(lines)
        while not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#"):
            last -= 1
        yield _Section(name, start, last)


def _headers(lines: Sequence[str]) -> Iterator[tuple[int, Name]]:
    """Outside of strings and arrays, a line that begins with a bracket is a header."""
    blank = _STRING.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), "".join(lines))
    depth = 0
    for number, line in enumerate(blank.split("\n")[: len(lines)]):
        if depth == 0 and line.lstrip().startswith("["):
            yield number, _name(lines[number])
        else:
            depth += line.count("[") + line.count("{") - line.count("]") - line.count("}")


def _name(header: str) -> Name:
    found, names = tomllib.loads(header), []
    while found:
        ((name, inner),) = found.items()
        names.append(name)
        found = inner[0] if isinstance(inner, list) else inner
    return tuple(names)
