"""`python -m calibration int8`: what it writes, what it refuses, and what it says."""

import json

import numpy as np
import pytest

from calibration.__main__ import main
from calibration.int8.samples import crop_samples, steps_of
from engines import open_engine
from engines.build import Request, build
from engines.errors import PackageError
from engines.onnxruntime import ONNXRuntimeEngine
from engines.opening import open_foreign
from engines.package import read_manifest
from pipeline.settings import load_settings

SPREAD = 3e4
"""With this one channel is so much larger than the others that per-tensor int8 leaves nothing of these."""


def int8(source, crops, output, *more: str) -> int:
    words = ["int8", str(source), "-o", str(output), "--data", str(crops), "--pictures", "60"]
    return main([*words, "--max-batch", "16", *more])


@pytest.fixture(scope="module")
def packages(embedder_onnx, crops, tmp_path_factory):
    """The same network as int8 packages of both CPU backends, with what the command said."""
    folder = tmp_path_factory.mktemp("packages")
    source = embedder_onnx(folder / "embedder.onnx")
    for backend in ("openvino", "onnxruntime"):
        more = (
            ["--site", str(folder / "site.toml")] if backend == "openvino" else ["--no-sensitivity"]
        )
        assert int8(source, crops, folder / backend, "--backend", backend, *more) == 0
    return folder


def test_both_backends_answer_alike_and_near_the_network(packages, crops):
    samples = crop_samples(crops, (32, 16), 16, 9, seed=9).first(4, 16)
    wanted = steps_of(
        open_foreign(packages / "embedder.onnx", precision="f32"), samples, "embedding"
    )
    answers = {
        backend: steps_of(open_engine(packages / backend), samples, "embedding", batch=16)
        for backend in ("openvino", "onnxruntime")
    }
    scale = np.abs(wanted).max()
    for given in answers.values():
        assert np.abs(given - wanted).max() < 0.05 * scale
        assert np.abs(given - wanted).max() > 0  # it is not the float network
    assert np.abs(answers["openvino"] - answers["onnxruntime"]).max() < 0.03 * scale


def test_the_manifest_says_how_and_at_what_cost(packages):
    manifest = read_manifest(packages / "openvino")
    how = manifest.quantisation
    assert manifest.precision == "int8"
    assert manifest.source == "embedder.onnx"
    assert (how.layers, how.kept, how.forced) == (3, (), False)
    assert how.measure == "cosine"
    assert "no labels" in how.judged_on
    assert how.before == pytest.approx(1.0)
    assert 0.99 <= how.after < 1.0
    assert "tracklets of 9 crops" in how.data


def test_the_site_uses_it_and_knows_where_it_comes_from(packages):
    site = load_settings(packages / "site.toml")
    assert site.embedder.package == str(packages / "openvino")
    origin = site.calibration["int8"]
    assert origin.source == "embedder.onnx"
    assert origin.evidence["cosine_int8"] == pytest.approx(
        read_manifest(packages / "openvino").quantisation.after, rel=1e-6
    )


def test_the_page_shows_ranges_and_layers(packages):
    page = (packages / "openvino.html").read_text()
    assert page.count("<svg") == 2
    for word in ("embedder in int8", "1 − likeness", "magnitude", "layers in int8", "no labels"):
        assert word in page


def test_what_a_likeness_says_of_the_weights_holds_in_eight_bits(embedder_onnx, crops, tmp_path):
    source = embedder_onnx(tmp_path / "told.onnx")
    (tmp_path / "told.likeness.json").write_text('{"even": 0.4, "slope": 9.0}')
    assert int8(source, crops, tmp_path / "out", "--no-sensitivity") == 0
    assert (tmp_path / "out.likeness.json").read_text() == '{"even": 0.4, "slope": 9.0}'


def test_a_layer_that_eight_bits_cannot_hold_stays_in_floating_point(
    embedder_onnx, crops, tmp_path, capsys
):
    source = embedder_onnx(tmp_path / "spread.onnx", SPREAD)
    assert int8(source, crops, tmp_path / "out", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["costs"][0]["layer"] == "second"
    how = read_manifest(tmp_path / "out").quantisation
    assert "second" in how.kept
    assert how.after >= 0.99
    assert how.layers + len(how.kept) == 3


def test_too_great_a_loss_is_refused_unless_forced(embedder_onnx, crops, tmp_path, capsys):
    source = embedder_onnx(tmp_path / "spread.onnx", SPREAD)
    assert int8(source, crops, tmp_path / "out", "--rounds", "0") == 4
    said = capsys.readouterr().err
    assert "points of cosine" in said
    assert "second (" in said
    assert not (tmp_path / "out").exists()
    forced = int8(source, crops, tmp_path / "out", "--rounds", "0", "--force", "--no-sensitivity")
    assert forced == 0
    how = read_manifest(tmp_path / "out").quantisation
    assert how.forced
    assert how.before - how.after > how.allowed
    assert "by force" in (tmp_path / "out.html").read_text()


def test_the_engine_has_the_graph_s_quantisers(packages):
    engine = ONNXRuntimeEngine(packages / "onnxruntime" / "model.onnx")
    assert list(engine.inputs) == ["crops"]
    assert engine.inputs["crops"].dtype == "uint8"
    import onnx

    model = onnx.load(packages / "onnxruntime" / "model.onnx")
    rounded = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert rounded == {"a", "b", "c"}


def test_a_build_without_ranges_is_sent_here(packages, tmp_path):
    with pytest.raises(PackageError, match="calibration int8"):
        build(Request(packages / "embedder.onnx", tmp_path / "x", precision="int8"))


def test_bad_input_is_one_sentence(packages, crops, tmp_path, capsys):
    source = packages / "embedder.onnx"
    assert main(["int8", str(source), "-o", str(tmp_path / "x")]) == 2
    assert main(["int8", str(tmp_path / "no.onnx"), "-o", "x", "--data", str(crops)]) == 2
    (tmp_path / "empty").mkdir()
    assert int8(source, tmp_path / "empty", tmp_path / "x") == 3
    (tmp_path / "torn.onnx").write_bytes(source.read_bytes()[:500])
    assert int8(tmp_path / "torn.onnx", crops, tmp_path / "x") == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("error: ") == 4
