"""Detectors, and weights made anew step by step with their cards."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from synthetic.detection_set import DESCRIPTION
from tests.trainer.tiny_training import draw_people
from trainer.__main__ import main
from trainer.arguments import parser
from trainer.compat import import_with_torchvision
from trainer.errors import TrainingError
from trainer.shipped import Step, once, read_plan
from trainer.yolo import PEOPLE, Trainer, forget_whereabouts, take_over

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "models" / "person-detector.pt"

PLAN = """
[tiny]
weights = "{work}/run/weights.safetensors"
file = "tiny.safetensors"
licence = "AGPL-3.0-or-later"
about = "A network for tests."
limits = "Good for nothing."

[[tiny.steps]]
about = "train"
run = "{python} -m trainer train --data SITE --epochs 1 --pairs 2 --length 1 --cpu -o {work}/run"
resume_if = "{work}/run/checkpoint.pt"

[[tiny.steps]]
about = "judge"
run = "{python} -m trainer evaluate --data SITE histogram --frames 1 2 --json"
scores = true
"""


def test_weights_are_made_once_and_their_card_tells_how_and_how_good(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    site = draw_people(tmp_path / "site", people=3, frames=2)
    (tmp_path / "plan.toml").write_text(PLAN.replace("SITE", str(site)))
    command = ["models", "--plan", str(tmp_path / "plan.toml")]
    command += ["--work", str(tmp_path / "work"), "--output", str(tmp_path / "models")]
    assert main(command) == 0
    weights, card = (tmp_path / "models" / f"tiny.{kind}" for kind in ("safetensors", "md"))
    text = card.read_text()
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in text
    assert "python -m trainer train --data" in text
    assert "| histogram | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |" in text
    minutes = re.findall(r"^\d\. .* \(([\d.]+) min\): `python", text, re.MULTILINE)
    assert len(minutes) == 2
    shutil.rmtree(site)  # a step that is done is not run again, nor is its time forgotten
    assert main(command) == 0
    assert card.read_text() == text


def test_the_time_of_a_step_that_was_cut_short_counts(tmp_path, monkeypatch):
    """The first time it sleeps and fails, the second time it has nothing more to do."""
    monkeypatch.chdir(ROOT)
    flag = tmp_path / "flag"
    script = tmp_path / "wait.sh"
    script.write_text(f"[ -e {flag} ] && echo '[]' && exit 0\ntouch {flag}\nsleep 1\nexit 1\n")
    step = Step("wait", f"sh {script}")
    with pytest.raises(TrainingError):
        once(step, tmp_path, 1)
    done = once(step, tmp_path, 1)
    assert done.printed == "[]\n"
    assert 1.0 < done.seconds < 30
    assert once(step, tmp_path, 1) == done


def test_what_is_shipped_is_made_by_commands_that_exist(monkeypatch):
    plan = read_plan()
    assert [shipped.name for shipped in plan] == ["grl-edge", "person-detector"]
    for step in (step for shipped in plan for step in shipped.steps):
        words = step.run.split()
        assert words[:2] == ["{python}", "-m"]
        if words[2] == "trainer":
            assert parser().parse_args(words[3:]).command == words[3]


def test_a_step_that_fails_is_named(tmp_path, capsys):
    (tmp_path / "plan.toml").write_text(PLAN.replace("SITE", str(tmp_path / "absent")))
    command = ["models", "--plan", str(tmp_path / "plan.toml"), "--work", str(tmp_path / "work")]
    assert main([*command, "--output", str(tmp_path / "models")]) == 2
    assert "ended with exit code 2" in capsys.readouterr().err
    assert main(["models", "nothing"]) == 2
    assert "nothing called 'nothing' is shipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"{python} -m trainer train": "{oops}"}, "it lacks 'oops'"),
        ({'run = "{python} -m trainer train': 'run = 3 # "'}, "is not a plan of weights to ship"),
        ({"-m trainer evaluate": "-m 'trainer evaluate"}, "No closing quotation"),
        ({"{python} -m trainer train": "nosuchprogram"}, "cannot be run: No such file"),
        ({"{python} -m trainer": "true", "scores = true": ""}, "have not made "),
        ({"{python} -m trainer": "true"}, "printed something else"),
    ],
)
def test_wrong_plans_are_one_sentence(changes, told, tmp_path, capsys):
    plan = PLAN
    for before, after in changes.items():
        plan = plan.replace(before, after)
    (tmp_path / "plan.toml").write_text(plan)
    command = ["models", "--plan", str(tmp_path / "plan.toml"), "--work", str(tmp_path / "work")]
    assert main([*command, "--output", str(tmp_path / "models")]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_weights_that_were_there_outlast_a_full_disk(tmp_path, kind):
    made = next((ROOT / "models").glob(f"*.{kind}"))
    plan = PLAN.partition("[[tiny.steps]]")[0] + '[[tiny.steps]]\nabout = "-"\nrun = "true"\n'
    plan = plan.replace("{work}/run/weights.safetensors", str(made))
    (tmp_path / "plan.toml").write_text(plan.replace("tiny.safetensors", f"tiny.{kind}"))
    there = tmp_path / "models" / f"tiny.{kind}"
    there.parent.mkdir()
    there.write_bytes(b"as they were")
    words = ["models", "--plan", "plan.toml", "--work", "work", "--output", "models"]
    answer = subprocess.run(
        [
            "bash",
            "-c",
            f"ulimit -f 1000; exec {shlex.join([sys.executable, '-m', 'trainer', *words])}",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2, answer.stderr[-800:]
    assert "cannot write models/tiny" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert there.read_bytes() == b"as they were"
    assert [path.name for path in there.parent.iterdir()] == [there.name]


def test_what_has_not_begun_when_something_fails_does_not_begin(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    one = PLAN.replace("{python} -m trainer", "false")
    mark = tmp_path / "begun"
    two = PLAN.replace("tiny", "second").replace("{python} -m trainer", f"touch {mark}")
    (tmp_path / "plan.toml").write_text(one + two)
    command = ["models", "--plan", str(tmp_path / "plan.toml"), "--work", str(tmp_path / "work")]
    assert main([*command, "--output", str(tmp_path / "models")]) == 2
    assert "tiny failed (`false train" in capsys.readouterr().err
    assert not mark.exists()


def test_what_is_made_side_by_side_shares_the_cores_and_the_last_one_has_them_all(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    save_file({"bias": torch.zeros(1)}, tmp_path / "made.safetensors")
    told, card = tmp_path / "told", tmp_path / "models" / "short.md"
    script = tmp_path / "step.sh"  # tells its threads, and waits for a file
    script.write_text(
        f'echo $1 $OMP_NUM_THREADS >> {told}\nuntil [ -e "$2" ]; do sleep 0.02; done\nsleep 0.3\n'
    )
    of = 'licence = "-"\nabout = "-"\nlimits = "-"\n'
    plan = ""
    for name, waits in (("short", [script, told]), ("long", [card, card])):
        plan += (
            f'[{name}]\nweights = "{tmp_path}/made.safetensors"\nfile = "{name}.safetensors"\n{of}'
        )
        for number, file in enumerate(waits):
            run = f"sh {script} {name}{number} {file}"
            plan += f'[[{name}.steps]]\nabout = "-"\nrun = "{run}"\n'
    (tmp_path / "plan.toml").write_text(plan)
    command = ["models", "--plan", str(tmp_path / "plan.toml"), "--work", str(tmp_path / "work")]
    assert main([*command, "--output", str(card.parent)]) == 0
    assert dict(line.split() for line in told.read_text().splitlines()) == {
        "short0": "2",
        "short1": "2",
        "long0": "2",
        "long1": "4",
    }


def test_a_plan_that_is_no_text_and_work_that_cannot_be_kept(tmp_path, capsys):
    assert main(["models", "--plan", str(SHIPPED)]) == 2
    (tmp_path / "plan.toml").write_text(PLAN.replace("{python} -m trainer", "true"))
    command = ["models", "--plan", str(tmp_path / "plan.toml"), "--work", "/proc/nowhere"]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "is not a plan of weights to ship" in told
    assert "cannot write /proc/nowhere" in told


@pytest.fixture
def boxes(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / part).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 60, (64, 96, 3), np.uint8)
            left = int(rng.integers(10, 60))
            image[10:50, left : left + 16] = (40, 200, 220)
            cv2.imwrite(str(tmp_path / "set" / "images" / part / f"{index}.jpg"), image)
            label = f"0 {(left + 8) / 96} {30 / 64} {16 / 96} {40 / 64}\n"
            (tmp_path / "set" / "labels" / part / f"{index}.txt").write_text(label)
    return tmp_path / "set"


def test_a_detector_is_trained_without_network_and_without_touching_settings(
    boxes, tmp_path, capsys
):
    output, home = tmp_path / "out", tmp_path / "home"
    home.mkdir()
    options = ["--epochs", "1", "--size", "32", "--batch", "2", "--json"]
    answer = subprocess.run(
        [sys.executable, "-m", "trainer", "detector", "--data", boxes, "-o", output, *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    scores = json.loads(answer.stdout)
    assert set(scores) == {"weights", "AP50", "AP50-95", "precision", "recall"}
    assert Path(scores["weights"]).stat().st_size > 4e6
    assert not (home / ".config" / "Ultralytics").exists()
    best, trained = output / "run" / "weights" / "best.pt", Path(scores["weights"]).read_bytes()
    assert best.read_bytes() == trained
    # Killed after its end and resumed, there is nothing left to train.
    command = ["detector", "--data", str(boxes), "-o", str(output), *options, "--resume"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(scores, abs=1e-6)
    assert best.read_bytes() == Path(scores["weights"]).read_bytes() == trained
    last = output / "run" / "weights" / "last.pt"
    whole = last.read_bytes()
    for damaged in (b"", b"\x13" * 2000):
        last.write_bytes(damaged)
        assert main(command) == 2
        assert "training the detector on" in capsys.readouterr().err
    last.write_bytes(whole)
    forget_whereabouts(Path(scores["weights"]), tmp_path / "shipped.pt")
    assert str(tmp_path).encode() in _pickled(Path(scores["weights"]))
    assert str(tmp_path).encode() not in _pickled(tmp_path / "shipped.pt")


def test_weights_of_our_architecture_do_not_tell_where_it_lies(tmp_path):
    network = import_with_torchvision("ultralytics").YOLO(str(PEOPLE))
    network.save(str(tmp_path / "made.pt"))
    # What a training adds, and every file of weights that this reads has.
    made = torch.load(tmp_path / "made.pt", map_location="cpu", weights_only=False)
    torch.save({"git": None, "train_args": {}, **made}, tmp_path / "trained.pt")
    assert str(PEOPLE).encode() in _pickled(tmp_path / "trained.pt")
    forget_whereabouts(tmp_path / "trained.pt", tmp_path / "shipped.pt")
    for weights in (tmp_path / "shipped.pt", SHIPPED):
        assert str(ROOT).encode() not in _pickled(weights)
        assert b"/trainer/" not in _pickled(weights)


def test_whole_pictures_of_several_sets_keep_their_shape_and_the_rate_is_the_one_asked_for(
    boxes, tmp_path, monkeypatch
):
    more = shutil.copytree(boxes, tmp_path / "möre 😀")
    shapes: list[tuple[int, ...]] = []

    def watched(trainer: Trainer, half: bool, threads: int) -> None:
        predict = trainer.model.predict

        def noted(images: torch.Tensor, *arguments: object, **named: object) -> object:
            shapes.extend([tuple(images.shape[2:])] * len(images))
            return predict(images, *arguments, **named)

        trainer.model.predict = noted

    monkeypatch.setattr("trainer.yolo._made_fast", watched)
    options = ["--epochs", "2", "--size", "96", "--batch", "2", "--lr", "0.0005", "--whole"]
    data = ["--data", str(boxes), str(more)]
    assert main(["detector", *data, "-o", str(tmp_path / "o"), *options]) == 0
    assert set(shapes) == {(64, 96)}
    assert len(shapes) == 2 * 2 * len(list(boxes.glob("images/train/*.jpg")))
    rates = np.genfromtxt(tmp_path / "o" / "run" / "results.csv", delimiter=",", names=True)[
        "lrpg0"
    ]
    assert 0 < rates.max() <= 0.0005


def test_the_description_of_a_rendered_set_holds_wherever_a_command_runs(boxes):
    (boxes / "data.yaml").write_text(DESCRIPTION)
    utilities = import_with_torchvision("ultralytics.data.utils")
    found = utilities.check_det_dataset(str(boxes / "data.yaml"), autodownload=False)
    assert (found["train"], found["val"]) == tuple(
        str(boxes / "images" / half) for half in ("train", "val")
    )


def _pickled(weights: Path) -> bytes:
    with ZipFile(weights) as file:
        (name,) = (name for name in file.namelist() if name.endswith("data.pkl"))
        return file.read(name)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--start", "no.pt"], "there are no weights no.pt"),
        (["--start", "people.yaml", "--init", "no.pt"], "there are no weights no.pt"),
        (["--start", "{shipped}", "--init", "{shipped}"], "--start has some already"),
        (["--start", "{cut}"], "cut.pt holds no weights"),
        (["--data", "{set}", "{set}/../set"], "a set is given twice"),
        (["--data", "{set}", "other.yaml"], "a data.yaml stands alone"),
        (["--start", "people.yaml", "--init", "{cut}"], "cut.pt holds no weights"),
    ],
)
def test_a_detector_is_not_started_from_weights_that_are_not_there_or_not_whole(
    boxes, tmp_path, capsys, options, says
):
    cut = tmp_path / "cut.pt"
    cut.write_bytes(SHIPPED.read_bytes()[:100_000])
    options = [option.format(shipped=SHIPPED, cut=cut, set=boxes) for option in options]
    assert main(["detector", "--data", str(boxes), "-o", str(tmp_path / "o"), *options]) == 2
    assert says in capsys.readouterr().err


def test_our_architecture_takes_over_a_whole_network_and_another_what_is_alike(tmp_path):
    library = import_with_torchvision("ultralytics")
    source, target = library.YOLO(str(SHIPPED)), library.YOLO(str(PEOPLE))
    take_over(source, target)
    given, taken = source.model.float().state_dict(), target.model.state_dict()
    assert given.keys() == taken.keys()
    assert all(torch.equal(taken[name], values) for name, values in given.items())
    assert isinstance(target.model.model[0].act, torch.nn.Hardswish)

    # Boxes said outright, by two levels: the head has another place there.
    shorter = PEOPLE.read_text().split("  - [-1, 1, Conv, [512, 3, 2]]\n  - [[-1, 10]")[0]
    other = tmp_path / "shorter.yaml"
    other.write_text(f"reg_max: 1\n{shorter}  - [[16, 19], 1, Detect, [nc]]\n")
    target = library.YOLO(str(other))
    take_over(source, target)
    taken = target.model.state_dict()
    deep = "cv3.1.0.0.conv.weight"
    assert torch.equal(taken[f"model.20.{deep}"], given[f"model.23.{deep}"])
    image = torch.rand(1, 3, 64, 96)
    assert target.model.eval()(image)[0].shape == (1, 4 + 1, 8 * 12 + 4 * 6)
