"""How far an engine's answers are from those of the network that it was made from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
import openvino as ov

from engines.adopt import Adopted
from engines.engine import Array, Arrays, Engine, StateRows, TensorSpec
from engines.errors import InputError
from engines.openvino import read
from engines.rows import STATE

STREAM_STEPS = 10
"""Crops of each tracklet that a stream is compared over: past the end of a segment."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one output at one size of batch."""

    output: str
    batch: int
    largest: float
    """Largest absolute difference."""
    cosine: float
    """Smallest cosine between an answer and the one that it should be."""
    finite: bool


@dataclass(frozen=True, slots=True)
class Parity:
    """All differences found."""

    rows: tuple[Difference, ...]

    @property
    def largest(self) -> dict[str, float]:
        """Per output, over all batches."""
        found: dict[str, float] = {}
        for row in self.rows:
            found[row.output] = max(found.get(row.output, 0.0), row.largest)
        return found

    @property
    def cosine(self) -> float:
        return min((row.cosine for row in self.rows), default=1.0)


def batches_to_check(max_batch: int) -> tuple[int, ...]:
    """One, two, an odd one and the largest."""
    return tuple(sorted({n for n in (1, 2, 5, max_batch) if n <= max_batch}))


def compare(engine: Engine, judge: Engine, batches: Iterable[int], seed: int = 0) -> Parity:
    """Both on the same random pictures. A stream is fed tracklets of ten crops, each engine with its own state."""
    rng = np.random.default_rng(seed)
    rows: list[Difference] = []
    for batch in batches:
        for given, wanted in _answers(engine, judge, batch, rng):
            rows += [
                _difference(name, batch, given[name], wanted[name])
                for name in given
                if name in wanted
            ]
    return Parity(tuple(_worst(rows)))


def random_pictures(
    specs: Mapping[str, TensorSpec], batch: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Blocks of colour under noise: with some structure, so that networks do not answer all alike."""
    pictures: dict[str, Array] = {}
    for name, spec in specs.items():
        if not name.startswith(STATE):
            shape = (batch, *spec.shape[1:])
            coarse = (*shape[:-3], -(-shape[-3] // 32), -(-shape[-2] // 32), 3)
            blocks = rng.integers(0, 200, coarse).repeat(32, axis=-3).repeat(32, axis=-2)
            blocks = blocks[..., : shape[-3], : shape[-2], :]
            pictures[name] = (blocks + rng.integers(0, 56, shape)).astype(np.uint8)
    return pictures


def _answers(
    engine: Engine, judge: Engine, batch: int, rng: np.random.Generator
) -> Iterable[tuple[dict[str, Array], dict[str, Array]]]:
    if not any(name.startswith(STATE) for name in engine.inputs):
        pictures = random_pictures(engine.inputs, batch, rng)
        wanted = _in_parts(judge, pictures)
        yield engine.run(pictures), wanted
        return
    slots = np.arange(batch)
    ours, theirs = engine.state_rows(batch), judge.state_rows(batch)
    for _ in range(STREAM_STEPS if batch <= 8 else 2):
        pictures = random_pictures(engine.inputs, batch, rng)
        yield ours.step(slots, pictures), _rows_in_parts(judge, theirs, slots, pictures)
    ours.close()
    theirs.close()


def _in_parts(judge: Engine, pictures: Arrays) -> dict[str, Array]:
    size = len(next(iter(pictures.values())))
    parts = [
        judge.run(
            {name: array[start : start + judge.max_batch] for name, array in pictures.items()}
        )
        for start in range(0, size, judge.max_batch)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rows_in_parts(
    judge: Engine, rows: StateRows, slots: Array, pictures: Arrays
) -> dict[str, Array]:
    parts = [
        rows.step(
            slots[start : start + judge.max_batch],
            {name: array[start : start + judge.max_batch] for name, array in pictures.items()},
        )
        for start in range(0, len(slots), judge.max_batch)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _difference(name: str, batch: int, given: Array, wanted: Array) -> Difference:
    ours, theirs = given.astype(np.float64), wanted.astype(np.float64)
    if ours.shape != theirs.shape:
        raise InputError(f"output '{name}' is {ours.shape}, and should be {theirs.shape}")
    a, b = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = float(np.min((a * b).sum(axis=1) / np.maximum(norms, 1e-12)))
    finite = bool(np.isfinite(ours).all())
    return Difference(name, batch, float(np.abs(ours - theirs).max()), cosine, finite)


def _worst(rows: list[Difference]) -> Iterable[Difference]:
    """The worst over time of each output and batch."""
    keys = dict.fromkeys((row.output, row.batch) for row in rows)
    for output, batch in keys:
        same = [row for row in rows if (row.output, row.batch) == (output, batch)]
        yield Difference(
            output,
            batch,
            max(row.largest for row in same),
            min(row.cosine for row in same),
            all(row.finite for row in same),
        )


class RawGraph:
    """A foreign graph as its makers left it, fed by numpy: the judge of what adopting it did."""

    def __init__(self, adopted: Adopted) -> None:
        self._adopted = adopted
        name, size = adopted.picture_input, adopted.size
        self.inputs = {name: TensorSpec(name, (-1, *size, 3), "uint8")}
        self.outputs: dict[str, TensorSpec] = {}
        self.max_batch = 64 if adopted.any_batch else 1
        if adopted.path.suffix == ".onnx":
            session = ort.InferenceSession(str(adopted.path), providers=["CPUExecutionProvider"])
            half = session.get_inputs()[0].type == "tensor(float16)"
            taken = np.float16 if half else np.float32
            self._run: Callable[[Array], Array] = lambda x: session.run(
                [adopted.output_name], {adopted.input_name: x.astype(taken)}
            )[0]
        else:
            settings = {"INFERENCE_PRECISION_HINT": "f32"}
            compiled = ov.Core().compile_model(read(adopted.path), "CPU", settings)
            self._run = lambda x: compiled([x])[0]

    def run(self, inputs: Arrays) -> dict[str, Array]:
        pixels = inputs[self._adopted.picture_input].astype(np.float32)
        if self._adopted.normalisation.rgb:
            pixels = pixels[..., ::-1]
        mean, deviation = self._adopted.normalisation.mean, self._adopted.normalisation.deviation
        normalised = (pixels - np.array(mean, np.float32)) / np.array(deviation, np.float32)
        planes = np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
        # One at a time: graphs made for one picture are beyond doubt only then.
        answers = [np.array(self._run(planes[i : i + 1]), np.float32) for i in range(len(planes))]
        return {self._adopted.answer_output: np.concatenate(answers)}

    def state_rows(self, capacity: int) -> StateRows:
        raise InputError("a foreign graph has no state")

    def close(self) -> None:
        """Nothing to give back."""
