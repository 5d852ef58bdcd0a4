"""The float graph and its eight-bit form: which layers can be quantised, and how.

Weights are symmetric int8 per output channel, zero points are 0, biases stay in floating point: all of OpenVINO, ONNX
Runtime and TensorRT compute that natively. Values between layers are int8 for TensorRT, which knows nothing else. On
CPUs, values that are never negative are unsigned: twice as fine, and what the instructions multiply without a detour.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper, version_converter
from onnxruntime.quantization import (
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    TensorsData,
)

from calibration.int8.ranges import Range

OPSET = 17
PRODUCTS = ("Conv",)
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "HardSwish", "MaxPool")
_POSITIVE = ("Relu", "Sigmoid", "HardSigmoid")


def load_graph(path: Path) -> ModelProto:
    """A graph in which every node has a name, at an opset that knows scales per channel."""
    model = onnx.load(path)
    once = {entry.domain: entry for entry in model.opset_import}  # merged graphs may repeat theirs
    del model.opset_import[:]
    model.opset_import.extend(once.values())
    if model.opset_import[0].version < OPSET:
        model = version_converter.convert_version(model, OPSET)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


def layers(model: ModelProto) -> tuple[str, ...]:
    """Nodes worth computing in eight bits, in their order.

    Products with constant weights, and the sums that join a residual branch, so that no float map stands
    between two layers. The first product stays as it is: it is cheap, the picture's normalisation is part
    of its input, and OpenVINO 2026.4 folds the two so that the answer is wrong (cosine 0.4 with the network).
    Sums that carry a stream's memory on stay exact too: they are no residual branch of products.
    """
    graph = _Graph(model)
    return tuple(
        node.name
        for node in model.graph.node
        if (graph.is_product(node) and graph.after_a_product(node)) or graph.is_residual(node)
    )


def tensors(model: ModelProto, chosen: Iterable[str]) -> tuple[str, ...]:
    """The values that go into and come out of these layers, which need ranges."""
    graph, wanted = _Graph(model), set(chosen)
    found = dict.fromkeys(
        name
        for node in model.graph.node
        if node.name in wanted
        for name in (*node.input, *node.output)
        if name and name not in graph.constants
    )
    return tuple(found)


def never_negative(model: ModelProto) -> frozenset[str]:
    """Values that no picture can make negative."""
    graph = _Graph(model)
    found: set[str] = set()
    for node in model.graph.node:
        keeps = node.op_type == "MaxPool" and node.input[0] in found
        if keeps or node.op_type in _POSITIVE or graph.is_cut_at_zero(node):
            found.add(node.output[0])
    return frozenset(found)


def quantised(
    model: ModelProto, chosen: Sequence[str], ranges: Mapping[str, Range], *, lean: bool = False
) -> ModelProto:
    """A copy with Q/DQ pairs around these layers.

    `lean`: only before layers, where eight bits are needed, and not behind them as well. CPUs compute a product
    together with its activation, and so round once instead of twice.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    if not chosen:
        return copy
    wanted = set(chosen)
    kinds = sorted({node.op_type for node in copy.graph.node if node.name in wanted})
    spans = {
        name: (np.float32(-found.limit if found.signed else 0), np.float32(found.limit))
        for name, found in ranges.items()
    }
    unsigned = {
        name: [{"quant_type": QuantType.QUInt8, "symmetric": False}]
        for name, found in ranges.items()
        if not found.signed
    }
    quantiser = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, spans),
        nodes_to_quantize=list(chosen),
        nodes_to_exclude=[],
        op_types_to_quantize=kinds,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "TensorQuantOverrides": unsigned,
            "OpTypesToExcludeOutputQuantization": kinds if lean else [],
        },
    )
    quantiser.quantize_model()
    answer: ModelProto = quantiser.model.model
    return answer


class _Graph:
    """Who makes what."""

    def __init__(self, model: ModelProto) -> None:
        nodes = model.graph.node
        self.maker = {name: node for node in nodes for name in node.output}
        made = [node for node in nodes if node.op_type == "Constant"]
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self.constants = self._tensors.keys() | {node.output[0] for node in made}
        # Other forms of a constant, a float or a list, are not read: nothing depends on it.
        self._tensors |= {
            n.output[0]: n.attribute[0].t for n in made if n.attribute[0].HasField("t")
        }
        self._depends: set[str] = set()
        """Values that some product has a part in. Nodes are in an order in which they can be computed."""
        for node in nodes:
            if self.is_product(node) or self._depends.intersection(node.input):
                self._depends.update(node.output)

    def is_product(self, node: NodeProto) -> bool:
        return node.op_type in PRODUCTS and node.input[1] in self.constants

    def is_cut_at_zero(self, node: NodeProto) -> bool:
        least = node.input[1] if node.op_type == "Clip" and len(node.input) > 1 else ""
        return least in self._tensors and bool((self._constant(least) >= 0).all())

    def after_a_product(self, node: NodeProto) -> bool:
        return node.input[0] in self._depends

    def is_residual(self, node: NodeProto) -> bool:
        return node.op_type == "Add" and all(self._is_branch(name) for name in node.input)

    def _constant(self, name: str) -> NDArray[Any]:
        return np.asarray(numpy_helper.to_array(self._tensors[name]))

    def _is_branch(self, name: str) -> bool:
        """Whether a value comes straight from a convolution, its activation, or another residual sum."""
        node = self.maker.get(name)
        if node is None:
            return False
        if node.op_type == "Mul":  # x·σ(x)
            return any(self._is_sigmoid_of_convolution(part) for part in node.input)
        if node.op_type in _ACTIVATIONS:
            return self._is_branch(node.input[0])
        return node.op_type == "Conv" or self.is_residual(node)

    def _is_sigmoid_of_convolution(self, name: str) -> bool:
        node = self.maker.get(name)
        if node is None or node.op_type not in ("Sigmoid", "HardSigmoid"):
            return False
        source = self.maker.get(node.input[0])
        return source is not None and source.op_type == "Conv"
