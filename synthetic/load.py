"""Sites from their shipped names, from TOML files, or invented."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import TypeVar

from synthetic.camera import Camera, Optics
from synthetic.errors import SiteError
from synthetic.generate import generate_site
from synthetic.palette import Colour, linear
from synthetic.site import Box, Lamp, Material, Pillar, Point, Site, Spot

T = TypeVar("T")


def site_names() -> list[str]:
    """The sites that come with the package."""
    folder = files("synthetic") / "sites"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml"))


def load_site(source: str | Path) -> Site:
    """A site by its shipped name, as `generated:N` or `generated:N:SEED`, or from a TOML file."""
    text = str(source)
    if text.startswith("generated:"):
        return generate_site(*_generated(text))
    path = Path(text)
    if text in site_names():
        content = (files("synthetic") / "sites" / f"{text}.toml").read_text(encoding="utf-8")
    elif path.suffix == ".toml":
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SiteError(f"Site file {path} cannot be read: {error}.") from error
    else:
        known = ", ".join(site_names())
        raise SiteError(
            f"There is no site {text}; known are {known}, generated:N, or a .toml file."
        )
    return parse_site(content, text)


def parse_site(content: str, source: str) -> Site:
    """A site from TOML text; `source` names it in error messages."""
    try:
        return _site(_Table(tomllib.loads(content), source))
    except tomllib.TOMLDecodeError as error:
        raise SiteError(f"Site {source} is not valid TOML: {error}.") from error


class _Table:
    """A TOML table that is read key by key, so that wrong and unknown keys are told by name."""

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self.values, self.where, self.left = values, where, set(values)

    def get(self, key: str, default: object = None) -> object:
        self.left.discard(key)
        value = self.values.get(key, default)
        if value is None:
            raise SiteError(f"Site {self.where} lacks {key}.")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise SiteError(f"Site {self.where}: {key} must be a number, not {value!r}.")
        return float(value)

    def numbers(
        self, key: str, count: int, default: Sequence[float] | None = None
    ) -> tuple[float, ...]:
        value = self.get(key, default)
        good = isinstance(value, list | tuple) and len(value) == count
        if not good or not all(isinstance(v, int | float) and isfinite(v) for v in value):  # type: ignore[attr-defined]
            raise SiteError(f"Site {self.where}: {key} must be {count} numbers, not {value!r}.")
        return tuple(float(v) for v in value)  # type: ignore[attr-defined]

    def point(self, key: str, default: Sequence[float] | None = None) -> Point:
        x, y, z = self.numbers(key, 3, default)
        return x, y, z

    def spot(self, key: str) -> Spot:
        x, y = self.numbers(key, 2)
        return x, y

    def text(self, key: str, default: str | None = None) -> str:
        value = self.get(key, default)
        if not isinstance(value, str):
            raise SiteError(f"Site {self.where}: {key} must be text, not {value!r}.")
        return value

    def material(self, key: str, default: str | None = None) -> Material:
        name = self.text(key, default)
        try:
            return Material[name.upper()]
        except KeyError:
            known = ", ".join(m.name.lower() for m in Material)
            raise SiteError(f"Site {self.where}: no material {name}; known are {known}.") from None

    def colour(self, key: str, default: Sequence[float] | None = None) -> Colour:
        return linear(self.numbers(key, 3, default))

    def tables(self, key: str) -> "list[_Table]":
        value = self.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise SiteError(f"Site {self.where}: {key} must be a list of tables.")
        return [_Table(item, f"{self.where}, {key} {n + 1}") for n, item in enumerate(value)]

    def done(self) -> None:
        if self.left:
            raise SiteError(
                f"Site {self.where} has unknown entries: {', '.join(sorted(self.left))}."
            )


def _site(table: _Table) -> Site:
    x0, y0, x1, y1 = table.numbers("bounds", 4)
    width, height = table.numbers("size", 2, (960, 540))
    boxes = [_wall(item) for item in table.tables("wall")] + [
        _box(item) for item in table.tables("box")
    ]
    size = int(width), int(height)
    cameras = tuple(_camera(item, size) for item in table.tables("camera"))
    site = Site(
        name=table.text("name"),
        bounds=(x0, y0, x1, y1),
        areas=tuple(_area(item) for item in table.tables("area")) or ((x0, y0, x1, y1),),
        fps=table.number("fps", 15),
        people=int(table.number("people")),
        floor=table.material("floor"),
        floor_colour=table.colour("floor_colour"),
        floor_scale=table.number("floor_scale", 0.6),
        ceiling=table.number("ceiling", 0),
        sun=table.point("sun", (0.3, 0.2, 1.0)),
        sun_power=table.number("sun_power", 0.0),
        ambient=table.number("ambient", 0.5),
        boxes=tuple(boxes),
        pillars=tuple(_pillar(item) for item in table.tables("pillar")),
        lamps=tuple(_lamp(item) for item in table.tables("lamp")),
        doors=tuple(_done(item, item.spot("at")) for item in table.tables("door")),
        spots=tuple(_done(item, item.spot("at")) for item in table.tables("spot")),
        cameras=cameras,
    )  # fmt: skip
    table.done()
    names = {camera.name for camera in cameras}
    if len(names) != len(cameras) or not cameras:
        raise SiteError(f"Site {table.where} needs cameras with names that differ.")
    if any(name != Path(name).name or not name.isprintable() for name in names):
        raise SiteError(f"Site {table.where} names a camera as no file can be named.")
    if len(site.doors) < 2 or site.people < 1 or not (x0 < x1 and y0 < y1 and site.fps > 0):
        raise SiteError(
            f"Site {table.where} needs two doors, some people, bounds in order and a frame rate."
        )
    return site.resized(size)


def _area(item: _Table) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = item.spot("low"), item.spot("high")
    return _done(item, (x0, y0, x1, y1))


def _wall(item: _Table) -> Box:
    (ax, ay), (bx, by) = item.spot("from"), item.spot("to")
    half = item.number("thickness", 0.2) / 2
    low = min(ax, bx) - half, min(ay, by) - half, item.number("above", 0.0)
    high = max(ax, bx) + half, max(ay, by) + half, item.number("height", 4.0)
    box = Box(
        low, high, item.material("material", "plaster"), item.colour("colour", (0.8, 0.78, 0.74))
    )
    return _done(item, box)


def _box(item: _Table) -> Box:
    (x, y), (w, d, h) = item.spot("at"), item.point("size")
    above = item.number("above", 0.0)
    low, high = (x - w / 2, y - d / 2, above), (x + w / 2, y + d / 2, above + h)
    return _done(
        item,
        Box(low, high, item.material("material", "wood"), item.colour("colour", (0.5, 0.35, 0.2))),
    )


def _lamp(item: _Table) -> Lamp:
    return _done(item, Lamp(item.point("at"), item.number("power", 1.0)))


def _pillar(item: _Table) -> Pillar:
    low, high = item.number("above", 0.0), item.number("height", 4.0)
    material, colour = (
        item.material("material", "concrete"),
        item.colour("colour", (0.7, 0.69, 0.66)),
    )
    return _done(
        item, Pillar(item.spot("at"), item.number("radius", 0.3), low, high, material, colour)
    )


def _camera(item: _Table, size: tuple[int, int]) -> Camera:
    known = Optics()
    red, green, blue = item.numbers("white_balance", 3, known.white_balance)
    plain = {
        name: item.number(name, getattr(known, name))
        for name in ("exposure", "contrast", "noise", "blur", "vignette", "shutter")
    }
    crf = int(item.number("crf", known.crf))
    optics = Optics(white_balance=(red, green, blue), crf=crf, **plain)
    camera = Camera(
        name=item.text("name"), position=item.point("at"), look_at=item.point("look_at"),
        fov=item.number("fov", 70), size=size, k1=item.number("k1", 0.0), optics=optics,
    )  # fmt: skip
    flat = all(
        abs(a - b) < 1e-6 for a, b in zip(camera.position[:2], camera.look_at[:2], strict=True)
    )
    if flat or not 5 <= camera.fov <= 140 or camera.position[2] <= 0:
        raise SiteError(
            f"Site {item.where}: a camera is above the floor, looks aside, sees 5 to 140 degrees."
        )
    return _done(item, camera)


def _done(item: _Table, value: T) -> T:
    item.done()
    return value


def _generated(text: str) -> tuple[int, int]:
    try:
        parts = [int(part) for part in text.split(":")[1:]]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 2 or not 1 <= parts[0] <= 200 or min(parts) < 0:
        raise SiteError(
            f"{text} is not generated:CAMERAS or generated:CAMERAS:SEED with 1 to 200 cameras, and a seed from 0 on."
        )
    return parts[0], parts[1] if len(parts) == 2 else 0
