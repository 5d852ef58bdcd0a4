"""Tracklets to vectors, in each of the ways a network can be used.

clip      the bidirectional network on every 8 frames, averaged
causal    the causal network on every 8 frames, its last answer averaged
stream    the causal network, one crop at a time, as the live loop runs it
window    every 8 frames the exact clip embedding of the last 8; its last answer
mean      maps of single frames, averaged over space and frames: no learning over time
"""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.dataset import Tracklet
from trainer.data.loading import ahead
from trainer.data.sampling import dense_clips
from trainer.data.transforms import Clip, read_clip
from trainer.errors import DataError
from trainer.model import GRL
from trainer.model.backbones import imagenet_normalised
from trainer.model.grl import SEGMENT
from trainer.objective import normalised

FloatArray = NDArray[np.float32]
FrameEmbedder = Callable[[Clip], FloatArray]
"""(N, H, W, 3) uint8 BGR to (N, E): any network, engine or formula that looks at single frames."""
FRAMES = (1, 2, 4, 8, 16, 32)
"""After how many frames accuracy is told."""


ClipVectors = Callable[[NDArray[np.uint8]], FloatArray]
"""(N, 8, H, W, 3) uint8 BGR to (N, E)."""


class Embed(StrEnum):
    """How a network is used."""

    CLIP = "clip"
    CAUSAL = "causal"
    STREAM = "stream"
    WINDOW = "window"
    MEAN = "mean"


class Embedder(Protocol):
    """Whatever turns tracklets into vectors."""

    size: tuple[int, int]
    """Height and width of the pictures it takes."""

    def __call__(self, frames: Sequence[Clip]) -> FloatArray:
        """Tracklets of (n, H, W, 3) uint8 BGR, longest first, to (tracklets, E)."""
        ...


def embed(
    tracklets: Sequence[Tracklet],
    embedder: Embedder,
    *,
    batch: int = 32,
    threads: int = 2,
    advance: Callable[[int], None] = lambda done: None,
) -> FloatArray:
    """(tracklets, E) float32, in their order; `advance` is told of every batch done.

    Tracklets of like length go together, so that a batch wastes little.
    """
    if not tracklets:
        raise DataError("there are no tracklets to embed")
    order = sorted(range(len(tracklets)), key=lambda index: -len(tracklets[index]))
    groups = [order[start : start + batch] for start in range(0, len(order), batch)]

    def read(index: int) -> Clip:
        return read_clip(tracklets[index].paths, *embedder.size)

    frames = ahead(read, order, threads, waiting=batch + threads)
    rows: list[FloatArray] = []
    for group in groups:
        rows.append(embedder([next(frames) for _ in group]))
        advance(len(group))
    embeddings = np.concatenate(rows)
    back: FloatArray = np.empty_like(embeddings)
    back[order] = embeddings
    return back


def network_embedder(network: GRL, mode: Embed, device: torch.device) -> Embedder:
    """A network used in one of its modes."""
    network = network.to(device).eval()
    match mode:
        case Embed.STREAM:
            return StreamEmbedder(network, device)
        case Embed.MEAN:
            return FrameMeanEmbedder(_frame_vectors(network, device), network.size)
        case _:
            return ClipEmbedder(_clip_vectors(network, mode, device), mode, network.size)


class ClipEmbedder:
    """Clips of 8 frames, the short last one filled by repeating from its beginning."""

    CLIPS = 16
    """How many go through the network at once."""

    def __init__(self, of_clips: ClipVectors, mode: Embed, size: tuple[int, int]) -> None:
        self.size = size
        self._of_clips = of_clips
        self._mode = mode

    def __call__(self, frames: Sequence[Clip]) -> FloatArray:
        picks = [self._clips(len(tracklet)) for tracklet in frames]
        clips = [
            tracklet[row] for tracklet, rows in zip(frames, picks, strict=True) for row in rows
        ]
        owner = np.repeat(np.arange(len(frames)), [len(rows) for rows in picks])
        starts = range(0, len(clips), self.CLIPS)
        parts = [self._of_clips(np.stack(clips[at : at + self.CLIPS])) for at in starts]
        vectors = np.concatenate(parts)
        total = np.zeros((len(frames), vectors.shape[1]), np.float32)
        np.add.at(total, owner, vectors)
        total /= np.bincount(owner)[:, None]
        return total

    def _clips(self, frames: int) -> NDArray[np.int64]:
        if self._mode is Embed.WINDOW:  # the last window that a stream would have computed
            end = max(min(frames, SEGMENT), frames - frames % SEGMENT)
            return dense_clips(end)[-1:]
        return dense_clips(frames)


class StreamEmbedder:
    """One crop of each tracklet at a time through `step`, state carried along."""

    def __init__(self, network: GRL, device: torch.device) -> None:
        self.size = network.size
        self._network = network
        self._device = device

    def __call__(self, frames: Sequence[Clip]) -> FloatArray:
        last: FloatArray | None = None
        for active, embeddings in self.steps(frames):
            last = (
                np.empty((len(frames), embeddings.shape[1]), np.float32) if last is None else last
            )
            last[:active] = embeddings
        assert last is not None
        return last

    @torch.inference_mode()
    def steps(self, frames: Sequence[Clip]) -> Iterator[tuple[int, FloatArray]]:
        """After each frame, how many tracklets (the longest) have it and their embeddings."""
        lengths = np.array([len(tracklet) for tracklet in frames])
        state = self._network.initial_state(len(frames))
        for index in range(int(lengths.max())):
            active = int((lengths > index).sum())
            if active < len(state.count):
                state = state.rows(torch.arange(active, device=self._device))
            pixels = torch.from_numpy(np.stack([tracklet[index] for tracklet in frames[:active]]))
            embedding, state = self._network.step(
                imagenet_normalised(pixels.to(self._device)), state
            )
            yield active, _array(embedding)


class FrameMeanEmbedder:
    """The mean of whatever a frame embedder says of each frame."""

    FRAMES = 128

    def __init__(self, of_frames: FrameEmbedder, size: tuple[int, int]) -> None:
        self.size = size
        self._of_frames = of_frames

    def __call__(self, frames: Sequence[Clip]) -> FloatArray:
        lengths = np.array([len(tracklet) for tracklet in frames])
        every = np.concatenate(list(frames))
        batches = range(0, len(every), self.FRAMES)
        parts = [self._of_frames(every[at : at + self.FRAMES]) for at in batches]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        means: FloatArray = np.add.reduceat(np.concatenate(parts), starts, axis=0)
        means /= lengths[:, None]
        return means


def _clip_vectors(network: GRL, mode: Embed, device: torch.device) -> ClipVectors:
    @torch.inference_mode()
    def vectors(clips: NDArray[np.uint8]) -> FloatArray:
        crops = normalised(torch.from_numpy(clips).to(device))
        if mode is Embed.CAUSAL:
            return _array(network.causal(crops)[:, -1])
        return _array(network(crops).embedding)

    return vectors


def _frame_vectors(network: GRL, device: torch.device) -> FrameEmbedder:
    @torch.inference_mode()
    def vectors(frames: Clip) -> FloatArray:
        crops = imagenet_normalised(torch.from_numpy(frames).to(device))
        maps = network.features(crops[:, None])
        return _array(maps.mean(dim=(-2, -1))[:, 0])

    return vectors


def _array(vectors: torch.Tensor) -> FloatArray:
    return np.asarray(vectors.float().cpu().numpy())
