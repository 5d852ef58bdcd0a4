"""What networks trained on real people make of rendered ones; `benchmarks.synthetic` has more."""

import pytest

from benchmarks.synthetic import data_folder, difficulty, realism

pytestmark = pytest.mark.skipif(
    not (data_folder() / "models" / "yolox_nano.onnx").exists(),
    reason="the test data is absent: set REID_TEST_DATA",
)


@pytest.mark.parametrize("site", ["plaza", "mall"])
def test_a_detector_of_real_people_finds_rendered_ones(site):
    result = realism(site, seed=3, frames=12, cameras=1)
    assert result.found.total() + result.missed.total() > 15
    assert result.recall >= 0.75
    assert result.precision >= 0.85


def test_colours_alone_do_not_tell_people_apart_but_a_real_network_does(tmp_path):
    found = difficulty(tmp_path, identities=12, frames=3)
    assert found.crops >= 12 * 4 * 2
    assert found.histogram <= 0.45
    assert found.network > found.histogram + 0.2
