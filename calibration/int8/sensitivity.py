"""What each layer alone costs when only it computes in eight bits: which to keep in floating point, if any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from onnx import ModelProto

from calibration.int8.judges import SURE, detections
from calibration.int8.likeness import cosines, detection_likeness
from calibration.int8.samples import Samples, steps_of
from engines.engine import Engine
from engines.onnxruntime import ONNXRuntimeEngine
from engines.package import Kind, Manifest

Unlike: TypeAlias = Callable[[Engine], float]
"""How far an engine's answers are from the float network's: 0 is the same, 1 has nothing in common."""
STREAMS, STEPS, PICTURES = 8, 2, 16


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one layer."""

    layer: str
    cost: float
    """1 − cosine of embeddings, or 1 − likeness of detections, with the float network."""


def measure(
    quantise: Callable[[Sequence[str]], ModelProto],
    layers: Sequence[str],
    unlike: Unlike,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Cost, ...]:
    """The costliest first. `quantise` makes the graph in which only some layers compute in eight bits."""
    costs = []
    for layer in layers:
        graph = quantise([layer])
        cost = unlike(ONNXRuntimeEngine(graph.SerializeToString()))
        costs.append(Cost(layer, cost))
        advance()
    return tuple(sorted(costs, key=lambda found: -found.cost))


def unlikeness(manifest: Manifest, reference: Engine, samples: Samples) -> Unlike:
    """What `measure` compares by: few pictures, since every layer needs a run of its own."""
    if manifest.kind is Kind.DETECTOR:
        images = list(samples.steps[0, :PICTURES])
        people = detections(reference, manifest, images, least=SURE)
        return lambda engine: (
            1 - detection_likeness(detections(engine, manifest, images, least=SURE / 5), people)
        )
    few = samples.first(STEPS, STREAMS)
    wanted = steps_of(reference, few, "embedding")
    return lambda engine: (
        1 - float(np.nan_to_num(cosines(steps_of(engine, few, "embedding"), wanted)).mean())
    )
