"""From a network and pictures to an int8 package, if it is good enough."""

import importlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from calibration.errors import RefusedError, StorageError, UsageError
from calibration.int8 import graph as graphs
from calibration.int8 import judges, ranges, sensitivity
from calibration.int8.ranges import Range
from calibration.int8.samples import Samples, crop_samples, frame_samples
from calibration.int8.sensitivity import Cost
from engines.build import Graph, Request, carry_likeness, float_graph, package, source_of
from engines.engine import Engine
from engines.onnxruntime import ONNXRuntimeEngine
from engines.opening import open_engine
from engines.openvino import OpenVINOEngine, fastest, read
from engines.package import MANIFEST, Kind, Manifest, Quantisation, read_manifest, reissue
from engines.parity import random_pictures
from engines.rows import STATE

STEPS = 9
"""Of each stream that ranges are measured on: past the end of a segment."""
JUDGED_FRAMES = 64
"""Frames that a detector is compared with itself on."""
FORMS = {
    True: "symmetric int8 weights per channel, values int8, or uint8 where never negative",
    False: "symmetric int8, weights per channel",
}
"""On CPUs and elsewhere."""
_DRIFTING = 4
_NAMED = 3

Report = Callable[[str, float | None], None]
"""Told what is being done, and how much of it is done (0…1) where that is known."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be brought to eight bits."""

    source: Path
    output: Path
    data: Path
    """Where pictures to measure on are."""
    labels: Path | None = None
    """A labelled set that decides; without one, likeness with the network itself does."""
    backend: str = "openvino"
    size: tuple[int, int] | None = None
    end_to_end: bool = False
    normalisation: str | None = None
    max_batch: int = 64
    licence: str | None = None
    sure: float | None = None
    """As of `engines.build.Request`."""
    pictures: int = 200
    judged_frames: int = 8
    """Crops of each labelled tracklet."""
    most_labelled: int = 300
    """Labelled frames of a detector."""
    rounds: int = 4
    """Times that costly layers may be put back into floating point."""
    sensitivity: bool = True
    seed: int = 0
    force: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds of a step for one picture, and their ratio, medians of rounds in turn."""

    float_precision: str
    float_ms: float
    int8_ms: float
    faster: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    manifest: Manifest
    ranges: dict[str, Range]
    costs: tuple[Cost, ...]
    speed: Speed | None


def quantise(order: Order, report: Report = lambda what, done: None) -> Outcome:
    """Measure, quantise, judge, and write the package; `RefusedError` if it is worse than allowed."""
    with tempfile.TemporaryDirectory() as scratch:
        return _Work(order, Path(scratch), report).run()


class _Work:
    """One network on its way."""

    def __init__(self, order: Order, scratch: Path, report: Report) -> None:
        self._order, self._scratch, self._report = order, scratch, report
        if order.output.exists() and not (order.output / MANIFEST).exists():
            raise UsageError(
                f"{order.output} exists and is not an engine package: it is left as it is"
            )
        self._request = Request(
            source=order.source,
            output=scratch / "package",
            backend=order.backend,
            precision="int8",
            max_batch=order.max_batch,
            size=order.size,
            end_to_end=order.end_to_end,
            normalisation=order.normalisation,
            licence=order.licence,
            sure=order.sure,
        )
        report(f"reading {order.source.name}", None)
        as_onnx = replace(self._request, backend="onnxruntime", precision="f32")
        self._graph: Graph = float_graph(as_onnx, scratch)
        assert self._graph.path is not None
        self._model = graphs.load_graph(self._graph.path)
        self._layers = graphs.layers(self._model)
        if not self._layers:
            raise UsageError(f"{order.source} has no layer that could compute in eight bits")
        self._float = ONNXRuntimeEngine(self._model.SerializeToString(), max_batch=order.max_batch)
        self._on_cpu = order.backend != "tensorrt"
        self._ranges: dict[str, Range] = {}

    def run(self) -> Outcome:
        samples, held_back = self._samples()
        total = samples.steps.shape[0] * samples.steps.shape[1]
        done = 0

        def advance(pictures: int) -> None:
            nonlocal done
            done += pictures
            self._report("measuring ranges", done / total)

        names = graphs.tensors(self._model, self._layers)
        unsigned = graphs.never_negative(self._model) if self._on_cpu else frozenset()
        self._ranges = ranges.measure(
            self._model, names, samples, unsigned=unsigned, advance=advance
        )
        # The description that packages carry; what is not known before compiling is not needed to judge.
        manifest = self._compile(self._layers)
        judge = self._judge(manifest, held_back)
        self._report(f"judging the network itself by {judge.measure}", None)
        before = judge(self._float)
        if not np.isfinite(before):
            raise UsageError(f"{self._order.source} gives no {judge.measure} on {judge.judged_on}")
        costs = self._costs(manifest, held_back) if self._order.sensitivity else ()
        kept: tuple[str, ...] = ()
        engine: Engine | None = None
        for turn in range(self._order.rounds + 1):
            if turn:
                costs = costs or self._costs(manifest, held_back)
                kept = tuple(cost.layer for cost in costs[: 2**turn])
                manifest = self._compile([x for x in self._layers if x not in kept])
            if engine is not None:
                engine.close()
            self._report(f"judging int8, {len(kept)} layers kept in floating point", None)
            engine = open_engine(self._request.output, check=False)
            after = judge(engine)
            self._report(f"{judge.measure} {before:.4f} → {after:.4f}", None)
            if before - after <= judge.allowed or 2**turn >= len(self._layers):
                break
        assert engine is not None
        good = before - after <= judge.allowed
        if not good and not self._order.force:
            costs = costs or self._costs(manifest, held_back)
            raise RefusedError(self._refusal(judge, before, after, costs))
        drift = {}
        if judges.is_stream(manifest.kind):
            self._report("following streams over 64 steps", None)
            streams = held_back.first(len(held_back.steps), _DRIFTING)
            drift = judges.drift(engine, self._float, streams)
        speed = self._speed(engine)
        quantisation = Quantisation(
            method=f"onnxruntime.quantization {version('onnxruntime')}: {FORMS[self._on_cpu]}",
            data=samples.source,
            layers=len(self._layers) - len(kept),
            kept=kept,
            measure=judge.measure,
            judged_on=judge.judged_on,
            before=before,
            after=after,
            allowed=judge.allowed,
            forced=not good,
            drift=drift,
        )
        engine.close()
        replaced = source_of(self._order.output)
        written = reissue(
            self._request.output,
            replace(manifest, quantisation=quantisation, command=self._order.command),
            self._order.output,
        )
        there = replace(self._request, output=self._order.output)
        carry_likeness(there, stale=replaced not in ("", written.source_sha256))
        return Outcome(written, self._ranges, costs, speed)

    def _samples(self) -> tuple[Samples, Samples]:
        """To measure on, and others to judge on."""
        order, kind, size = self._order, self._graph.kind, self._graph.size
        if kind is Kind.DETECTOR:
            every = frame_samples(order.data, size, order.pictures + JUDGED_FRAMES, order.seed)
            cut = max(1, min(JUDGED_FRAMES, every.steps.shape[1] // 3))
        elif kind in (Kind.GRL_STREAM, Kind.FRAME_EMBEDDER):
            streams = max(8, -(-order.pictures // STEPS))
            every = crop_samples(order.data, size, streams + streams // 3, STEPS, order.seed)
            cut = max(2, every.steps.shape[1] // 4)
        else:
            raise UsageError(f"a {kind} is not brought to int8: the live path does not run it")
        return (
            replace(every, steps=every.steps[:, cut:]),
            replace(every, steps=every.steps[:, :cut]),
        )

    def _judge(self, manifest: Manifest, held_back: Samples) -> judges.Judge:
        labels, kind = self._order.labels, manifest.kind
        if kind is Kind.DETECTOR:
            if labels is not None:
                pictures = judges.labelled_pictures(labels, self._order.most_labelled)
                return judges.LabelledDetector(manifest, pictures)
            return judges.DetectorAgreement(manifest, self._float, list(held_back.steps[0]))
        if labels is None:
            return judges.StreamLikeness(self._float, held_back)
        if kind is not Kind.GRL_STREAM:
            raise UsageError(f"labels are for GRL streams and detectors; this is a {kind}")
        # The trainer brings torch, which is not needed without labels.
        labelled = importlib.import_module("calibration.int8.labelled")
        judge: judges.Judge = labelled.LabelledStream(labels, self._order.judged_frames)
        return judge

    def _quantised(self, layers: Sequence[str]) -> onnx.ModelProto:
        return graphs.quantised(self._model, layers, self._ranges, lean=self._on_cpu)

    def _compile(self, layers: Sequence[str]) -> Manifest:
        self._report("quantising", None)
        path = self._scratch / "int8.onnx"
        try:
            onnx.save(self._quantised(layers), path)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
        package(
            self._request, replace(self._graph, path=path), lambda text: self._report(text, None)
        )
        return read_manifest(self._request.output)

    def _costs(self, manifest: Manifest, samples: Samples) -> tuple[Cost, ...]:
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            self._report("measuring what each layer costs", done / len(self._layers))

        unlike = sensitivity.unlikeness(manifest, self._float, samples)
        return sensitivity.measure(self._quantised, self._layers, unlike, advance)

    def _refusal(
        self, judge: judges.Judge, before: float, after: float, costs: Sequence[Cost]
    ) -> str:
        worst = ", ".join(f"{cost.layer} ({cost.cost:.2g})" for cost in costs[:_NAMED])
        return (
            f"{self._order.source.name} in int8 loses {100 * (before - after):.2f} points of {judge.measure} "
            f"({before:.4f} → {after:.4f}; {judge.judged_on}), and {100 * judge.allowed:g} are allowed: nothing was "
            f"written. The layers that cost most: {worst}. Give pictures that are more like the site's, or --force"
        )

    def _speed(self, engine: Engine) -> Speed | None:
        self._report("timing", None)
        assert self._graph.path is not None
        if self._order.backend == "openvino":
            precision = fastest()
            rival: Engine = OpenVINOEngine(read(self._graph.path), precision=precision, max_batch=1)
        elif self._order.backend == "onnxruntime":
            precision, rival = "f32", self._float
        else:
            return None
        times = np.array(in_turn([_step(rival), _step(engine)], rounds=15))
        faster = float(np.median(times[:, 0] / times[:, 1]))
        float_ms, int8_ms = np.median(times, axis=0) * 1e3
        return Speed(precision, float(float_ms), float(int8_ms), faster)


def in_turn(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each call in each round, a first one aside. The machine may be busy, but equally for all."""
    taken: list[list[float]] = []
    for _ in range(rounds + 1):
        row = []
        for call in calls:
            start = time.perf_counter()
            call()
            row.append(time.perf_counter() - start)
        taken.append(row)
    return taken[1:]


def _step(engine: Engine) -> Callable[[], object]:
    pictures = random_pictures(engine.inputs, 1, np.random.default_rng(0))
    if not any(name.startswith(STATE) for name in engine.inputs):
        return lambda: engine.run(pictures)
    rows, slots = engine.state_rows(1), np.arange(1)
    return lambda: rows.step(slots, pictures)
