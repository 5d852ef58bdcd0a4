"""A run that is told to stop before it has begun, and one that saw nobody: what was there before stays as it was."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.frames import NOBODY
from pipeline.run import RunOptions, run
from pipeline.settings import CameraSettings, EmbedderSettings, Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(networks, people):
    embedder = EmbedderSettings(str(networks["embedder"]), slots=4)
    return Settings((CameraSettings(str(people), "hall"),), embedder=embedder)


def nobody(frames):
    return [NOBODY for _ in frames]


STOPPED = """
import os, signal, sys
from functools import partial
from pathlib import Path
from rich.console import Console
from pipeline import terminal
from pipeline.networks import open_fastest
from pipeline.run import RunOptions, run
from pipeline.settings import CameraSettings, EmbedderSettings, Settings

number, embedder, film, folder = int(sys.argv[1]), *sys.argv[2:]

def open_network(path, most):
    os.kill(os.getpid(), number)
    engine = open_fastest(path, most)
    print("opened")
    return engine

terminal.run = partial(run, open_network=open_network)
settings = Settings((CameraSettings(film, "hall"),), embedder=EmbedderSettings(embedder, slots=4))
before = signal.getsignal(number)
try:
    terminal.watched_run(settings, RunOptions(Path(folder)), Console(stderr=True), lambda frames: [])
except KeyboardInterrupt:
    print("stopped", signal.getsignal(number) is before)
"""
"""A process of its own: whoever sends signals to himself takes along who runs the tests, if they go wrong."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_networks_open_ends_it_at_once(number, networks, people, tmp_path):
    words = [str(int(number)), networks["embedder"], people, tmp_path / "run"]
    answer = subprocess.run(
        [sys.executable, "-c", STOPPED, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (0, "stopped True\n"), answer.stderr
    assert not (tmp_path / "run").exists()


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
