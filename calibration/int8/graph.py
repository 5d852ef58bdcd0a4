"""The float graph and its eight-bit form: which layers can be quantised, and how.

Symmetric int8 throughout, weights per output channel, zero points 0, biases in floating point: the one form
that OpenVINO, ONNX Runtime and TensorRT all compute natively.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, version_converter
from onnxruntime.quantization import (
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    TensorsData,
)

OPSET = 17
PRODUCTS = ("Conv",)
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "HardSwish", "MaxPool")


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


def quantised(model: ModelProto, chosen: Sequence[str], limits: Mapping[str, float]) -> ModelProto:
    """A copy with Q/DQ pairs around these layers; `limits` is the largest magnitude of each value."""
    copy = ModelProto()
    copy.CopyFrom(model)
    if not chosen:
        return copy
    wanted = set(chosen)
    kinds = sorted({node.op_type for node in copy.graph.node if node.name in wanted})
    ranges = {name: (np.float32(-limit), np.float32(limit)) for name, limit in limits.items()}
    quantiser = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=list(chosen),
        nodes_to_exclude=[],
        op_types_to_quantize=kinds,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    quantiser.quantize_model()
    answer: ModelProto = quantiser.model.model
    return answer


class _Graph:
    """Who makes what."""

    def __init__(self, model: ModelProto) -> None:
        nodes = model.graph.node
        self.maker = {name: node for node in nodes for name in node.output}
        self.constants = {tensor.name for tensor in model.graph.initializer}
        self.constants |= {
            name for node in nodes if node.op_type == "Constant" for name in node.output
        }
        self._depends: set[str] = set()
        """Values that some product has a part in. Nodes are in an order in which they can be computed."""
        for node in nodes:
            if self.is_product(node) or self._depends.intersection(node.input):
                self._depends.update(node.output)

    def is_product(self, node: NodeProto) -> bool:
        return node.op_type in PRODUCTS and node.input[1] in self.constants

    def after_a_product(self, node: NodeProto) -> bool:
        return node.input[0] in self._depends

    def is_residual(self, node: NodeProto) -> bool:
        return node.op_type == "Add" and all(self._is_branch(name) for name in node.input)

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
