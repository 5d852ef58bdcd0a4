"""Rewrite foreign ONNX graphs so that they take pictures as our engines do."""

import importlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from engines.adopt import Adopted
from engines.errors import ExportError


def adopted_onnx(adopted: Adopted) -> bytes:
    """The graph with its pictures normalised inside, as a serialised ONNX model."""
    try:
        model = onnx.load(adopted.path)
    except Exception as error:  # protobuf's errors have no base of their own
        raise ExportError(f"{adopted.path} is not an ONNX graph") from error
    picture = _picture_of(model)
    answer = model.graph.output[0]
    del model.graph.output[1:]
    if adopted.any_batch:
        for value in (picture, answer):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        del model.graph.value_info[:]  # inferred for a batch of one
    merged = compose.merge_models(
        _normaliser(adopted, model), model, io_map=[("adopted.out", picture.name)]
    )
    _rename_output(merged.graph, answer.name, adopted.answer_output)
    onnx.checker.check_model(merged)
    return bytes(merged.SerializeToString())


def _picture_of(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    initialised = {tensor.name for tensor in model.graph.initializer}
    return next(i for i in model.graph.input if i.name not in initialised)


def halve(path: Path) -> None:
    """Weights and sums of an ONNX graph in half precision; what goes in and comes out stays as it is."""
    convert = importlib.import_module("onnxruntime.transformers.float16").convert_float_to_float16
    onnx.save(convert(onnx.load(path), keep_io_types=True), path)


def _normaliser(adopted: Adopted, like: onnx.ModelProto) -> onnx.ModelProto:
    """uint8 (B, H, W, 3) BGR to what the graph wants, as a graph in front of it."""
    normalisation, wanted = adopted.normalisation, _picture_of(like).type.tensor_type.elem_type
    order = np.array([2, 1, 0] if normalisation.rgb else [0, 1, 2], np.int64)
    scale = 1 / np.array(normalisation.deviation, np.float32).reshape(1, 3, 1, 1)
    shift = -np.array(normalisation.mean, np.float32).reshape(1, 3, 1, 1) * scale
    nodes = [
        helper.make_node("Cast", [adopted.picture_input], ["adopted.float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["adopted.float"], ["adopted.planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "Gather", ["adopted.planes", "adopted.order"], ["adopted.ordered"], axis=1
        ),
        helper.make_node("Mul", ["adopted.ordered", "adopted.scale"], ["adopted.scaled"]),
        helper.make_node("Add", ["adopted.scaled", "adopted.shift"], ["adopted.shifted"]),
        helper.make_node("Cast", ["adopted.shifted"], ["adopted.out"], to=wanted),
    ]
    constants = {"adopted.order": order, "adopted.scale": scale, "adopted.shift": shift}
    batch = "batch" if adopted.any_batch else 1
    graph = helper.make_graph(
        nodes,
        "normalise",
        [
            helper.make_tensor_value_info(
                adopted.picture_input, TensorProto.UINT8, [batch, *adopted.size, 3]
            )
        ],
        [helper.make_tensor_value_info("adopted.out", wanted, [batch, 3, *adopted.size])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    if adopted.picture_input in {v.name for v in like.graph.input}:
        # Ultralytics and YOLOX call their input what we call ours.
        compose.add_prefix(like, "theirs.", inplace=True)
    return helper.make_model(graph, opset_imports=like.opset_import, ir_version=like.ir_version)


def _rename_output(graph: onnx.GraphProto, name: str, new: str) -> None:
    for node in graph.node:
        node.output[:] = [new if output == name else output for output in node.output]
        node.input[:] = [new if used == name else used for used in node.input]
    graph.output[0].name = new
