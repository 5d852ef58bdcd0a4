"""A rendered camera of a synthetic site as a feed: the only module here that knows `synthetic`."""

from collections.abc import Iterator
from functools import partial

from pipeline.errors import AddressError, FeedError
from pipeline.ingest.addresses import Address, SyntheticCamera, parse_synthetic
from pipeline.ingest.feed import Picture
from pipeline.pixels import Image
from synthetic import Feed, Site, SyntheticError, load_site


class SyntheticFeed:
    """Frames of one rendered camera, each rendered only if it is wanted."""

    finite = True
    damaged = 0
    skipped = 0

    def __init__(self, site: Site, wanted: SyntheticCamera) -> None:
        self._site, self._wanted = site, wanted
        self.interval = 1 / site.fps
        self.connected = False

    def pictures(self) -> Iterator[Picture | None]:
        """Frames 0, 1, 2, … stamped from 0, for as long as the address asks."""
        wanted = self._wanted
        try:
            feed = Feed(self._site, wanted.camera, wanted.seed, duration=wanted.duration)
        except SyntheticError as error:
            raise FeedError(str(error)) from None
        self.connected = True
        index = 0
        while wanted.duration is None or index < len(feed):
            yield Picture(index * self.interval, partial(_render, feed, index))
            index += 1

    def close(self) -> bool:
        return True


def find_synthetic(address: Address) -> tuple[Site, SyntheticCamera]:
    """The site and camera that an address names; AddressError if there are none."""
    wanted = parse_synthetic(address.location)
    try:
        site = load_site(wanted.site)
        site.camera(wanted.camera)
    except SyntheticError as error:
        raise AddressError(f"{address.display} cannot be rendered: {error}") from None
    return site, wanted


def _render(feed: Feed, index: int) -> Image:
    return feed.frame(index).rendered.image
