"""Sites: what stands where, how it is lit, where people come from, and which cameras look on.

A site is a TOML file, see `sites/plaza.toml` for a commented example; `generate` invents one with
any number of cameras. Lengths are metres, angles degrees, colours display values 0…1.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeAlias

from synthetic.camera import Camera
from synthetic.errors import SiteError
from synthetic.palette import Colour

Point: TypeAlias = tuple[float, float, float]
Spot: TypeAlias = tuple[float, float]


class Material(IntEnum):
    """Surfaces of the surroundings, in the order that `scene` knows them."""

    PLASTER = 0
    BRICK = 1
    TILES = 2
    CONCRETE = 3
    WOOD = 4
    SHOP = 5
    FOLIAGE = 6
    METAL = 7
    POSTER = 8
    PAVING = 9
    GLASS = 10


@dataclass(frozen=True, slots=True)
class Box:
    """An upright cuboid: a wall, a bench, a planter, a kiosk."""

    low: Point
    high: Point
    material: Material
    colour: Colour


@dataclass(frozen=True, slots=True)
class Pillar:
    """An upright cylinder."""

    at: Spot
    radius: float
    low: float
    high: float
    material: Material
    colour: Colour


@dataclass(frozen=True, slots=True)
class Lamp:
    """A lamp; `power` 1 lights a floor 4 m below it as bright as a clear indoor hall."""

    at: Point
    power: float


@dataclass(frozen=True, slots=True)
class Site:
    """A whole site."""

    name: str
    bounds: tuple[float, float, float, float]
    """Least x, least y, greatest x, greatest y."""
    areas: tuple[tuple[float, float, float, float], ...]
    """Where people may walk: rectangles like `bounds`, together, less the obstacles."""
    fps: float
    people: int
    """How many are on the site at a time, on average."""
    floor: Material
    floor_colour: Colour
    floor_scale: float
    ceiling: float
    """Height of the ceiling; 0 under the open sky."""
    sun: Point
    """Direction towards the sun."""
    sun_power: float
    ambient: float
    boxes: tuple[Box, ...]
    pillars: tuple[Pillar, ...]
    lamps: tuple[Lamp, ...]
    doors: tuple[Spot, ...]
    """Where people enter and leave, out of every camera's sight if appearing must not show."""
    spots: tuple[Spot, ...]
    """Where people stop for a while."""
    cameras: tuple[Camera, ...]

    def resized(self, size: tuple[int, int]) -> "Site":
        """The same site with every camera giving pictures of `size`."""
        if min(size) < 32 or max(size) > 8192 or size[0] % 2 or size[1] % 2:
            raise SiteError(
                f"A picture of {size[0]}×{size[1]} cannot be made; sides are even, 32 to 8192."
            )
        return replace(self, cameras=tuple(replace(camera, size=size) for camera in self.cameras))

    def camera(self, name: str) -> Camera:
        """The camera of that name."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        names = ", ".join(camera.name for camera in self.cameras)
        raise SiteError(f"Site {self.name} has no camera {name}; it has {names}.")
