"""Which frames of a tracklet, and which tracklets of a set, the network sees."""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import Tracklet

IntArray = NDArray[np.int64]
CLIP = 8


def even_frames(frames: int, length: int = CLIP) -> IntArray:
    """(length,) frames spread evenly over a tracklet; the last is repeated at the end."""
    stride = -(-frames // length)
    return np.minimum(np.arange(length) * stride, frames - 1)


def dense_clips(frames: int, length: int = CLIP) -> IntArray:
    """(clips, length): all frames in order; a short last clip repeats from its own beginning."""
    clips = -(-frames // length)
    starts = np.arange(clips)[:, None] * length
    filled = np.minimum(frames - starts, length)
    return starts + np.arange(length)[None] % filled


def one_per_chunk(frames: int, rng: np.random.Generator, length: int = CLIP) -> IntArray:
    """(length,) frames in order, one drawn from each of `length` equal chunks of a tracklet."""
    starts = np.arange(length) * frames // length
    ends = np.maximum(np.arange(1, length + 1) * frames // length, starts + 1)
    return rng.integers(starts, ends)


def evenly_run(frames: int, rng: np.random.Generator, length: int = CLIP) -> IntArray:
    """(length,) frames at a random stride from a random start; the last is repeated at the end."""
    stride = int(rng.integers(1, max(1, frames // length) + 1))
    start = int(rng.integers(0, max(1, frames - stride * (length - 1))))
    return np.minimum(start + stride * np.arange(length), frames - 1)


def labels_of(tracklets: Sequence[Tracklet]) -> IntArray:
    """(tracklets,): the identity of each, counted from 0 in order of the identities."""
    identities = np.array([tracklet.identity for tracklet in tracklets])
    return np.unique(identities, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True, slots=True)
class PairSampler:
    """Batches of pairs: the same person from two cameras, different people in different pairs.

    One epoch takes every tracklet once as the first of a pair. The batches of an epoch depend on
    `seed` and the epoch alone, so a training resumes in the middle of one without a stored order.
    """

    tracklets: Sequence[Tracklet]
    pairs: int
    """Pairs in a batch; a batch has twice as many clips."""
    seed: int
    alike: IntArray | None = None
    """(identities, K): others who look like each, by their places in the order of all identities, the likest first.
    A batch is then made of families: somebody with all of his, as far as they are left."""

    def __len__(self) -> int:
        return max(1, len(self.tracklets) // self.pairs)

    def epoch(self, number: int) -> IntArray:
        """(batches, 2·pairs): tracklet indices; rows alternate first and second of each pair.

        What does not fill the last batch is left out; another epoch draws it.
        """
        rng = np.random.default_rng((self.seed, number))
        order = rng.permutation(len(self.tracklets))
        if self.alike is not None:
            order = self._in_families(order, self.alike)
        anchors = self._spread(order)[: len(self) * self.pairs]
        partners = self._partners(anchors, rng)
        return np.stack([anchors, partners], 1).reshape(-1, 2 * self.pairs)

    def _in_families(self, order: IntArray, alike: IntArray) -> IntArray:
        """Reorder so that everybody is followed by those who look like him."""
        people = labels_of(self.tracklets).tolist()
        waiting: dict[int, deque[int]] = defaultdict(deque)
        for index in order.tolist():
            waiting[people[index]].append(index)
        families: list[int] = []
        taken = np.zeros(len(order), bool)
        for index in order.tolist():
            if not taken[index]:
                family = [people[index], *alike[people[index]].tolist()]
                members = [waiting[person].popleft() for person in family if waiting[person]]
                taken[members] = True
                families += members
        return np.array(families)

    def _spread(self, order: IntArray) -> IntArray:
        """Reorder so that no batch holds a person twice, as long as enough people are left."""
        waiting: deque[int] = deque(order.tolist())
        spread: list[int] = []
        while waiting:
            seen: set[int] = set()
            held: list[int] = []
            while waiting and len(seen) < self.pairs:
                index = waiting.popleft()
                identity = self.tracklets[index].identity
                (held if identity in seen else spread).append(index)
                seen.add(identity)
            if not waiting:
                spread += held
            waiting.extendleft(reversed(held if waiting else []))
        # A set smaller than one batch fills it by starting again.
        return np.resize(np.array(spread), max(len(spread), self.pairs))

    def _partners(self, anchors: IntArray, rng: np.random.Generator) -> IntArray:
        """For each anchor, a tracklet of the same person in another camera."""
        members: dict[int, list[int]] = defaultdict(list)
        for index, tracklet in enumerate(self.tracklets):
            members[tracklet.identity].append(index)
        partners = []
        for anchor in anchors.tolist():
            chosen = self.tracklets[anchor]
            others = [
                i for i in members[chosen.identity] if self.tracklets[i].camera != chosen.camera
            ]
            partners.append(others[rng.integers(len(others))])
        return np.array(partners)
