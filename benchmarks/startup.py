"""How long the command takes until it has something to say: `python -m benchmarks.startup`

`run_pipeline.py CLIP` is started on a rendered camera, in real time and with its default outputs, and watched from
outside until the first line stands in events.jsonl; then it is ended. Three kinds of start take turns:

first   numba's compiled functions are not there, as after an installation, and the disk's cache is dropped
boot    the disk's cache is dropped
warm    everything was used a moment ago

Python's own bytecode is there in all of them, and OpenVINO keeps no cache here. Dropping the disk's cache takes root;
without it, files may be in memory, and the result says so. Where the time goes comes from a second run of each kind
with stopwatches inside (`benchmarks.startup_probe`).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.engines import spread
from benchmarks.machine import this_machine
from pipeline.settings import DetectorSettings, EmbedderSettings
from synthetic import SiteRequest, write_site

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "startup.json"
SITE, SEED, SECONDS, SIZE, FPS = "mall", 7, 12.0, (768, 432), 12.5
KINDS = ("first", "boot", "warm")
CACHES = Path("/proc/sys/vm/drop_caches")
PATIENCE = 120.0
PHASES = {
    "Python starts": ("command", "interpreter"),
    "imports": ("interpreter", "imports"),
    "networks opened side by side, code compiled": ("imports", "ready"),
    "cameras opened, first picture decoded, detected, tracked": ("ready", "first frame"),
    "enough seen for an identity": ("first frame", "first event"),
}


class StartError(Exception):
    """A run ended, or said nothing for too long."""


def main() -> int:
    """Measure, print, and rewrite the results. Answers the exit code."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--detector", default=DetectorSettings().package)
    parser.add_argument("--embedder", default=EmbedderSettings().package)
    parser.add_argument("--clip", type=Path, help="a video (a rendered camera)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go")
    options = parser.parse_args()
    try:
        report = measure(options)
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print_table(Console(width=150), report)
    return 0


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Rounds in which all kinds take turns."""
    machine = this_machine(["openvino", "numba", "numpy", "av"]).as_json()
    plain: dict[str, list[float]] = {kind: [] for kind in KINDS}
    inside: dict[str, list[Mapping[str, float]]] = {kind: [] for kind in KINDS}
    dropped = may_drop()
    with tempfile.TemporaryDirectory() as scratch, Console().status("rendering") as status:
        clip = options.clip or _rendered(Path(scratch))
        words = [
            str(clip.resolve()),
            "--detector",
            options.detector,
            "--embedder",
            options.embedder,
        ]
        first_event(words, "warm", dropped)  # whatever was never used before is now
        for turn in range(options.rounds):
            for kind in KINDS:
                status.update(f"round {turn + 1} of {options.rounds}, {kind}")
                plain[kind].append(first_event(words, kind, dropped))
                inside[kind].append(moments(words, kind, dropped))
    return {
        "machine": machine,
        "command": "python -m benchmarks.startup",
        "detector": Path(options.detector).name,
        "embedder": Path(options.embedder).name,
        "rounds": options.rounds,
        "caches_dropped": dropped,
        "told": _told(inside, dropped),
        "kinds": {kind: figures(plain[kind], inside[kind]) for kind in KINDS},
    }


def first_event(words: Sequence[str], kind: str, dropped: bool) -> float:
    """Seconds from the command to the first whole line of events, seen from outside."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, str(ROOT / "run_pipeline.py"), *words, "--output", str(run)]
        began, seen = _started(command, kind, dropped, run / "events.jsonl")
        return seen - began


def moments(words: Sequence[str], kind: str, dropped: bool) -> Mapping[str, float]:
    """When each part of a start was done, and when the command was given."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "moments.json"
        command = [sys.executable, "-m", "benchmarks.startup_probe", str(file), *words]
        command += ["--output", str(Path(folder) / "run")]
        began, _ = _started(command, kind, dropped, file)
        told: dict[str, float] = json.loads(file.read_text())
        return told | {"command": began}


def may_drop() -> bool:
    """Whether the disk's cache can be dropped here."""
    return CACHES.exists() and os.access(CACHES, os.W_OK)


def figures(plain: Sequence[float], inside: Sequence[Mapping[str, float]]) -> dict[str, object]:
    """Seconds: least, median and most."""
    opened = ("detector", "embedder", "compiled")  # side by side
    inside = [{**told, "ready": max(told[part] for part in opened)} for told in inside]
    return {
        "first_event": spread(list(plain)),
        "first_frame": spread([told["first frame"] - told["command"] for told in inside]),
        "first_event_with_stopwatches": spread(
            [told["first event"] - told["command"] for told in inside]
        ),
        "phases": {
            phase: spread([told[end] - told[start] for told in inside])
            for phase, (start, end) in PHASES.items()
        },
    }


def print_table(console: Console, report: Mapping[str, object]) -> None:
    kinds = report["kinds"]
    assert isinstance(kinds, dict)
    table = Table("seconds", *kinds, title="from the command, median (least…most)")
    rows = {"first event": "first_event", "first tracked frame": "first_frame"}
    for name, key in rows.items():
        table.add_row(name, *(_cell(kind[key]) for kind in kinds.values()))
    table.add_section()
    for phase in PHASES:
        table.add_row(phase, *(_cell(kind["phases"][phase]) for kind in kinds.values()))
    console.print(table)
    console.print(report["told"])


def _started(command: Sequence[str], kind: str, dropped: bool, sign: Path) -> tuple[float, float]:
    """Start, wait until a file holds something, end it all. When the command was given, and when that was."""
    with tempfile.TemporaryDirectory() as compiled, tempfile.TemporaryFile() as said:
        environment = dict(os.environ) | ({"NUMBA_CACHE_DIR": compiled} if kind == "first" else {})
        if dropped and kind != "warm":
            os.sync()
            CACHES.write_text("3\n")
        began = time.time()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            while not (sign.exists() and sign.stat().st_size):
                if process.poll() is not None or time.time() > began + PATIENCE:
                    said.seek(0)
                    last = said.read().decode().strip().splitlines()[-1:]
                    raise StartError(f"{' '.join(command)} made no event: {last or 'in time'}")
                time.sleep(0.002)
            seen = time.time()
        finally:
            process.kill()  # what it would still do is not asked for
            process.wait()
    return began, seen


def _rendered(folder: Path) -> Path:
    """The first camera of a site on which there are people at once."""
    write_site(SiteRequest(SITE, SEED, SECONDS, fps=FPS, size=SIZE), folder / "site")
    return sorted((folder / "site").glob("*.mp4"))[0]


def _told(inside: Mapping[str, Sequence[Mapping[str, float]]], dropped: bool) -> str:
    warm = inside["warm"]
    video = spread([m["picture of the event"] - m["first picture of the video"] for m in warm])
    said = (
        "One camera in real time, with video. Of what passes until an identity is founded, "
        f"{video['median']:.2f} s are the video itself: nobody is named before he was looked at for a while."
    )
    return said if dropped else f"{said} The disk's cache could not be dropped: `boot` is not cold."


def _cell(figures: Mapping[str, float]) -> str:
    return f"{figures['median']:.2f} ({figures['least']:.2f}…{figures['most']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
