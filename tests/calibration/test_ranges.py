"""`calibration ranges`: the shipped detector on rendered people, its ranges taken away first."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.__main__ import main
from calibration.int8 import judges
from engines.opening import open_engine
from engines.openvino import multiplies_bytes
from engines.package import RANGES, read_manifest, reissue
from pipeline.settings import MODELS
from synthetic.__main__ import main as render


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Labelled frames of one place."""
    folder = tmp_path_factory.mktemp("people") / "set"
    words = ["--images", "40", "--val", "0.5", "--invented", "1", "--size", "480x270"]
    assert render(["detect", *words, "--crowd", "2", "--seed", "3", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def package(tmp_path):
    shipped = MODELS / "person-detector"
    manifest = read_manifest(shipped)
    files = {name: digest for name, digest in manifest.files.items() if name != RANGES}
    reissue(shipped, replace(manifest, files=files, quantisation=None), tmp_path / "people")
    return tmp_path / "people"


@pytest.mark.skipif(not multiplies_bytes(), reason="sums of bytes overflow on this processor")
@pytest.mark.parametrize("how", ["--labels", "--data"])
def test_a_package_gets_ranges_and_says_what_they_cost(package, people, how, capsys):
    assert main(["ranges", str(package), how, str(people), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    manifest = read_manifest(package)
    assert manifest.quantisation is not None
    assert manifest.precision == "f32"
    assert told["after"] == manifest.quantisation.after > manifest.quantisation.before - 0.03
    assert told["measure"] == ("AP50" if how == "--labels" else "agreement")
    seen = cv2.imread(str(min((people / "images" / "val").iterdir())))
    picture = np.full((1, *manifest.input_size, 3), 114, np.uint8)
    picture[0, :270, :480] = seen
    exact, coarse = (
        open_engine(package, precision=precision, max_batch=1).run({"images": picture})
        for precision in ("f32", "int8")
    )
    off = np.abs(exact["predictions"] - coarse["predictions"])[0, 4]
    sure = exact["predictions"][0, 4] > 0.5
    assert 0 < np.quantile(off[sure], 0.9) < 0.1


def test_ranges_that_cost_too_much_are_not_written_unless_forced(
    package, people, monkeypatch, capsys
):
    # Even ranges of black pictures cost this network half a point only: here it would have to gain five.
    monkeypatch.setattr(judges.LabelledDetector, "allowed", -0.05)
    words = ["ranges", str(package), "--labels", str(people), "--pictures", "16"]
    before = (package / "manifest.json").read_bytes()
    assert main(words) == 4
    told = capsys.readouterr().err
    assert "points of AP50" in told
    assert "nothing was written" in told.replace("\n", " ")
    assert (package / "manifest.json").read_bytes() == before
    assert not (package / RANGES).exists()
    assert main([*words, "--force"]) == 0
    how = read_manifest(package).quantisation
    assert how is not None
    assert how.forced


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["models/none"], 2, "is not an engine package"),
        (
            [str(MODELS / "grl-edge")],
            2,
            "is a grl-stream for openvino in f32: ranges are for detectors",
        ),
        ([str(MODELS / "person-detector"), "--pictures", "0"], 2, "--pictures begins at 1"),
    ],
)
def test_bad_input_is_one_sentence(words, code, told, people, capsys):
    assert main(["ranges", *words, "--labels", str(people)]) == code
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert main(["ranges", words[0]]) == 2
