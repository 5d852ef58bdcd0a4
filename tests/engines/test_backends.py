"""Every backend gives the answers of the torch network, whatever the batch."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch

from engines import open_engine
from engines import openvino as openvino_backend
from engines.build import Request, build
from engines.errors import InputError
from engines.export import export_stream, macs
from engines.onnxruntime import ONNXRuntimeEngine
from engines.openvino import OpenVINOEngine, read
from engines.package import Kind
from engines.parity import batches_to_check, random_pictures
from engines.torch import TorchEngine
from trainer.model.backbones import imagenet_normalised

ROOT = Path(__file__).parents[2]
FRAMES = 10  # past the end of a segment
ALL = [
    ("openvino", "f32"),
    ("openvino", "bf16"),
    ("onnxruntime", "f32"),
    ("onnxruntime", "f16"),
    ("torch", "f32"),
]
TOLERANCE = {"f32": 1e-4, "bf16": 0.06, "f16": 5e-3}
LEAST_COSINE = {"f32": 0.999999, "bf16": 0.995, "f16": 0.9999}


def crops_of(engine, batch: int, frames: int, seed: int = 1) -> np.ndarray:
    """(frames, batch, H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    return np.stack([random_pictures(engine.inputs, batch, rng)["crops"] for _ in range(frames)])


@torch.no_grad()
def torch_answers(model, crops: np.ndarray) -> np.ndarray:
    """(frames, batch, E): the network itself, in its parallel causal form, on the same pictures."""
    frames, batch = crops.shape[:2]
    normalised = imagenet_normalised(torch.from_numpy(crops.reshape(-1, *crops.shape[2:])))
    clips = normalised.reshape(frames, batch, *normalised.shape[1:]).transpose(0, 1)
    return model.causal(clips).transpose(0, 1).numpy()


def stream(engine, crops: np.ndarray) -> np.ndarray:
    rows, slots = engine.state_rows(crops.shape[1]), np.arange(crops.shape[1])
    return np.stack([rows.step(slots, {"crops": some})["embedding"] for some in crops])


def assert_close(given: np.ndarray, wanted: np.ndarray, precision: str) -> None:
    cosine = (
        (given * wanted).sum(-1) / np.linalg.norm(given, axis=-1) / np.linalg.norm(wanted, axis=-1)
    )
    assert np.abs(given - wanted).max() <= TOLERANCE[precision]
    assert cosine.min() >= LEAST_COSINE[precision]


@pytest.fixture(scope="module")
def wanted(lively_edge):
    """Crops and the network's own answers to them, by size of batch, computed once for all backends."""
    engine = TorchEngine(lively_edge, Kind.GRL_STREAM, max_batch=24)
    answers = {}
    for batch in batches_to_check(24):
        crops = crops_of(engine, batch, FRAMES if batch < 24 else 2)
        answers[batch] = (crops, torch_answers(lively_edge, crops))
    return answers


@pytest.mark.parametrize(("backend", "precision"), ALL)
def test_stream_equals_the_network_at_every_batch(built, wanted, backend, precision):
    if backend == "openvino" and not openvino_backend.offers(precision):
        pytest.skip(f"this CPU does not compute in {precision}")
    engine = open_engine(built(backend, precision))
    assert batches_to_check(engine.max_batch) == (1, 2, 5, 24)
    for crops, want in wanted.values():
        assert_close(stream(engine, crops), want, precision)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_two_threads_may_ask_at_the_same_time_and_each_gets_its_own_answers(built, backend):
    engine = open_engine(built(backend))
    crops = crops_of(engine, 5, 40)
    alone = [stream(engine, crops[n : n + 1]) for n in range(40)]
    with ThreadPoolExecutor(2) as askers:
        beside = list(askers.map(lambda n: stream(engine, crops[n : n + 1]), range(40)))
    np.testing.assert_array_equal(beside, alone)


@pytest.mark.parametrize("attempt", range(3))
def test_threads_that_open_their_first_networks_at_once_do_not_wait_for_ever(attempt):
    """OpenVINO's bindings alone do, five times in six, and nothing but a kill ends it."""
    code = """
import os, sys, threading
import engines.openvino as backend
import openvino as ov
sys.setswitchinterval(1e-6)
together = threading.Barrier(8)
def ask():
    together.wait()
    ov.Type.f32.to_dtype()
threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)


def test_a_call_that_fails_half_way_leaves_the_engine_as_it_was(built, monkeypatch):
    engine = open_engine(built("openvino"))
    crops = crops_of(engine, 16, 1)  # so many that the first half is at work still
    want = stream(engine, crops)
    start, started = ov.InferRequest.start_async, []

    def fails_at_the_second(request, *given, **named):
        if started:
            raise RuntimeError("no memory")
        started.append(request)
        start(request, *given, **named)

    monkeypatch.setattr(ov.InferRequest, "start_async", fails_at_the_second)
    with pytest.raises(RuntimeError, match="no memory"):
        stream(engine, crops)
    monkeypatch.undo()
    assert started
    np.testing.assert_array_equal(stream(engine, crops), want)


@pytest.mark.parametrize("batch", [3, 7, 13, 23])
def test_batches_that_only_nearly_fill_a_size_get_their_own_answers(built, batch):
    engine = open_engine(built("openvino"))
    crops = crops_of(engine, batch, 2)
    one_by_one = [stream(engine, crops[:, n : n + 1]) for n in range(batch)]
    assert_close(stream(engine, crops), np.concatenate(one_by_one, axis=1), "f32")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@torch.no_grad()
def test_clip_equals_the_network(built, lively_edge, backend):
    engine = open_engine(built(backend, kind=Kind.GRL_CLIP))
    clips = random_pictures(engine.inputs, 3, np.random.default_rng(4))
    normalised = imagenet_normalised(torch.from_numpy(clips["clips"]).flatten(0, 1))
    want = lively_edge(normalised.reshape(3, 8, *normalised.shape[1:]))
    got = engine.run(clips)
    for name in ("low", "high", "pooled", "embedding"):
        np.testing.assert_allclose(got[name], getattr(want, name).numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_papers_network_too(golden_grl, tmp_path, backend):
    """grl-r50 with the reference's weights, whose memory grows tenfold within a segment."""
    path = tmp_path / "r50.onnx"
    export_stream(golden_grl, path)
    engine = (
        OpenVINOEngine(read(path), max_batch=2)
        if backend == "openvino"
        else ONNXRuntimeEngine(path)
    )
    crops = crops_of(engine, 2, 9)
    assert_close(stream(engine, crops), torch_answers(golden_grl, crops), "f32")


def test_work_is_counted_alike_in_torch_and_in_the_graph(lively_edge, tmp_path):
    export_stream(lively_edge, tmp_path / "edge.onnx")
    counted = openvino_backend.macs(read(tmp_path / "edge.onnx"))
    assert counted == pytest.approx(macs(lively_edge, "grl-stream"), rel=0.01)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_every_size_but_the_batch_is_known(built, backend):
    engine = open_engine(built(backend))
    assert engine.outputs["embedding"].shape == (-1, 768)
    assert engine.outputs["next.memory"].shape == (-1, 256, 16, 8)
    for name, spec in engine.inputs.items():
        if name.startswith("state."):
            assert engine.outputs["next." + name.removeprefix("state.")].shape == spec.shape


def test_half_precision_keeps_maps_in_half_and_vectors_whole(built):
    engine = open_engine(built("onnxruntime", "f16"))
    dtypes = {name: spec.dtype for name, spec in engine.inputs.items()}
    assert dtypes["state.memory"] == "float16"
    assert {dtypes[f"state.{name}"] for name in ("count", "context", "high", "mean")} == {"float32"}


def test_fused_inference_copy_is_the_same_function(golden_grl):
    """Folding W₁, W₂ and their BatchNorms into one matrix changes no answer."""
    crops = np.random.default_rng(3).integers(0, 256, (4, 1, 64, 32, 3), np.uint8)
    want = torch_answers(golden_grl, crops)
    got = torch_answers(golden_grl.for_inference(), crops)
    np.testing.assert_allclose(got, want, atol=1e-6, rtol=0)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_misfitting_input_is_one_sentence(built, backend):
    engine = open_engine(built(backend))
    good = {
        name: np.zeros((1, *spec.shape[1:]), spec.dtype) for name, spec in engine.inputs.items()
    }
    with pytest.raises(
        InputError, match=r"'crops' must be any×256×128×3 uint8, but is 1×128×64×3 uint8"
    ):
        engine.run(good | {"crops": np.zeros((1, 128, 64, 3), np.uint8)})
    with pytest.raises(InputError, match="but is 1×256×128×3 float32"):
        engine.run(good | {"crops": np.zeros((1, 256, 128, 3), np.float32)})
    with pytest.raises(InputError, match="different sizes"):
        engine.run(good | {"crops": np.zeros((2, 256, 128, 3), np.uint8)})
    with pytest.raises(InputError, match=r"batch of 25 is outside the 1…24"):
        engine.run({name: np.repeat(array, 25, axis=0) for name, array in good.items()})
    with pytest.raises(InputError, match="was given crops"):
        engine.run({"crops": good["crops"]})


def test_torch_engine_reads_weights_itself(edge_weights, lively_edge):
    engine = TorchEngine(edge_weights, Kind.GRL_STREAM)
    crops = crops_of(engine, 2, 3)
    assert_close(stream(engine, crops), torch_answers(lively_edge, crops), "f32")


def test_backbone_package_embeds_single_frames(edge_weights, lively_edge, tmp_path):
    build(Request(edge_weights, tmp_path / "frames", Kind.FRAME_EMBEDDER))
    engine = open_engine(tmp_path / "frames")
    crops = crops_of(engine, 3, 1)[0]
    with torch.no_grad():
        want = lively_edge.backbone(imagenet_normalised(torch.from_numpy(crops))).mean(dim=(2, 3))
    np.testing.assert_allclose(engine.run({"crops": crops})["embedding"], want.numpy(), atol=1e-4)
