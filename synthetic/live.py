"""A camera of a site as a source of pictures on demand, for a paced or a streamed feed."""

from collections.abc import Iterator
from dataclasses import dataclass

from synthetic.errors import RequestError
from synthetic.palette import Palette
from synthetic.render import Rendered, Renderer
from synthetic.scene import surroundings_of
from synthetic.site import Site
from synthetic.world import World


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame as a camera took it."""

    camera: str
    index: int
    time: float
    """Seconds since the epoch given to the source."""
    rendered: Rendered


class Feed:
    """Frames of one camera, each rendered when asked for.

    Iterating gives frames 0, 1, 2, … for ever or for `duration` seconds; `frame(t)` gives any one.
    Two feeds of
    the same site and seed show the same people at the same time. Not for use by several threads at
    once.
    """

    def __init__(
        self,
        site: Site,
        camera: str,
        seed: int,
        *,
        epoch: float = 0.0,
        duration: float | None = None,
        palette: Palette = "all",
    ) -> None:
        if duration is not None and not duration > 0:
            raise RequestError(f"A duration is more than 0 seconds, not {duration}.")
        self.site, self.epoch, self.duration = site, epoch, duration
        self.camera = site.camera(camera)
        self.world = World(site, seed, palette)
        self._renderer = Renderer(self.camera, surroundings_of(site), self.world.identity, seed)

    def __len__(self) -> int:
        if self.duration is None:
            raise TypeError("This feed has no end.")
        return round(self.duration * self.site.fps)

    def __iter__(self) -> Iterator[Shot]:
        index = 0
        while self.duration is None or index < len(self):
            yield self.frame(index)
            index += 1

    def frame(self, index: int) -> Shot:
        """Frame `index`; going forward is fast."""
        time = index / self.site.fps
        rendered = self._renderer.render(self.world.people_at(time), index)
        return Shot(self.camera.name, index, self.epoch + time, rendered)
