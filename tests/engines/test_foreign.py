"""Networks of others, adopted: the same answers as their own graphs give."""

import json
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from engines import FrameAverages, StreamingReid, open_engine
from engines.__main__ import main
from engines.adopt import adopt
from engines.build import Request, build
from engines.detectors import export_detector, load_detector
from engines.errors import ExportError, InputError, PackageError, PackageMismatch
from engines.onnxruntime import ONNXRuntimeEngine
from engines.openvino import OpenVINOEngine, read
from engines.package import Head, Kind, read_manifest

SHIPPED = Path(__file__).parents[2] / "models" / "person-detector.pt"


@pytest.fixture(scope="module")
def frames(test_data) -> list[np.ndarray]:
    """Three real frames with people, BGR."""
    with av.open(test_data / "clips" / "people-detection.264") as clip:
        decoded = (frame.to_ndarray(format="bgr24") for frame in clip.decode(video=0))
        return [
            frame for i, frame in zip(range(361), decoded, strict=False) if i in (240, 300, 360)
        ]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_yolox_as_its_own_graph_answers(test_data, frames, tmp_path, backend):
    source = test_data / "models" / "yolox_nano.onnx"
    build(Request(source, tmp_path / "yolox", backend=backend))
    manifest = read_manifest(tmp_path / "yolox")
    assert (manifest.kind, manifest.head, manifest.input_size) == (
        Kind.DETECTOR,
        Head.YOLOX,
        (416, 416),
    )
    images = np.stack([cv2.resize(frame, (416, 416)) for frame in frames])
    session = ort.InferenceSession(str(source))
    planes = images.transpose(0, 3, 1, 2).astype(np.float32)
    want = np.concatenate([session.run(None, {"images": planes[i : i + 1]})[0] for i in range(3)])
    got = open_engine(tmp_path / "yolox").run({"images": images})["predictions"]
    np.testing.assert_allclose(got, want, atol=2e-3)
    assert want[..., 4].max() > 0.3  # there is something to agree on


def test_opened_for_few_pictures_it_answers_the_same_and_takes_no_more(test_data, frames, tmp_path):
    """Foreign or packaged: batches are compiled only as large as they are said to become."""
    source = test_data / "models" / "yolox_nano.onnx"
    build(Request(source, tmp_path / "yolox", precision="f32"))
    image = cv2.resize(frames[0], (416, 416))[None]
    with pytest.raises(PackageMismatch, match="is a graph in floating point"):
        open_engine(source, precision="int8")
    for path in (source, tmp_path / "yolox"):
        small = open_engine(path, precision="f32", max_batch=1)
        want = open_engine(path, precision="f32").run({"images": image})["predictions"]
        np.testing.assert_array_equal(small.run({"images": image})["predictions"], want)
        assert small.max_batch == 1
        with pytest.raises(InputError):
            small.run({"images": np.repeat(image, 2, axis=0)})


