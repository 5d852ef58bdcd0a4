"""Networks small enough to be quantised in a moment, and pictures for them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, CHANNELS = 32, 16, 8


def convolution(
    name: str, source: str, target: str, out: int, into: int, rng: np.random.Generator
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    weight = rng.normal(0, 1 / np.sqrt(9 * into), (out, into, 3, 3)).astype(np.float32)
    bias = rng.normal(0, 0.05, out).astype(np.float32)
    nodes = [
        helper.make_node(
            "Conv", [source, f"{name}.w", f"{name}.b"], [f"{name}.out"], name=name, pads=[1] * 4
        ),
        helper.make_node("Relu", [f"{name}.out"], [target], name=f"{name}.relu"),
    ]
    tensors = [
        numpy_helper.from_array(weight, f"{name}.w"),
        numpy_helper.from_array(bias, f"{name}.b"),
    ]
    return nodes, tensors


def finished(nodes, tensors, inputs, outputs) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="tests"
    )
    onnx.checker.check_model(model)
    return model


def values(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture(scope="session")
def embedder_onnx() -> Callable[[Path, float], Path]:
    """A foreign re-ID network of four convolutions and a residual sum, 32×16 pictures to 24 values.

    `spread` multiplies one channel between the first two convolutions and divides the weights behind it: the
    network computes the same, but one scale for all channels can no longer represent the others.
    """

    def write(path: Path, spread: float = 1.0) -> Path:
        rng = np.random.default_rng(3)
        nodes, tensors = [], []
        chain = [("first", "picture", "a", 3), ("second", "a", "b", CHANNELS)]
        chain += [("third", "b", "c", CHANNELS)]
        for name, source, target, into in chain:
            more = convolution(name, source, target, CHANNELS, into, rng)
            nodes += more[0]
            tensors += more[1]
        by_name = {tensor.name: tensor for tensor in tensors}
        for name, channel, factor in (("first", 0, spread), ("second", None, 1 / spread)):
            for part in ("w", "b") if channel == 0 else ("w",):
                tensor = by_name[f"{name}.{part}"]
                array = numpy_helper.to_array(tensor).copy()
                if channel == 0:
                    array[0] *= factor
                else:
                    array[:, 0] *= factor
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        project = rng.normal(0, 1, (CHANNELS, 24)).astype(np.float32)
        nodes += [
            helper.make_node("Add", ["b", "c"], ["sum"], name="residual"),
            helper.make_node("ReduceMean", ["sum"], ["mean"], name="mean", axes=[2, 3], keepdims=0),
            helper.make_node("Gemm", ["mean", "project.w"], ["embedding"], name="project"),
        ]
        tensors.append(numpy_helper.from_array(project, "project.w"))
        model = finished(
            nodes,
            tensors,
            [values("picture", "n", 3, HEIGHT, WIDTH)],
            [values("embedding", "n", 24)],
        )
        onnx.save(model, path)
        return path

    return write


@pytest.fixture(scope="session")
def stream_onnx(tmp_path_factory) -> Path:
    """A recurrent graph as our streams are: uint8 pictures and a memory in, an embedding and the next memory out.

    next = 0.7·memory + 0.02·relu(conv(memory + features)) + features: nine steps show how large it becomes.
    """
    rng = np.random.default_rng(4)
    nodes = [
        helper.make_node("Cast", ["crops"], ["floats"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], name="planes", perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "scale"], ["picture"], name="normalise"),
    ]
    tensors = [numpy_helper.from_array(np.float32(1 / 255), "scale")]
    chain = [("first", "picture", "a", 3), ("second", "a", "features", CHANNELS)]
    chain += [("look_back", "total", "seen", CHANNELS)]
    for name, source, target, into in chain:
        if name == "look_back":
            nodes.append(
                helper.make_node("Add", ["features", "state.memory"], ["total"], name="total")
            )
        more = convolution(name, source, target, CHANNELS, into, rng)
        nodes += more[0]
        tensors += more[1]
    nodes += [
        helper.make_node("Mul", ["state.memory", "keep"], ["kept"], name="keeping"),
        helper.make_node("Mul", ["seen", "little"], ["added"], name="adding"),
        helper.make_node("Add", ["kept", "added"], ["remembered"], name="remember"),
        helper.make_node("Add", ["remembered", "features"], ["next.memory"], name="carry"),
        helper.make_node(
            "ReduceMean", ["next.memory"], ["mean"], name="mean", axes=[2, 3], keepdims=0
        ),
        helper.make_node("MatMul", ["mean", "project.w"], ["embedding"], name="project"),
    ]
    tensors += [
        numpy_helper.from_array(np.float32(0.7), "keep"),
        numpy_helper.from_array(np.float32(0.02), "little"),
        numpy_helper.from_array(rng.normal(0, 1, (CHANNELS, 24)).astype(np.float32), "project.w"),
    ]
    memory = ("n", CHANNELS, HEIGHT, WIDTH)
    model = finished(
        nodes,
        tensors,
        [
            values("crops", "n", HEIGHT, WIDTH, 3, kind=TensorProto.UINT8),
            values("state.memory", *memory),
        ],
        [values("embedding", "n", 24), values("next.memory", *memory)],
    )
    path = tmp_path_factory.mktemp("stream") / "stream.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def crops(tmp_path_factory) -> Path:
    """16 tracklets of 9 blocky pictures in the MARS layout, from two cameras."""
    rng = np.random.default_rng(5)
    root = tmp_path_factory.mktemp("people")
    for person in range(16):
        home = root / f"{person:04d}"
        home.mkdir()
        look = rng.integers(0, 256, (4, 2, 3))
        for frame in range(9):
            shades = np.clip(look + rng.normal(0, 25, look.shape), 0, 255).astype(np.uint8)
            picture = cv2.resize(shades, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
            cv2.imwrite(
                str(home / f"{person:04d}C{person % 2 + 1}T0001F{frame + 1:03d}.png"), picture
            )
    return root
