"""Float graphs that compute in eight bits: against arithmetic in NumPy, and as packages that are opened either way."""

import json
from dataclasses import replace

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from engines import openvino as backend
from engines.eight_bits import (
    as_text,
    best_range,
    in_eight_bits,
    inputs_of_products,
    measure,
    read_ranges,
)
from engines.errors import EngineError, PackageError, PackageMismatch
from engines.opening import open_engine
from engines.openvino import OpenVINOEngine, macs, multiplies_bytes
from engines.package import RANGES, read_manifest, reissue
from pipeline.settings import MODELS

SIZE, WIDE = (12, 16), 8


def graph(seed=0):
    """uint8 pictures through four convolutions and a mean over fixed weights, as a detector has one."""
    rng = np.random.default_rng(seed)

    def convolved(value, out, into, name):
        weights = rng.normal(0, (2 / (9 * into)) ** 0.5, (out, into, 3, 3)).astype(np.float32)
        node = ops.convolution(value, ops.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1])
        node.set_friendly_name(name)
        return node

    pictures = ops.parameter([-1, *SIZE, 3], np.uint8, name="images")
    pictures.output(0).set_names({"images"})
    planes = ops.transpose(ops.convert(pictures, "f32"), ops.constant([0, 3, 1, 2]))
    value = ops.multiply(planes, ops.constant(np.float32(1 / 255)))
    for act, out, into, name in (
        (ops.relu, WIDE, 3, "first"),
        (ops.hswish, WIDE, WIDE, "second"),
        (ops.hswish, WIDE, WIDE, "third"),
    ):
        value = act(convolved(value, out, into, name))
        value.set_friendly_name(f"{name} activated")
    value = convolved(value, 4, WIDE, "last")
    mean = ops.constant(np.full((1, 4, 1, 1), 0.25, np.float32))
    value = ops.convolution(value, mean, [1, 1], [0, 0], [0, 0], [1, 1])
    value.set_friendly_name("mean")
    result = ops.result(value)
    result.output(0).set_names({"predictions"})
    return ov.Model([result], [pictures])


def pictures(count, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *SIZE, 3), np.uint8)


def test_work_is_counted_for_one_picture():
    pixels, nine = SIZE[0] * SIZE[1], 3 * 3
    by_hand = nine * WIDE * 3 + 2 * nine * WIDE * WIDE + nine * 4 * WIDE + 4
    model = graph()
    assert macs(model) == pixels * by_hand
    assert model.inputs[0].get_partial_shape()[0].is_dynamic, "it is as it was"


def test_inner_products_are_rounded_and_the_first_and_last_are_not():
    found = inputs_of_products(graph())
    assert sorted(node.get_friendly_name() for some in found.values() for node in some) == [
        "second",
        "third",
    ]
    assert len(found) == 2, "an input each"


@pytest.mark.skipif(not multiplies_bytes(), reason="sums of bytes overflow on this processor")
def test_eight_bits_answer_what_rounding_by_hand_answers():
    """The same network with inputs and weights rounded by NumPy, and computed in floats."""
    model, shown = graph(), pictures(8)
    ranges = measure(graph(), pictures(16, seed=2))
    exact = OpenVINOEngine(graph()).run({"images": shown})["predictions"]
    in_eight_bits(model, ranges)
    rounded = OpenVINOEngine(model, precision="int8").run({"images": shown})["predictions"]
    coarse = graph()
    in_eight_bits(coarse, {name: (least / 8, most / 8) for name, (least, most) in ranges.items()})
    cut = OpenVINOEngine(coarse, precision="int8").run({"images": shown})["predictions"]
    scale = np.abs(exact).mean()
    assert 0 < np.abs(rounded - exact).mean() < 0.03 * scale
    assert np.abs(cut - exact).mean() > 0.1 * scale, "ranges are heeded"


@pytest.mark.parametrize("low", [0.0, -0.375, -30.0])
def test_a_range_has_zero_among_its_steps_and_cuts_what_is_rare(low):
    values = np.random.default_rng(4).normal(0, 1, 1_000_000).clip(low).astype(np.float32)
    values[0] = 12.0  # the only one of its kind: to keep it would coarsen all others
    least, most = best_range(values, float(values.min()), 12.0)
    step = (most - least) / 255
    assert least / step == pytest.approx(round(least / step), abs=1e-3)
    assert 3 < most < 9
    assert least <= max(low, -3)


def test_ranges_of_another_graph_are_refused(tmp_path):
    ranges = measure(graph(), pictures(2))
    ranges.pop(next(iter(ranges)))
    with pytest.raises(PackageError, match="of another graph"):
        in_eight_bits(graph(), ranges)
    (tmp_path / RANGES).write_text(as_text(ranges))
    assert read_ranges(tmp_path) == ranges
    (tmp_path / RANGES).write_text(as_text(ranges)[:-9])
    with pytest.raises(PackageError, match=f"{RANGES} cannot be read"):
        read_ranges(tmp_path)


@pytest.fixture(scope="module")
def shipped():
    return MODELS / "person-detector"


def test_a_package_with_ranges_is_opened_in_eight_bits_where_these_are_faster(shipped, monkeypatch):
    asked = []
    real = backend.OpenVINOEngine

    def noted(model, **options):
        asked.append(options["precision"])
        return real(model, **options)

    monkeypatch.setattr(backend, "OpenVINOEngine", noted)
    for able, precision, got in (
        (True, "fastest", "int8"),
        (False, "fastest", backend.fastest()),
        (True, "f32", "f32"),
        (True, None, "f32"),
    ):
        monkeypatch.setattr(backend, "multiplies_bytes", lambda able=able: able)
        open_engine(shipped, precision=precision, max_batch=1).close()
        assert asked.pop() == got


def test_eight_bits_are_refused_where_they_would_be_wrong(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "multiplies_bytes", lambda: False)
    with pytest.raises(PackageMismatch, match="this processor adds up products of bytes neither"):
        open_engine(shipped, precision="int8")


def test_the_shipped_detector_knows_its_work(shipped):
    """That of a YOLO11n is published as 6.5 GFLOP for 640×640 pixels and eighty classes."""
    manifest = read_manifest(shipped)
    height, width = manifest.input_size
    assert manifest.macs == pytest.approx(6.5e9 / 2 * height * width / 640**2, rel=0.05)


def test_a_package_without_ranges_has_no_eight_bits(shipped, tmp_path):
    manifest = read_manifest(shipped)
    files = {name: digest for name, digest in manifest.files.items() if name != RANGES}
    bare = tmp_path / "bare"
    reissue(shipped, replace(manifest, files=files), bare)
    open_engine(bare, precision="fastest", max_batch=1).close()
    with pytest.raises(PackageMismatch, match=r"has no ranges.*calibration ranges"):
        open_engine(bare, precision="int8")
    (bare / RANGES).write_text("{}")  # beside it, but not of it
    with pytest.raises(PackageMismatch, match="has no ranges"):
        open_engine(bare, precision="int8")


def test_ranges_that_were_altered_are_noticed(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "multiplies_bytes", lambda: True)
    copy = tmp_path / "copy"
    reissue(shipped, read_manifest(shipped), copy)
    told = json.loads((copy / RANGES).read_text())
    told[next(iter(told))][1] *= 2
    (copy / RANGES).write_text(json.dumps(told))
    with pytest.raises(EngineError, match=r"ranges.json was cut short or altered"):
        open_engine(copy, precision="int8")
