"""The demonstration, shortened: what `make demo` does on a fresh machine."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from pipeline.cli import main
from pipeline.identify import GalleryStore

ROOT = Path(__file__).parents[2]
CAMERAS = {"hall-west", "hall-east", "east-court", "north-court"}


def test_the_demonstration_runs_in_real_time_and_scores_itself(tmp_path):
    command = [
        sys.executable,
        "run_pipeline.py",
        "--demo",
        "--duration",
        "3",
        "--output",
        str(tmp_path),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert answer.returncode == 0, answer.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary["cameras"]) == CAMERAS
    frames = sum(camera["frames"] for camera in summary["cameras"].values())
    drops = sum(camera["drops"] for camera in summary["cameras"].values())
    assert 0 <= frames - drops - summary["frames"] <= 8, "a slow machine drops some, and says so"
    assert summary["frames"] > 0.1 * frames
    assert summary["identities"] > 3
    assert "all cameras" in answer.stderr
    for camera in CAMERAS:
        assert (tmp_path / f"{camera}.mp4").stat().st_size > 1000
    rows = np.loadtxt(tmp_path / "tracks" / "hall-west.txt", delimiter=",")
    assert len(rows) > 50
    assert (tmp_path / "report.html").read_text().count("<rect") > 3


def test_a_demonstration_takes_nobody_s_folder(tmp_path, capsys):
    GalleryStore(tmp_path / "identities.db", "grl-edge", 8).close()
    (tmp_path / "events.jsonl").write_text("kept")
    assert main(["--demo", "--output", str(tmp_path)]) == 2
    assert "a run that is no demonstration" in capsys.readouterr().err
    (tmp_path / "site").mkdir()
    running = GalleryStore(tmp_path / "identities.db", "grl-edge", 8)
    assert main(["--demo", "--output", str(tmp_path)]) == 2
    assert "in use by another live run" in capsys.readouterr().err
    running.close()
    assert (tmp_path / "events.jsonl").read_text() == "kept"
