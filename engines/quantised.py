"""Q/DQ graphs as float graphs with ranges beside them, for a TensorRT that takes ranges but no such nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from engines.errors import BuildError

LEVELS = 127


@dataclass(frozen=True, slots=True)
class Unquantised:
    """What a Q/DQ graph says, in two parts."""

    graph: bytes
    """Without Q/DQ nodes. Weights are what their int8 values stand for."""
    limits: Mapping[str, float]
    """The largest magnitude that int8 represents, by the name of the value."""
    layers: frozenset[str]
    """Nodes with weights that compute in int8."""


def unquantised(graph: bytes | Path) -> Unquantised:
    """Take a graph apart. Only symmetric quantisers are known, since TensorRT knows no others."""
    model = onnx.load_from_string(graph) if isinstance(graph, bytes) else onnx.load(graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    quantisers = {n.output[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    same: dict[str, str] = {}
    limits: dict[str, float] = {}
    weights: set[str] = set()
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        scale = _array(constants, node.input[1])
        if _array(constants, node.input[2]).any():
            raise BuildError("the graph has zero points other than 0, which TensorRT cannot take")
        source = quantisers.get(node.input[0])
        if source is not None:
            same[node.output[0]] = source.input[0]
            limits[source.input[0]] = float(scale) * LEVELS
        else:
            _restore(model, node, constants, scale)
            weights.add(node.output[0])
    layers = frozenset(n.name for n in model.graph.node if weights.intersection(n.input))
    _rewire(model, same)
    return Unquantised(bytes(model.SerializeToString()), limits, layers)


def _restore(
    model: ModelProto,
    node: NodeProto,
    constants: Mapping[str, onnx.TensorProto],
    scale: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    """A constant with the values that int8 weights stand for, in place of the node that would compute it."""
    values = _array(constants, node.input[0]).astype(np.float32)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.ndim:
        shape = [1] * values.ndim
        shape[axis] = -1
        scale = scale.reshape(shape)
    model.graph.initializer.append(numpy_helper.from_array(values * scale, node.output[0]))


def _rewire(model: ModelProto, same: Mapping[str, str]) -> None:
    """Leave the Q/DQ nodes and their constants out."""
    graph = model.graph
    answers = {output.name for output in graph.output}
    kept = [n for n in graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    for node in kept:
        node.input[:] = [same.get(name, name) for name in node.input]
    # An output of the graph may itself come from a quantiser: then whoever makes its value makes it.
    back = {source: name for name, source in same.items() if name in answers}
    for node in kept:
        node.output[:] = [back.get(name, name) for name in node.output]
        node.input[:] = [back.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    initialisers = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(initialisers)
    del graph.value_info[:]


def _array(
    constants: Mapping[str, onnx.TensorProto], name: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(numpy_helper.to_array(constants[name]))
