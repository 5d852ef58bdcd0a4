"""A memory that is judged by what it usually is after so many frames, through the command line."""

import copy

import pytest
import torch

from tests.trainer.tiny_training import draw_people
from trainer.__main__ import main
from trainer.data import open_dataset
from trainer.data.transforms import read_clip
from trainer.model import load_model, save_model
from trainer.model.registry import notes_of
from trainer.objective import normalised

SIZE = (64, 32)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return draw_people(tmp_path_factory.mktemp("settle") / "people", people=40, frames=8)


@pytest.fixture(scope="module")
def unsettled(lively_edge, people):
    model = copy.deepcopy(lively_edge)
    model.size = SIZE
    model.low_steps.scale.fill_(1.0)
    model.low_steps.shift.zero_()
    path = people.parent / "weights.safetensors"
    save_model(model, "grl-edge", path)
    return path


@torch.no_grad()
def as_judged(model, people) -> torch.Tensor:
    """(tracklets, 8, C): what the memory is normalised to, by frame; 0 ± 1 is usual."""
    learners = open_dataset(str(people), 0.0, 0).train
    clips = [torch.from_numpy(read_clip(tracklet.paths, *SIZE)) for tracklet in learners]
    memories = torch.cat([model.memories(normalised(clip[None])) for clip in clips])
    norm = model.low_norm
    spread = (norm.running_var + norm.eps).sqrt()
    return (model.low_steps(memories) - norm.running_mean) / spread


def test_after_every_frame_the_memory_is_as_it_usually_is(people, unsettled, tmp_path):
    settled = tmp_path / "settled.safetensors"
    words = ["--data", str(people), "--recipe", "paper", "--cpu", "-o", str(settled)]
    assert main(["settle", str(unsettled), *words]) == 0
    before = as_judged(load_model(unsettled), people)
    after = as_judged(load_model(settled), people)
    assert before.mean(dim=0).abs().mean() > 1, "one normalisation fits no frame"
    assert after.mean(dim=0).abs().mean() < 0.4, "but for how pictures are changed"
    assert after.std(dim=0).max() < 1.6
    # One clip tells that nothing but the memory's share of an embedding has changed.
    crops = torch.randn(1, 3, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    one, other = (load_model(path).causal_outputs(crops) for path in (unsettled, settled))
    torch.testing.assert_close(one.pooled, other.pooled)
    assert (one.low - other.low).abs().max() > 1e-2
    clip, same = (load_model(path)(crops).embedding for path in (unsettled, settled))
    torch.testing.assert_close(clip, same)


def test_weights_from_before_there_was_settling_are_what_they_were(unsettled, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(unsettled, framework="pt") as file:
        old = {key: file.get_tensor(key) for key in file.keys() if "low_steps" not in key}  # noqa: SIM118
        notes = file.metadata()
    save_file(old, tmp_path / "old.safetensors", metadata=notes)
    crops = torch.randn(1, 9, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(
            load_model(tmp_path / "old.safetensors").causal(crops),
            load_model(unsettled).causal(crops),
        )


def test_a_training_settles_what_it_made_and_forgets_what_it_began_with(people, tmp_path):
    words = [
        "train",
        "--data",
        str(people),
        "--mode",
        "causal",
        "--cpu",
        "--epochs",
        "1",
        "--threads",
        "1",
    ]
    words += ["--size", "64x32", "--pairs", "40", "--length", "2", "--holdout", "0"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([*words, "--settle", "70", "-o", str(first)]) == 0
    steps = load_model(first / "weights.safetensors").low_steps
    assert (steps.scale[0] - 1).abs().max() > 0.1
    assert notes_of(first / "weights.safetensors")["mode"] == "causal"
    init = ["--init", str(first / "weights.safetensors")]
    assert main([*words, *init, "--settle", "0", "-o", str(second)]) == 0
    steps = load_model(second / "weights.safetensors").low_steps
    assert torch.equal(steps.scale, torch.ones_like(steps.scale))
    assert torch.equal(steps.shift, torch.zeros_like(steps.shift))


def test_too_few_are_said(unsettled, tmp_path, capsys):
    few = draw_people(tmp_path / "few", people=5, frames=8)
    words = ["--data", str(few), "--cpu", "-o", str(tmp_path / "no.safetensors")]
    assert main(["settle", str(unsettled), *words]) == 2
    assert "10 tracklets have 8 frames or more: 64 of them are needed" in capsys.readouterr().err
    assert main(["settle", str(unsettled), *words, "--tracklets", "1"]) == 2
    with pytest.raises(SystemExit):
        main(["train", "--data", str(few), "-o", str(tmp_path / "run"), "--settle", "63"])
    assert "must be 0, or 64 and more" in capsys.readouterr().err
    assert not (tmp_path / "no.safetensors").exists()


def test_few_drawn_of_many_are_too_few(people, unsettled, tmp_path, capsys):
    words = ["--data", str(people), "--cpu", "-o", str(tmp_path / "no.safetensors")]
    assert main(["settle", str(unsettled), *words, "--tracklets", "63"]) == 2
    assert "63 tracklets are too few to settle by: 64 are needed" in capsys.readouterr().err
