"""A run that is told to stop before it has begun, and one that saw nobody: what was there before stays as it was."""

import json
import os
import shutil
import signal
from functools import partial

import pytest
from rich.console import Console

from pipeline import terminal
from pipeline.frames import NOBODY
from pipeline.networks import open_fastest
from pipeline.run import RunOptions, run
from pipeline.settings import CameraSettings, EmbedderSettings, Settings


@pytest.fixture
def settings(networks, people):
    embedder = EmbedderSettings(str(networks["embedder"]), slots=4)
    return Settings((CameraSettings(str(people), "hall"),), embedder=embedder)


def nobody(frames):
    return [NOBODY for _ in frames]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_networks_open_ends_it_at_once(number, settings, tmp_path, monkeypatch):
    opened = []

    def open_network(path, most):
        os.kill(os.getpid(), number)
        opened.append(open_fastest(path, most))
        return opened[-1]

    monkeypatch.setattr(terminal, "run", partial(run, open_network=open_network))
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        terminal.watched_run(settings, RunOptions(tmp_path / "run"), Console(stderr=True), nobody)
    assert opened == []
    assert not (tmp_path / "run").exists()
    assert signal.getsignal(number) is before


def test_a_run_that_is_stopped_before_its_first_file_leaves_the_earlier_one(
    settings, finished, tmp_path
):
    folder = shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run(settings, RunOptions(folder), detect=nobody, stop=lambda: True)
    assert not (folder / "earlier").exists()
    assert (folder / "events.jsonl").read_text() == (finished / "events.jsonl").read_text()


def test_a_run_that_sees_nobody_says_so_whoever_is_known(settings, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    before = json.loads((folder / "summary.json").read_text())
    assert before["identities"] == before["known"] >= 2
    options = RunOptions(folder, every_frame=True, video=False)
    summary = run(settings, options, detect=nobody)
    assert (summary["identities"], summary["known"]) == (0, before["known"])
    assert "0 people" in (folder / "report.html").read_text()
