"""The quantised graph itself, ranges, and what accuracy is judged by, on networks made for it."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from calibration.errors import TooLittleError
from calibration.int8 import graph, ranges
from calibration.int8.judges import drift
from calibration.int8.likeness import average_precision, cosines, detection_likeness
from calibration.int8.samples import crop_samples, steps_of
from engines.onnxruntime import ONNXRuntimeEngine
from engines.quantised import unquantised
from pipeline.frames import Detections


@pytest.fixture(scope="module")
def stream(stream_onnx, crops):
    """Model, samples, measured ranges, and the whole graph in the int8 that TensorRT knows."""
    model = graph.load_graph(stream_onnx)
    samples = crop_samples(crops, (32, 16), 16, 9)
    names = graph.layers(model)
    found = ranges.measure(model, graph.tensors(model, names), samples)
    return model, samples, found, graph.quantised(model, names, found)


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def quantisers(model: onnx.ModelProto) -> set[tuple[str, str]]:
    """Which values are rounded, and to what; zero points are 0."""
    known = constants(model)
    found = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert not any(known[node.input[2]].any() for node in found)
    return {(node.input[0], known[node.input[2]].dtype.name) for node in found}


def scales(model: onnx.ModelProto) -> dict[str, float]:
    """What one step of each rounded value is worth."""
    known = constants(model)
    found = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return {node.input[0]: float(known[node.input[1]]) for node in found}


def with_keep(model: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """The same network with a memory that keeps more or less."""
    copy = onnx.load_from_string(model.SerializeToString())
    keep = next(t for t in copy.graph.initializer if t.name == "keep")
    keep.CopyFrom(numpy_helper.from_array(np.float32(share), "keep"))
    return copy


def test_layers_are_products_behind_the_first_and_residual_sums(
    stream_onnx, embedder_onnx, tmp_path
):
    """The sums that carry the memory on are no residual branch: they stay exact."""
    assert graph.layers(graph.load_graph(stream_onnx)) == ("second", "look_back")
    model = graph.load_graph(embedder_onnx(tmp_path / "e.onnx"))
    assert graph.layers(model) == ("second", "third", "residual")


def test_every_scale_is_symmetric_int8_and_weights_have_one_per_channel(stream):
    _, _, _, model = stream
    known = constants(model)
    pairs = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 6
    for node in pairs:
        zero = known[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
    maker = {name: node for node in model.graph.node for name in node.output}
    for name in ("second", "look_back"):
        layer = next(n for n in model.graph.node if n.name == name)
        weight = maker[layer.input[1]]
        assert weight.op_type == "DequantizeLinear"
        assert known[weight.input[0]].dtype == np.int8
        assert known[weight.input[1]].shape == (8,)
        assert known[layer.input[2]].dtype == np.float32  # TensorRT takes no quantised bias
        assert maker[layer.input[0]].op_type == "DequantizeLinear"
    first = next(n for n in model.graph.node if n.name == "first")
    assert first.input[0] == "picture"
    assert known[first.input[1]].dtype == np.float32


def test_on_cpus_what_is_never_negative_is_unsigned_and_rounded_only_before_layers(stream):
    """The memory that is added may be negative, what was rectified is not. TensorRT knows nothing unsigned."""
    model, samples, _, for_tensorrt = stream
    names = graph.layers(model)
    assert graph.never_negative(model) == {"a", "features", "seen"}
    found = ranges.measure(
        model, graph.tensors(model, names), samples, unsigned=graph.never_negative(model)
    )
    on_cpus = graph.quantised(model, names, found, lean=True)
    assert quantisers(on_cpus) == {("a", "uint8"), ("total", "int8")}
    assert {kind for _, kind in quantisers(for_tensorrt)} == {"int8"}
    assert {name for name, _ in quantisers(for_tensorrt)} > {"a", "total", "second.out"}
    # Unsigned, the same range has twice as many steps.
    step = {form: scales(made)["a"] for form, made in (("cpu", on_cpus), ("trt", for_tensorrt))}
    assert step["cpu"] == pytest.approx(found["a"].limit / 255, rel=1e-5)
    assert step["cpu"] < 0.6 * step["trt"]
    few = samples.first(3, 8)
    engines = [ONNXRuntimeEngine(m.SerializeToString()) for m in (model, on_cpus)]
    assert cosines(*(steps_of(engine, few, "embedding") for engine in engines)).min() > 0.999


def test_a_cut_at_zero_is_never_negative_and_one_below_it_may_be():
    limits = {"zero": 0.0, "less": -1.0, "six": 6.0}
    nodes = [
        helper.make_node("Clip", ["x", "zero", "six"], ["relu6"]),
        helper.make_node("Clip", ["x", "less", "six"], ["hardtanh"]),
        helper.make_node("Clip", ["x", "", "six"], ["only_above"]),
        helper.make_node("Constant", [], ["plain"], value_float=0.0),
        helper.make_node("Clip", ["x", "plain", "six"], ["not_known"]),
        helper.make_node("MaxPool", ["relu6"], ["pooled"], kernel_shape=[2, 2]),
        helper.make_node("MaxPool", ["x"], ["pooled_too"], kernel_shape=[2, 2]),
    ]
    tensors = [numpy_helper.from_array(np.float32(v), name) for name, v in limits.items()]
    model = helper.make_model(helper.make_graph(nodes, "cuts", [], [], tensors))
    assert graph.never_negative(model) == {"relu6", "pooled"}


def test_weights_are_rounded_to_a_hundred_and_twenty_seventh_of_their_channel(stream):
    """Expected from the definition of symmetric int8, not from the quantiser."""
    original, _, _, model = stream
    known, wanted = constants(model), constants(original)["second.w"]
    layer = next(n for n in model.graph.node if n.name == "second")
    maker = {name: node for node in model.graph.node for name in node.output}
    weight = maker[layer.input[1]]
    scale = np.abs(wanted).max(axis=(1, 2, 3)) / 127
    np.testing.assert_allclose(known[weight.input[1]], scale, rtol=1e-5)
    whole = known[weight.input[0]] * scale[:, None, None, None]
    assert np.abs(whole - wanted).max() <= scale.max() / 2 * 1.001


def test_ranges_of_a_memory_cover_what_it_grows_to(stream, stream_onnx):
    """`total` holds the memory, which is zero at first and grows with every step."""
    _, samples, found, _ = stream
    engine = ONNXRuntimeEngine(stream_onnx)
    rows, slots = engine.state_rows(16), np.arange(16)
    memories = []
    for pictures in samples.steps:
        rows.step(slots, {"crops": pictures})
        memories.append(float(np.abs(rows._rows["memory"]).max()))
    assert memories[-1] > 3 * memories[0]
    assert found["total"].peak > memories[-2]
    assert found["total"].limit <= found["total"].peak


def test_a_rare_giant_does_not_coarsen_everything():
    values = np.abs(np.random.default_rng(0).normal(0, 1, 100_000)).astype(np.float32)
    values[0] = 15.0
    # Cutting at L costs (15 − L)² / 1e5, rounding (L / 127)² / 12: together least at L = 9.9.
    assert 8.5 < ranges.best_limit(values, 15.0) < 11.0
    plain = np.linspace(0, 1, 10_000, dtype=np.float32)
    assert ranges.best_limit(plain, 1.0) > 0.95


def test_a_stream_does_not_drift_over_64_steps(stream):
    original, samples, _, model = stream
    engines = [ONNXRuntimeEngine(m.SerializeToString()) for m in (model, original)]
    found = drift(*engines, samples.first(9, 4))
    assert list(found) == ["1", "8", "64"]
    assert min(found.values()) > 0.995
    # A memory that outgrows its ranges must be seen to drift.
    hoards = [ONNXRuntimeEngine(with_keep(m, 0.97).SerializeToString()) for m in (model, original)]
    outgrown = drift(*hoards, samples.first(9, 4))
    assert outgrown["64"] < min(outgrown["8"], found["64"]) - 0.003
    long = samples.first(64, 4)
    alike = cosines(*(steps_of(engine, long, "embedding") for engine in engines)).mean(axis=1)
    assert found["64"] == pytest.approx(alike[63])
    assert alike[56:].mean() > alike[4:12].mean() - 0.002


def test_without_quantisers_the_same_ranges_stand_beside_the_graph(stream):
    """What TensorRT 8.6 gets: no Q/DQ, weights of the same values, and a range for every quantised tensor."""
    original, samples, found, model = stream
    plain = unquantised(model.SerializeToString())
    bare = onnx.load_from_string(plain.graph)
    onnx.checker.check_model(bare)
    kinds = {node.op_type for node in bare.graph.node}
    assert kinds == {node.op_type for node in original.graph.node}
    assert plain.layers == {"second", "look_back"}
    assert set(plain.limits) == set(found)
    for name, limit in plain.limits.items():
        assert limit == pytest.approx(found[name].limit, rel=1e-5)
    few = samples.first(2, 4)
    wanted, given = (
        steps_of(ONNXRuntimeEngine(m.SerializeToString()), few, "embedding")
        for m in (original, bare)
    )
    assert cosines(given, wanted).min() > 0.999
    assert np.abs(given - wanted).max() > 0


def test_too_few_tracklets_say_how_many_are_needed(tmp_path):
    (tmp_path / "0001").mkdir()
    with pytest.raises(TooLittleError, match=r"0 tracklets in .*, 8 are needed"):
        crop_samples(tmp_path, (32, 16), 8, 9)


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_average_precision_by_hand():
    """Two pictures, three people: hit, miss, hit by score. Precision 1, 1/2, 2/3; recall steps at 1 and 2 of 3."""
    truth = [boxes((0, 0, 10, 10), (20, 0, 30, 10)), boxes((0, 0, 10, 10))]
    found = [
        Detections(boxes((0, 0, 10, 10), (50, 50, 60, 60)), np.array([0.9, 0.8], np.float32)),
        Detections(boxes((1, 0, 11, 10)), np.array([0.7], np.float32)),
    ]
    assert average_precision(found, truth) == pytest.approx((1 + 2 / 3) / 3)
    twice = [Detections(boxes((0, 0, 10, 10), (0, 0, 10, 10)), np.array([0.9, 0.8], np.float32))]
    assert average_precision(twice, [truth[1]]) == pytest.approx(1.0)
    assert average_precision([Detections(boxes(), np.zeros(0, np.float32))], [truth[1]]) == 0.0


def test_likeness_of_detections_falls_with_place_and_score():
    one = Detections(boxes((0, 0, 10, 10)), np.array([0.8], np.float32))
    assert detection_likeness([one], [one]) == pytest.approx(1.0)
    less = Detections(one.boxes, np.array([0.4], np.float32))
    assert detection_likeness([less], [one]) == pytest.approx(0.5)
    beside = Detections(boxes((5, 0, 15, 10)), one.scores)
    assert detection_likeness([beside], [one]) == pytest.approx(1 / 3)
    nothing = Detections(boxes(), np.zeros(0, np.float32))
    assert detection_likeness([nothing], [one]) == 0.0
