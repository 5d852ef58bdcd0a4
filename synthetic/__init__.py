"""A rendered site with several cameras, and the exact truth about everybody on it."""

from synthetic.camera import Camera, Optics
from synthetic.errors import OutputError, RequestError, SiteError, SyntheticError
from synthetic.generate import generate_site
from synthetic.live import Feed, Shot
from synthetic.load import load_site, parse_site, site_names
from synthetic.look import Look, look_of
from synthetic.palette import PALETTES, Palette
from synthetic.render import Rendered, Renderer
from synthetic.scene import surroundings_of
from synthetic.site import Site
from synthetic.world import People, World
from synthetic.write import SiteRequest, write_site

__all__ = [
    "PALETTES",
    "Camera",
    "Feed",
    "Look",
    "Optics",
    "OutputError",
    "Palette",
    "People",
    "Rendered",
    "Renderer",
    "RequestError",
    "Shot",
    "Site",
    "SiteError",
    "SiteRequest",
    "SyntheticError",
    "World",
    "generate_site",
    "load_site",
    "look_of",
    "parse_site",
    "site_names",
    "surroundings_of",
    "write_site",
]
