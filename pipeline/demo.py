"""The demonstration: a rendered site with known truth through the whole live loop, and its score.

The boxes are those of the truth, shaken and with gaps: the repository ships no detector's weights yet. Everything
after them is what runs on real cameras.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from pipeline.evaluation import evaluate_run
from pipeline.folder import IDENTITIES
from pipeline.frames import Detections, Frame
from pipeline.run import RunOptions
from pipeline.settings import CameraSettings, MatchSettings, Settings
from pipeline.terminal import score_table, watched_run
from synthetic import SiteRequest, write_site

SITE, SEED, SECONDS, FPS = "mall", 2026, 40.0, 12.5
SIZE = (768, 432)
MATCH = MatchSettings(
    even=0.67,
    slope=9.0,
    overlapping=(("hall-west", "hall-east"),),
    apart=(
        ("east-court", "north-court"),
        ("east-court", "hall-west"),
        ("east-court", "hall-east"),
        ("north-court", "hall-west"),
        ("north-court", "hall-east"),
    ),
)
"""Similarity as fitted on other rendered people (models/grl-edge/CARD.md), and which cameras see common ground."""
MISSED, SHAKEN, SEEN = 0.05, 0.03, 0.2
"""Share of boxes left out; deviation of the corners in widths and heights; visibility that a detector needs."""


def demo(settings: Settings, output: Path, console: Console, seconds: float | None = None) -> int:
    """Render, run in real time, score. Answers the exit code."""
    truth = output / "site"
    request = SiteRequest(SITE, SEED, seconds or SECONDS, fps=FPS, size=SIZE)
    console.print(
        f"rendering {request.duration:.0f} s of the site '{SITE}' (kept in {truth} for the next time)"
    )
    write_site(request, truth, processes=os.cpu_count() or 1)
    videos = sorted(truth.glob("*.mp4"))
    cameras = tuple(CameraSettings(str(video)) for video in videos)
    settings = replace(settings, camera=cameras, match=MATCH)
    (output / IDENTITIES).unlink(missing_ok=True)  # every demonstration starts from nothing
    (output / "events.jsonl").unlink(missing_ok=True)
    shutil.rmtree(output / "tracks", ignore_errors=True)
    console.print(
        f"running {len(videos)} cameras in real time; boxes come from the truth, shaken and with gaps"
    )
    summary = watched_run(settings, RunOptions(output), console, ShakenTruth(truth, SEED))
    console.print(score_table(evaluate_run(output, truth)))
    latency = summary["latency_seconds"]
    assert isinstance(latency, dict)
    console.print(f"latency from capture to event: p95 {1000 * latency['p95']:.0f} ms")
    console.print(f"report: {output / 'report.html'}")
    console.print(f"annotated videos: {', '.join(str(output / video.name) for video in videos)}")
    return 0


class ShakenTruth:
    """Boxes from a site's truth, as an honest detector might give them: uncertain, and some missing."""

    def __init__(self, site: Path, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._rows = {
            path.stem: np.loadtxt(path, delimiter=",", ndmin=2)
            for path in (site / "gt").glob("*.txt")
        }

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self._boxes(frame) for frame in frames]

    def _boxes(self, frame: Frame) -> Detections:
        rows = self._rows[frame.camera]
        rows = rows[(rows[:, 0] == frame.index + 1) & (rows[:, 8] >= SEEN)]
        rows = rows[self._rng.random(len(rows)) >= MISSED]
        size = np.tile(rows[:, 4:6], 2)
        boxes = np.hstack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]])
        boxes = boxes + self._rng.normal(0, SHAKEN, boxes.shape) * size
        scores = np.clip(0.4 + 0.55 * rows[:, 8] + self._rng.normal(0, 0.05, len(rows)), 0.1, 0.99)
        return Detections(boxes.astype(np.float32), scores.astype(np.float32))
