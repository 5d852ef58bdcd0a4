"""Engine packages as embedders: the only place where the trainer meets compiled networks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines import Engine, StreamingReid, open_engine
from engines.errors import EngineError
from trainer.data.transforms import Clip
from trainer.embedding import Embed, Embedder, FloatArray, FrameMeanEmbedder
from trainer.errors import UsageError, WeightsError


def package_embedder(path: Path, mode: Embed, threads: int) -> Embedder:
    """The engine at `path` as an embedder: a frame embedder, or a GRL stream with its state."""
    try:
        engine = open_engine(path, threads=threads)
    except EngineError as error:
        raise WeightsError(str(error)) from error
    inputs, outputs = engine.inputs, engine.outputs
    if "crops" in inputs and "embedding" in outputs and len(inputs) > 1:
        if mode is not Embed.STREAM:
            raise UsageError(f"{path} is a stream network: it has no mode but stream, not {mode}")
        return PackagedStream(engine)
    if len(inputs) != 1 or len(next(iter(inputs.values())).shape) != 4:
        raise UsageError(f"{path} does not take pictures of people: it cannot embed them")
    return FrameMeanEmbedder(PackagedFrames(engine), PackagedFrames(engine).size)


class PackagedFrames:
    """A network that looks at single frames: uint8 (N, H, W, 3) BGR to (N, E)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._input = next(iter(engine.inputs))
        self._output = next(iter(engine.outputs))
        shape = engine.inputs[self._input].shape
        self.size = shape[1], shape[2]

    def __call__(self, frames: Clip) -> FloatArray:
        step = self._engine.max_batch
        parts = [
            self._engine.run({self._input: frames[at : at + step]})[self._output]
            for at in range(0, len(frames), step)
        ]
        return np.concatenate(parts).reshape(len(frames), -1).astype(np.float32)


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
