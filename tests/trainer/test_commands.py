"""The command line from data to weights, vectors, tables and pages; and what it says when it cannot."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.tiny_training import draw_people
from trainer.__main__ import main
from trainer.data.folder import tracklets
from trainer.data.transforms import read_clip
from trainer.model import load_model
from trainer.model.backbones import imagenet_normalised
from trainer.monitors import read_history

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    return draw_people(tmp_path_factory.mktemp("cli") / "site", people=4, frames=3)


@pytest.fixture(scope="module")
def trained(site) -> Path:
    """The folder of a training of two steps, through the command line."""
    output = site.parent / "run"
    options = [
        "--epochs",
        "1",
        "--pairs",
        "2",
        "--length",
        "2",
        "--holdout",
        "0.5",
        "--size",
        "64x32",
    ]
    answer = main(["train", "--data", str(site), "-o", str(output), "--cpu", *options])
    assert answer == 0
    return output


def test_help_needs_none_of_the_heavy_libraries():
    code = (
        "import sys, contextlib, io; from trainer.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "assert 'import-reference' in out.getvalue()\n"
        "print(sorted({'torch', 'numpy', 'cv2', 'accelerate'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert answer.stdout.strip() == "[]", answer.stderr


def test_training_leaves_weights_history_curves_and_a_page(trained):
    assert load_model(trained / "weights.safetensors").size == (64, 32)
    history = read_history(trained)
    assert [line["step"] for line in history if "loss" in line] == [1, 2]
    assert {"rank1", "mAP"} == set(history[-1]["scores"])
    assert list((trained / "tensorboard").glob("events.*"))
    page = (trained / "report.html").read_text()
    assert page.count("<svg") == 4  # curves, CMC, distances, growth
    assert page.count("data:image/jpeg;base64") >= 4
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []  # nothing is fetched


def test_a_table_of_modes_and_colours(site, trained, capsys):
    weights = trained / "weights.safetensors"
    options = ["--data", str(site), "--frames", "1", "--rerank", "--json"]
    assert main(["evaluate", f"{weights}:stream,mean", "histogram", *options]) == 0
    rows = json.loads(capsys.readouterr().out)
    folder = trained.name
    assert [row["name"] for row in rows] == [f"{folder} stream", f"{folder} mean", "histogram"]
    colours = rows[2]
    assert colours["rank1"] == 1.0  # each drawn person has colours of their own
    assert colours["queries"] == 8
    assert set(colours["by_frames"]) == {"1"}
    assert 0 <= rows[0]["reranked"]["mAP"] <= 1


def test_those_whom_a_training_left_out_are_judged_by_alone(site, trained, capsys):
    for holdout, queries in (("0.5", 4), ("0", 8)):
        options = ["--data", str(site), "--holdout", holdout, "--json"]
        assert main(["evaluate", "histogram", *options]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)[0]["queries"] == queries
        assert ("is flattered" in err) == (holdout == "0")


def test_a_training_goes_on_from_weights_in_their_crops_and_resumes_as_nothing_else(
    site, trained, tmp_path, capsys
):
    command = ["train", "--data", str(site), "-o", str(tmp_path / "on"), "--cpu", "--pairs", "2"]
    command += ["--length", "2", "--epochs", "1", "--settle", "0"]
    assert main([*command, "--init", str(trained / "weights.safetensors")]) == 0
    assert load_model(tmp_path / "on" / "weights.safetensors").size == (64, 32)
    capsys.readouterr()
    assert main([*command, "--resume"]) == 2
    assert "crops was 64x32, is 256x128" in capsys.readouterr().err


def test_vectors_of_a_folder_are_the_network_s(site, trained, tmp_path):
    weights, output = trained / "weights.safetensors", tmp_path / "out.npz"
    answer = main(
        ["embed", "--weights", str(weights), "--mode", "clip", str(site), "-o", str(output)]
    )
    assert answer == 0
    with np.load(output) as arrays:
        found = dict(arrays)
    assert set(found) == {"embedding", "ids", "cameras", "tracklets"}
    assert found["ids"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert found["cameras"].tolist() == [1, 2] * 4
    assert found["tracklets"].tolist() == [1] * 8
    clip = read_clip([tracklets(site)[5].paths[i] for i in (0, 1, 2, 0, 1, 2, 0, 1)], 64, 32)
    with torch.inference_mode():
        wanted = load_model(weights)(imagenet_normalised(torch.from_numpy(clip))[None]).embedding
    np.testing.assert_allclose(found["embedding"][5], wanted[0], atol=1e-4)


def test_the_place_for_vectors_is_tried_before_the_work(site, trained, tmp_path, capsys):
    broken = shutil.copytree(site, tmp_path / "site")
    next(file for file in broken.rglob("*") if file.is_file()).write_bytes(b"no picture")
    command = ["embed", "--weights", str(trained / "weights.safetensors"), str(broken), "-o"]
    assert main([*command, "/dev/null/o.npz"]) == 2
    assert "cannot write /dev/null/o.npz" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "o.npz")]) == 2
    assert "is not a picture" in capsys.readouterr().err
    assert not list(tmp_path.glob("o.npz*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--data", "{tmp}/none", "-o", "{tmp}/o"], "{tmp}/none is not a folder"),
        (["train", "--data", "mars:{tmp}", "-o", "{tmp}/o"], "does not hold MARS: missing info/"),
        (["train", "--data", "{site}", "-o", "{tmp}/o", "--lr", "-1"], "--lr must be above 0"),
        (["train", "--data", "{site}", "-o", "/dev/null/o", "--cpu"], "cannot make /dev/null/o"),
        (["train", "--data", "{site}", "-o", "{tmp}/o", "--resume", "--cpu"], "no checkpoint in"),
        (
            ["train", "--data", "{site}", "-o", "{tmp}/o", "--backbone", "no.pth"],
            "no backbone no.pth",
        ),
        (["evaluate", "--data", "{site}", "{tmp}/w.safetensors"], "there is no weights file"),
        (["evaluate", "--data", "{site}", "w.safetensors:backwards"], "'backwards' is not a mode"),
        (["evaluate", "--data", "{site}", "{site}"], "is not an engine package"),
        (
            ["embed", "--weights", "{tmp}/w", "{tmp}", "-o", "{tmp}/o.npz"],
            "has no folder of pictures",
        ),
        (
            ["embed", "--weights", "{weights}", "{site}", "-o", "/dev/null/o.npz"],
            "cannot write /dev/null/o.npz: File exists",
        ),
        (["likeness", "{cut}", "-o", "{tmp}/l.json"], "cut.npz holds no vectors of `embed`"),
        (["detector", "--data", "{tmp}", "-o", "{tmp}/o"], "missing images/train/"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments, said, site, trained, tmp_path, capsys
):
    cut = tmp_path / "cut.npz"
    np.savez(cut, embedding=np.zeros((9, 9)))
    cut.write_bytes(cut.read_bytes()[:400])
    weights = trained / "weights.safetensors"
    places = {"tmp": tmp_path, "site": site, "cut": cut, "weights": weights}
    assert main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert said.format(**places) in error
    assert "Traceback" not in error
