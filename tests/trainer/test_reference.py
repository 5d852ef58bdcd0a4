"""Checkpoints of the published code become our weights, or one sentence that says why not."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from trainer.errors import WeightsError
from trainer.model import load_model
from trainer.reference import import_reference


@pytest.mark.parametrize("prefix", ["", "module."])
def test_imports_three_files(reference_states, golden_grl, tmp_path, prefix):
    paths = []
    for part, state in reference_states.items():
        paths.append(tmp_path / f"{part}.pth.tar")
        torch.save(
            {"state_dict": {prefix + key: v for key, v in state.items()}, "epoch": 60}, paths[-1]
        )
    import_reference(paths, tmp_path / "weights.safetensors")
    loaded = load_model(tmp_path / "weights.safetensors").state_dict()
    for key, value in golden_grl.state_dict().items():
        assert torch.equal(loaded[key], value), key


def test_imports_what_the_published_code_saves(reference_states, golden_grl, tmp_path):
    """The network and one head, with the best score so far as a NumPy number."""
    path = tmp_path / "best.pth.tar"
    kept = {name: state for name, state in reference_states.items() if name in ("model", "siamese")}
    torch.save({**kept, "best_top1": np.float32(0.91), "best": np.float64(0.91)}, path)
    import_reference([path], tmp_path / "weights.safetensors")
    loaded = load_model(tmp_path / "weights.safetensors").state_dict()
    for key, value in golden_grl.state_dict().items():
        assert torch.equal(loaded[key], value) or key.startswith("pair_low."), key


def test_names_every_missing_and_unexpected_key(reference_states, tmp_path):
    model = dict(reference_states["model"])
    del model["corr_bn.weight"], model["backbone.base.4.0.conv1.weight"]
    model["novelty.weight"] = torch.zeros(3)
    path = tmp_path / "all.pth"
    torch.save({**reference_states, "model": model}, path)
    with pytest.raises(WeightsError) as caught:
        import_reference([path], tmp_path / "out.safetensors")
    for part in (
        "missing high_norm.weight",
        "missing backbone.net.layer1.0.conv1.weight",
        "unexpected novelty.weight",
    ):
        assert part in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_refuses_a_checkpoint_that_would_run_code(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": subprocess.Popen}, path)
    with pytest.raises(WeightsError, match="not a whole torch checkpoint of plain tensors"):
        import_reference([path], tmp_path / "out.safetensors")


def test_refuses_a_checkpoint_cut_short(reference_states, tmp_path):
    path = tmp_path / "cut.pth"
    torch.save(reference_states["siamese"], path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="not a whole torch checkpoint"):
        import_reference([path], tmp_path / "out.safetensors")


def test_command_line_says_what_is_missing(tmp_path):
    command = [
        sys.executable,
        "-m",
        "trainer",
        "import-reference",
        str(tmp_path / "no.pth"),
        "-o",
        "x.safetensors",
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "there is no checkpoint" in answer.stderr
    assert "Traceback" not in answer.stderr
