"""Training that survives kill -9, full disks and diverging losses, alone or in several processes."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.tiny_training import QUICK, TABLES, draw_people, tiny_network, train
from trainer import checkpoints
from trainer.data import open_dataset
from trainer.errors import CheckpointError, DivergedError, ImageError, StorageError, UsageError
from trainer.files import alone
from trainer.fit import Plan, fit
from trainer.monitors import History, Judgement, read_history
from trainer.recipes import PAPER, STRONG, Mode

ROOT = Path(__file__).parents[2]
SCRIPT = ["-m", "tests.trainer.tiny_training"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    return draw_people(tmp_path_factory.mktemp("people") / "site")


@pytest.mark.parametrize(
    ("recipe", "told"),
    [(QUICK, []), (TABLES, ["--tables"]), (replace(QUICK, family=2), ["--family", "2"])],
    ids=["quick", "tables", "families"],
)
def test_killed_at_any_moment_and_resumed_it_ends_with_the_same_weights(
    people, tmp_path, one_thread, recipe, told
):
    whole = train(people, tmp_path / "whole", recipe)
    options = [str(people), str(tmp_path / "killed"), *told]
    with subprocess.Popen(
        [sys.executable, *SCRIPT, *options],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=ROOT,
    ) as victim:
        assert victim.stdout is not None
        for line in victim.stdout:
            if line == "step 5\n":  # between two checkpoints, in the middle of an epoch
                victim.send_signal(signal.SIGKILL)
                break
    assert victim.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "weights.safetensors").exists()
    resumed = train(people, tmp_path / "killed", recipe, resume=True)
    wanted, found = load_file(whole), load_file(resumed)
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    curves = [[line["loss"] for line in read_history(p.parent)] for p in (whole, resumed)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("tables", [False, True])
def test_two_processes_follow_the_curve_of_one(people, tmp_path, one_thread, tables):
    train(people, tmp_path / "one", TABLES if tables else QUICK)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = [str(people), str(tmp_path / "two"), *(["--tables"] if tables else [])]
    answer = subprocess.run(
        [sys.executable, *launcher, *SCRIPT, *options],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | {"GLOO_SOCKET_IFNAME": "lo"},
        cwd=ROOT,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    one, two = ([line["loss"] for line in read_history(tmp_path / n)] for n in ("one", "two"))
    np.testing.assert_allclose(one, two, rtol=2e-3)
    np.testing.assert_allclose(one[:2], two[:2], rtol=1e-5)
    alone, shared = (load_file(tmp_path / n / "weights.safetensors") for n in ("one", "two"))
    # AdamW divides by the size of a gradient, so where that is nearly 0 it magnifies rounding.
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if tables else {"rtol": 0.02, "atol": 0.02}
    for name in alone:  # statistics of BatchNorm too
        torch.testing.assert_close(shared[name], alone[name], **tolerance)


def test_mixed_precision_follows_float32(people, tmp_path):
    train(people, tmp_path / "full", QUICK)
    options = [str(people), str(tmp_path / "mixed"), "--precision", "bf16"]
    command = [sys.executable, *SCRIPT, *options]
    subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    full, mixed = ([x["loss"] for x in read_history(tmp_path / n)] for n in ("full", "mixed"))
    assert full != mixed
    np.testing.assert_allclose(full[:4], mixed[:4], rtol=0.05)


def quiet(output: Path):
    return lambda steps, done: History(output, done)


def test_it_learns(people, tmp_path):
    recipe = replace(QUICK, epochs=25, lr=3e-3)
    output = train(people, tmp_path, recipe)
    losses = [line["loss"] for line in read_history(output.parent)]
    assert np.mean(losses[-3:]) < 0.6 * np.mean(losses[:3])


def test_a_loss_that_is_no_number_stops_it_and_the_last_good_checkpoint_stays(people, tmp_path):
    recipe = replace(PAPER, epochs=9, pairs=4, length=2, lr=1e25)
    plan = Plan("tiny", Mode.CLIP, recipe, tmp_path, cpu=True, checkpoint_every=1)
    with pytest.raises(DivergedError, match="is not a number; the last good checkpoint is"):
        fit(plan, tiny_network(), open_dataset(str(people)).train, quiet(tmp_path))
    state = torch.load(tmp_path / checkpoints.FILE, weights_only=True)
    assert state["step"] >= 1
    assert all(torch.isfinite(value).all() for value in state["objective"].values())


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path):
    good = checkpoints.Checkpoint(7, {"w": torch.ones(9)}, {}, {}, {}, {"seed": "0"})
    checkpoints.save(good, tmp_path)
    (tmp_path / "checkpoint.pt.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"No space left on device; the checkpoint before it"):
        checkpoints.save(replace(good, step=8), tmp_path)
    assert checkpoints.load(tmp_path, {"seed": "0"}).step == 7


def test_a_history_that_cannot_be_written_is_said_once(tmp_path):
    history = History(tmp_path)
    history.close()
    history._file = Path("/dev/full").open("a", buffering=1)  # noqa: SIM115
    with pytest.raises(StorageError, match=r"history.jsonl: No space left on device"):
        history.judged(Judgement(1, {"rank1": 0.5}))
    history.close()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        History(tmp_path / "file")


def test_a_checkpoint_cut_short_or_of_another_training_is_refused(tmp_path):
    checkpoints.save(checkpoints.Checkpoint(7, {}, {}, {}, {}, {"seed": "0"}), tmp_path)
    with pytest.raises(CheckpointError, match=r"of another training: seed was 0, is 1$"):
        checkpoints.load(tmp_path, {"seed": "1"})
    path = tmp_path / checkpoints.FILE
    for damaged in (path.read_bytes()[:-100], b"hello", b"."):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="is not a whole checkpoint of ours"):
            checkpoints.load(tmp_path, {"seed": "0"})


def test_what_a_loss_of_power_left_of_a_history_is_left_out(tmp_path):
    lines = ['{"step": 1, "loss": 2.0}\n', "\0" * 40 + "\n", '{"step": 2, "lo\n', "7\n"]
    (tmp_path / "history.jsonl").write_text("".join(lines) + '{"step": 3, "loss": 1.0}\n')
    assert [line["step"] for line in read_history(tmp_path)] == [1, 3]
    History(tmp_path, 1).close()
    assert [line["step"] for line in read_history(tmp_path)] == [1]


def test_it_goes_on_with_the_same_pictures_only_wherever_they_lie(people, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(people, moved)
    weights = train(people, tmp_path / "out", QUICK)
    weights.unlink()
    train(moved, tmp_path / "out", QUICK, resume=True)
    assert weights.is_file()
    (moved / "0002" / "0002C1T0001F005.png").unlink()  # as many people as before
    says = r"of another training: pictures was 60 \(.*\), is 59 \("
    with pytest.raises(CheckpointError, match=says):
        train(moved, tmp_path / "out", QUICK, resume=True)


def test_a_training_is_never_overwritten(people, tmp_path):
    train(people, tmp_path, replace(QUICK, epochs=1))
    with pytest.raises(UsageError, match="holds a training already: pass --resume"):
        train(people, tmp_path, QUICK)
    (tmp_path / checkpoints.FILE).unlink()  # it is large, and the training is over
    with pytest.raises(UsageError, match="holds weights already"):
        train(people, tmp_path, QUICK)


def test_two_trainings_never_write_into_one_folder(people, tmp_path):
    with alone(tmp_path), pytest.raises(UsageError, match="another training is at work"):
        train(people, tmp_path, QUICK)
    assert train(people, tmp_path, replace(QUICK, epochs=1)).is_file()


def test_it_goes_on_under_the_same_teacher_only(people, tmp_path):
    recipe = replace(QUICK, epochs=1, teacher_weight=1.0)
    train(people, tmp_path, recipe, teacher=tiny_network(1))
    train(people, tmp_path, recipe, resume=True, teacher=tiny_network(1))
    with pytest.raises(CheckpointError, match=r"of another training: teacher was .*, is "):
        train(people, tmp_path, recipe, resume=True, teacher=tiny_network(2))


def test_a_picture_that_cannot_be_read_stops_it_by_name(tmp_path):
    site = draw_people(tmp_path / "site", people=4)
    (site / "0002" / "0002C1T0001F003.png").write_bytes(b"torn")
    with pytest.raises(ImageError, match=r"0002C1T0001F003\.png is not a picture"):
        train(site, tmp_path / "out", replace(QUICK, epochs=30))


def test_rates_follow_the_recipe():
    paper = [PAPER.rate(step, 60) for step in (0, 14, 15, 30, 45, 59)]
    np.testing.assert_allclose(paper, [1, 1, 0.1, 0.01, 0.001, 0.001])
    recipe = replace(STRONG, warmup=0.1)
    assert [recipe.rate(step, 100) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert recipe.rate(55, 100) == pytest.approx(0.5)
    assert recipe.rate(99, 100) < 0.001
