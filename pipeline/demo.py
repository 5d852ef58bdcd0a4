"""The demonstration: a rendered site with known truth through the whole live loop, and its score.

Everything is what runs on real cameras: the shipped detector and embedder over decoded H.264. Where the floor is, the
operator of this site has measured; who is who, nobody tells.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from calibration.commands.ground import calibrate_known
from pipeline.errors import SettingsError
from pipeline.evaluation import evaluate_run
from pipeline.folder import IDENTITIES
from pipeline.identify import GalleryStore
from pipeline.run import RunOptions
from pipeline.settings import CameraSettings, Settings, load_settings
from pipeline.terminal import score_table, watched_run
from synthetic import SiteRequest, write_site

SITE, SEED, SECONDS, FPS = "mall", 2026, 40.0, 12.5
SIZE = (768, 432)


def demo(settings: Settings, output: Path, console: Console, seconds: float | None = None) -> int:
    """Render, run in real time, score. Answers the exit code."""
    truth = output / "site"
    _claim(output)
    request = SiteRequest(SITE, SEED, seconds or SECONDS, fps=FPS, size=SIZE)
    console.print(
        f"rendering {request.duration:.0f} s of the site '{SITE}' (kept in {truth} for the next time)",
        markup=False,
        soft_wrap=True,
    )
    write_site(request, truth, processes=os.cpu_count() or 1)
    videos = sorted(truth.glob("*.mp4"))
    cameras = tuple(CameraSettings(str(video)) for video in videos)
    site = output / "site.toml"
    site.unlink(missing_ok=True)
    calibrate_known(truth / "site.json", site)  # as an operator would who has measured the floor
    known = load_settings(site)
    settings = replace(settings, camera=cameras, ground=known.ground, overlap=known.overlap)
    (output / IDENTITIES).unlink(missing_ok=True)  # every demonstration starts from nothing
    (output / "events.jsonl").unlink(missing_ok=True)
    shutil.rmtree(output / "tracks", ignore_errors=True)
    console.print(f"running {len(videos)} cameras in real time")
    summary = watched_run(settings, RunOptions(output), console)
    console.print(score_table(evaluate_run(output, truth)))
    latency = summary["latency_seconds"]
    assert isinstance(latency, dict)
    if latency:
        console.print(f"latency from capture to event: p95 {1000 * latency['p95']:.0f} ms")
    console.print(f"report: {output / 'report.html'}", soft_wrap=True, markup=False)
    console.print(
        f"annotated videos: {', '.join(str(output / video.name) for video in videos)}",
        soft_wrap=True,
        markup=False,
    )
    return 0


def _claim(folder: Path) -> None:
    """That nothing but an earlier demonstration, which is over, is in a folder whose contents will go."""
    identities = folder / IDENTITIES
    if not identities.exists():
        return
    if not (folder / "site").is_dir():
        raise SettingsError(
            f"{folder} holds the identities of a run that is no demonstration: choose another --output"
        )
    GalleryStore(identities).close()
