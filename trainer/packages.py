"""Engine packages as embedders: the only place where the trainer meets compiled networks."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines import Engine, StreamingReid, open_engine
from engines.errors import EngineError
from trainer.data.transforms import Clip
from trainer.embedding import ClipEmbedder, Embed, Embedder, FloatArray, FrameMeanEmbedder
from trainer.errors import UsageError, WeightsError


def package_embedder(path: Path, mode: Embed, threads: int) -> Embedder:
    """The engine at `path` as an embedder, whether it takes frames, clips, or crops and state."""
    try:
        engine = open_engine(path, threads=threads)
    except EngineError as error:
        raise WeightsError(str(error)) from error
    if "embedding" not in engine.outputs:
        raise UsageError(f"{path} is no network that embeds: it has no output 'embedding'")
    if len(engine.inputs) > 1:
        _only(path, mode, (Embed.STREAM,))
        return PackagedStream(engine)
    (shape,) = (spec.shape for spec in engine.inputs.values())
    size = shape[-3], shape[-2]
    if len(shape) == 5:
        _only(path, mode, (Embed.CLIP, Embed.WINDOW))
        return ClipEmbedder(_in_batches(engine), mode, size)
    return FrameMeanEmbedder(_in_batches(engine), size)


def _only(path: Path, mode: Embed, modes: tuple[Embed, ...]) -> None:
    if mode not in modes:
        raise UsageError(f"{path} was built for {' and '.join(modes)} only, not for {mode}")


def _in_batches(engine: Engine) -> Callable[[NDArray[np.uint8]], FloatArray]:
    """The engine's answer to any number of pictures or clips."""
    (name,) = engine.inputs
    step = engine.max_batch

    def vectors(pixels: NDArray[np.uint8]) -> FloatArray:
        starts = range(0, len(pixels), step)
        parts = [engine.run({name: pixels[at : at + step]})["embedding"] for at in starts]
        return np.concatenate(parts).reshape(len(pixels), -1).astype(np.float32)

    return vectors


class PackagedStream:
    """The causal network, one crop of each tracklet at a time, state in slots as in the live loop."""

    CAPACITY = 64

    def __init__(self, engine: Engine) -> None:
        self._stream = StreamingReid(engine, self.CAPACITY)
        self.size = self._stream.crop_size

    def __call__(self, frames: Sequence[Clip]) -> FloatArray:
        last = np.empty((len(frames), self._stream.embedding_size), np.float32)
        for start in range(0, len(frames), self.CAPACITY):
            self._follow(frames[start : start + self.CAPACITY], last[start : start + self.CAPACITY])
        return last

    def _follow(self, frames: Sequence[Clip], last: FloatArray) -> None:
        slots = np.array([self._stream.open() for _ in frames])
        lengths = np.array([len(tracklet) for tracklet in frames])
        for index in range(int(lengths.max())):
            active = int((lengths > index).sum())
            crops = np.stack([tracklet[index] for tracklet in frames[:active]])
            last[:active] = self._stream.step(slots[:active], crops)
        for slot in slots.tolist():
            self._stream.close(slot)