def test_an_ir_opens_as_it_is(test_data, frames):
    folder = test_data / "models" / "person-reidentification-retail-0288" / "FP16"
    source = folder / "person-reidentification-retail-0288.xml"
    crops = np.stack([cv2.resize(frame, (128, 256)) for frame in frames])
    compiled = ov.Core().compile_model(source, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    want = np.concatenate(
        [
            np.array(compiled([crop.transpose(2, 0, 1)[None].astype(np.float32)])[0])
            for crop in crops
        ]
    )
    got = open_engine(source).run({"crops": crops})["embedding"]
    assert got.shape == (3, 256)
    cosine = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
    assert cosine.min() > 0.999


def test_a_frame_embedder_streams_the_mean_of_its_frames(test_data, frames):
    folder = test_data / "models" / "person-reidentification-retail-0288" / "FP16"
    engine = open_engine(folder / "person-reidentification-retail-0288.xml")
    crops = np.stack([cv2.resize(frame, (128, 256)) for frame in frames])
    single = engine.run({"crops": crops})["embedding"]
    single /= np.linalg.norm(single, axis=1, keepdims=True)
    pool = StreamingReid(FrameAverages(engine), 2)
    slot = np.array([pool.open()])
    for i in range(3):
        got = pool.step(slot, crops[i : i + 1])[0]
        np.testing.assert_allclose(got, single[: i + 1].mean(axis=0), atol=1e-3)


def tiny_graph(path: Path, operation: str, output: list[object], **attributes: object) -> Path:
    """One ONNX operation on a picture, made without torch."""
    node = helper.make_node(operation, ["in"], ["out"], **attributes)
    picture = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 3, 32, 16])
    answer = helper.make_tensor_value_info("out", TensorProto.FLOAT, output)
    graph = helper.make_graph([node], "tiny", [picture], [answer])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def test_normalisation_goes_into_the_graph(tmp_path):
    """A network that averages its pixels, wanting ImageNet's statistics, against the arithmetic by hand."""
    path = tiny_graph(tmp_path / "mean.onnx", "ReduceMean", ["n", 3], axes=[2, 3], keepdims=0)
    picture = np.random.default_rng(0).integers(0, 256, (2, 32, 16, 3), np.uint8)
    bgr = picture.astype(np.float64).mean(axis=(1, 2)) / 255
    want = (bgr[:, ::-1] - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for backend in ("openvino", "onnxruntime"):
        build(Request(path, tmp_path / backend, backend=backend, normalisation="imagenet"))
        got = open_engine(tmp_path / backend).run({"crops": picture})["embedding"]
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_what_a_package_was_built_with_is_part_of_what_it_is(tmp_path, capsys):
    path = tiny_graph(tmp_path / "mean.onnx", "ReduceMean", ["n", 3], axes=[2, 3], keepdims=0)
    command = ["build", str(path), "-o", str(tmp_path / "package"), "--json"]
    built = []
    for how in ("unit-rgb", "imagenet", "imagenet"):
        assert main([*command, "--normalisation", how]) == 0
        built.append(json.loads(capsys.readouterr().out)["built"])
    assert built == [True, True, False]
    assert "--normalisation imagenet" in read_manifest(tmp_path / "package").command
    assert main(["verify", str(tmp_path / "package"), "--source", str(path)]) == 0


def test_half_precision_is_in_the_graph_and_comes_from_graphs_that_have_it(tmp_path):
    path = tiny_graph(tmp_path / "plain.onnx", "ReduceMean", ["n", 3], axes=[2, 3], keepdims=0)
    half = tmp_path / "half.onnx"
    onnx.save(convert_float_to_float16(onnx.load(path)), half)
    picture = np.random.default_rng(0).integers(0, 256, (2, 32, 16, 3), np.uint8)
    build(Request(path, tmp_path / "f32", backend="onnxruntime"))
    want = open_engine(tmp_path / "f32").run({"crops": picture})["embedding"]
    for name, source, precision, backend in (
        ("f16", path, "f16", "onnxruntime"),
        ("half", half, "f32", "onnxruntime"),
        ("vino", half, "f32", "openvino"),
    ):
        build(Request(source, tmp_path / name, backend=backend, precision=precision))
        got = open_engine(tmp_path / name).run({"crops": picture})["embedding"]
        np.testing.assert_allclose(got, want, atol=2e-3)
    nodes = onnx.load(tmp_path / "f16" / "model.onnx").graph.node
    casts = {node.attribute[0].i for node in nodes if node.op_type == "Cast"}
    assert TensorProto.FLOAT16 in casts


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--precision", "bf16", "--backend", "onnxruntime"], "bf16 is for OpenVINO"),
        (["--size", "360x640"], "not 360x640: choose --size 384x640"),
    ],
)
def test_what_cannot_be_built_as_asked_is_refused(tmp_path, capsys, options, says):
    command = ["build", str(SHIPPED), "-o", str(tmp_path / "package"), *options]
    assert main(command) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "package").exists()


@pytest.mark.parametrize(
    ("name", "end_to_end"),
    [("yolo11n.yaml", False), ("yolo26n.yaml", False), ("yolo26n.yaml", True)],
)
def test_ultralytics_heads(tmp_path, name, end_to_end, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    torch.manual_seed(0)
    path = tmp_path / "detector.onnx"
    export_detector(Path(name), path, (192, 256), end_to_end=end_to_end)
    images = np.random.default_rng(0).integers(0, 256, (3, 192, 256, 3), np.uint8)
    onnx, vino = ONNXRuntimeEngine(path), OpenVINOEngine(read(path))
    together = onnx.run({"images": images})["predictions"]
    assert together.shape == ((3, 300, 6) if end_to_end else (3, 84, 24 * 32 + 12 * 16 + 6 * 8))
    alone = onnx.run({"images": images[1:2]})["predictions"]
    np.testing.assert_allclose(together[1:2], alone, atol=1e-3)
    if (
        not end_to_end
    ):  # random weights score all boxes alike, so the order of the end-to-end head's is luck
        np.testing.assert_allclose(vino.run({"images": images})["predictions"], together, atol=1e-2)
        torch.manual_seed(0)
        model = load_detector(Path(name))
        with torch.no_grad():
            rgb = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
            want = model(rgb)
        want = want[0] if isinstance(want, tuple | list) else want
        np.testing.assert_allclose(together, want.numpy(), atol=1e-2)


def test_what_is_no_detector_and_no_embedder_is_refused(tmp_path):
    path = tiny_graph(tmp_path / "same.onnx", "Relu", ["n", 3, 32, 16])
    with pytest.raises(PackageError, match="neither a detector's head nor an embedding"):
        adopt(path)


def test_weights_that_are_not_there_are_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match=r"there are no weights yolo11n\.pt"):
        load_detector(Path("yolo11n.pt"))
    assert list(tmp_path.iterdir()) == []


def test_weights_cut_short_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    path = tmp_path / "cut.pt"
    path.write_bytes(b"PK\x03\x04" + bytes(500))
    with pytest.raises(ExportError, match="not a detector that ultralytics can read") as caught:
        load_detector(path)
    assert "\n" not in str(caught.value)
