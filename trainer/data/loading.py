"""Batches made ahead of the network by threads, always in the same order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import Tracklet
from trainer.data.sampling import PairSampler, evenly_run, labels_of, one_per_chunk
from trainer.data.transforms import Augmentation, Clip, augment, read_clip

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips of pairs: rows 0 and 1 are one person, 2 and 3 another, and so on."""

    clips: NDArray[np.uint8]
    """(B, T, H, W, 3) uint8, BGR."""
    labels: NDArray[np.int64]
    """(B,): identities, counted from 0."""


@dataclass(frozen=True, slots=True)
class TrainingBatches:
    """The batches of every epoch, or one process's share of each.

    What a batch holds depends only on the seed, the epoch and its place, not on threads or on how
    many processes share it.
    """

    sampler: PairSampler
    augmentation: Augmentation
    size: tuple[int, int]
    """Height and width of the network's input."""
    length: int
    """Frames in a clip."""
    running: float = 0.0
    """Share of clips that are a run of frames, as streams are, not spread over a tracklet."""
    threads: int = 2
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return len(self.sampler)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """This process's part of each batch of an epoch, from batch `start` on."""
        order, labels = self.sampler.epoch(number), labels_of(self.sampler.tracklets)
        share = order.shape[1] // self.world
        mine = slice(self.rank * share, (self.rank + 1) * share)

        def clip(item: tuple[int, int]) -> Clip:
            place, index = item
            rng = np.random.default_rng((self.sampler.seed, number, place))
            return self._clip(self.sampler.tracklets[index], rng)

        places = np.arange(order.size).reshape(order.shape)[start:, mine]
        items = zip(places.ravel().tolist(), order[start:, mine].ravel().tolist(), strict=True)
        clips = ahead(clip, items, self.threads, waiting=3 * share)
        for row in order[start:, mine]:
            made = [next(clips) for _ in row]
            yield Batch(np.stack(made), labels[row])

    def _clip(self, tracklet: Tracklet, rng: np.random.Generator) -> Clip:
        draw = evenly_run if rng.random() < self.running else one_per_chunk
        frames = draw(len(tracklet), rng, self.length)
        clip = read_clip([tracklet.paths[i] for i in frames], *self.size)
        return augment(clip, self.augmentation, rng)


def ahead(
    make: Callable[[Item], Made], items: Iterable[Item], threads: int, waiting: int
) -> Iterator[Made]:
    """`map(make, items)` in order, with up to `waiting` results made ahead by threads."""
    source = iter(items)
    queue: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="decode") as pool:
        try:
            for item in source:
                queue.append(pool.submit(make, item))
                if len(queue) >= waiting:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()
