"""What TensorRT demands of graphs, held for every sort of graph that we write."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from engines import export
from engines.detectors import export_detector

KNOWN_TO_8_6 = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT32}
"""Neither int64 nor double at a network's borders."""


@pytest.mark.parametrize("kind", ["stream", "clip", "backbone", "detector"])
def test_pictures_become_floating_point_before_all_else(kind, lively_edge, tmp_path):
    """NVIDIA/TensorRT#3985: uint8 inputs must feed a cast; not even a transpose takes them."""
    path = tmp_path / "graph.onnx"
    if kind == "detector":
        export_detector(Path("yolo11n.yaml"), path, (64, 96))
    else:
        getattr(export, f"export_{kind}")(lively_edge, path, half=True)
    graph = onnx.load(path).graph
    pictures = {i.name for i in graph.input if i.type.tensor_type.elem_type == TensorProto.UINT8}
    assert len(pictures) == 1
    assert {node.op_type for node in graph.node if pictures & set(node.input)} == {"Cast"}
    borders = {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)}
    assert borders <= KNOWN_TO_8_6
