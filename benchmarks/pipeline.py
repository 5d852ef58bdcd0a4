"""What the live loop costs beyond its networks: `python -m benchmarks.pipeline`

The whole pipeline works through files as fast as it can; every call of the detector and the GRL engine is
recorded, and the same calls are then made back to back in the same process, by one thread or by as many as the
pipeline has for its detector, whichever is faster. The ratio of the two times is what
the pipeline leaves of the speed that its engines allow; the ratio of processor times says the same and is not
disturbed by other programs. Rounds take turns.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import this_machine
from engines import open_engine
from engines.engine import Array, Arrays, Engine, StateRows, TensorSpec
from engines.errors import EngineError
from engines.rows import HostRows
from pipeline.errors import PipelineError
from pipeline.run import HANDS, RunOptions, run
from pipeline.settings import CameraSettings, DetectorSettings, EmbedderSettings, Settings
from synthetic import SiteRequest, write_site

RESULT = Path(__file__).parent / "results" / "pipeline.json"
SITE, SEED, FPS, SIZE = "mall", 7, 12.5, (768, 432)
PACKAGES = ("openvino", "av", "numpy", "opencv-python")
_KEPT = 4
"""Inputs kept of each network and size of batch, for the replay."""
Seconds: TypeAlias = tuple[float, float]
"""By the clock, and of the processor."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an engine: whose, with how many pictures, and the place of what it was given."""

    network: str
    batch: int
    place: int


@dataclass(slots=True)
class Recorder:
    """Everything that the engines of one run were asked."""

    calls: list[Call] = field(default_factory=list)
    kept: dict[tuple[str, int], list[dict[str, Array]]] = field(default_factory=dict)
    engines: dict[str, Engine] = field(default_factory=dict)

    def open(self, path: Path, most: int | None = None) -> "Recorded":
        engine = open_engine(path, precision="fastest", max_batch=most)
        name = "detector" if "images" in engine.inputs else "embedder"
        self.engines[name] = engine
        return Recorded(engine, name, self)

    def note(self, name: str, inputs: Arrays) -> None:
        batch = len(next(iter(inputs.values())))
        kept = self.kept.setdefault((name, batch), [])
        if len(kept) < _KEPT:
            kept.append({key: array.copy() for key, array in inputs.items()})
        self.calls.append(Call(name, batch, len(self.calls) % len(kept)))

    def forget_warming_up(self, frames: int) -> None:
        """Keep only the calls that looked at the run's frames, and none before them."""
        looked = [n for n, call in enumerate(self.calls) if call.network == "detector"]
        while sum(self.calls[n].batch for n in looked) > frames:
            looked.pop(0)
        self.calls = self.calls[looked[0] :]

    def replay(self, *networks: str, hands: int = 1) -> Seconds:
        """The calls of these networks again, in their order, with nothing in between. `hands`: threads that call."""
        calls = [
            (self.engines[call.network], self.kept[call.network, call.batch][call.place])
            for call in self.calls
            if call.network in networks
        ]
        with ThreadPoolExecutor(hands) as callers:
            return seconds(lambda: list(callers.map(lambda call: call[0].run(call[1]), calls)))


class Recorded:
    """An engine whose calls are noted."""

    def __init__(self, engine: Engine, name: str, recorder: Recorder) -> None:
        self._engine, self._name, self._recorder = engine, name, recorder
        self.inputs: Mapping[str, TensorSpec] = engine.inputs
        self.outputs: Mapping[str, TensorSpec] = engine.outputs
        self.max_batch = engine.max_batch

    def run(self, inputs: Arrays) -> dict[str, Array]:
        self._recorder.note(self._name, inputs)
        return self._engine.run(inputs)

    def state_rows(self, capacity: int) -> StateRows:
        return HostRows(self.run, self.inputs, capacity)

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True, slots=True)
class Round:
    """One run and its replay. Seconds for all frames together."""

    frames: int
    crops: int
    whole: Seconds
    engines: Seconds
    detector: Seconds
    embedder: Seconds
    stages: Mapping[str, float]
    copied: Mapping[str, tuple[float, float]]
    """Bytes a frame that each step writes, and the fewest that it could."""

    @property
    def ratio(self) -> float:
        """Share of the speed that the engines alone allow, by the clock."""
        return self.engines[0] / self.whole[0]

    @property
    def processor_ratio(self) -> float:
        """Share of the processor's time that the engines need."""
        return self.engines[1] / self.whole[1]


def main() -> int:
    """Print the ratios and write them down. Answers the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--detector", default=DetectorSettings().package)
    parser.add_argument("--embedder", default=EmbedderSettings().package)
    parser.add_argument("--site", type=Path, help="folder of a rendered site (rendered anew)")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds to render (60)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULT, help="where the figures go")
    options = parser.parse_args()
    try:
        compare(options)
    except (PipelineError, EngineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def compare(options: argparse.Namespace) -> None:
    """Both ways of running in turns, and what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        site = options.site or Path(folder) / "site"
        if options.site is None:
            write_site(SiteRequest(SITE, SEED, options.duration, fps=FPS, size=SIZE), site)
        settings = Settings(
            camera=tuple(CameraSettings(str(path)) for path in sorted(site.glob("*.mp4"))),
            detector=DetectorSettings(options.detector),
            embedder=EmbedderSettings(options.embedder),
        )
        modes = {"with video": True, "without video": False}
        rounds: dict[str, list[Round]] = {mode: [] for mode in modes}
        machine = this_machine(PACKAGES).as_json()
        for _ in range(options.rounds):
            for mode, video in modes.items():
                rounds[mode].append(measure(settings, Path(folder) / "run", video=video))
    report = {
        "machine": machine,
        "command": "python -m benchmarks.pipeline",
        "detector": Path(options.detector).name,
        "embedder": Path(options.embedder).name,
        "cameras": len(settings.camera),
        "modes": {mode: figures(of) for mode, of in rounds.items()},
    }
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print_table(rounds)


def measure(settings: Settings, output: Path, *, video: bool) -> Round:
    """One run over every frame, and what its engines did, alone."""
    recorder = Recorder()
    options = RunOptions(output, every_frame=True, video=video, start=0.0)
    (output / "identities.db").unlink(missing_ok=True)
    summary = run(settings, options, open_network=recorder.open)
    recorder.forget_warming_up(summary["frames"])
    together = recorder.replay("detector", "embedder", hands=HANDS)
    detector, embedder = recorder.replay("detector"), recorder.replay("embedder")
    one_by_one = detector[0] + embedder[0], detector[1] + embedder[1]
    return Round(
        frames=summary["frames"],
        crops=sum(call.batch for call in recorder.calls if call.network == "embedder"),
        whole=(summary["seconds"], summary["processor_seconds"]),
        engines=(min(one_by_one[0], together[0]), min(one_by_one[1], together[1])),
        detector=detector,
        embedder=embedder,
        stages=summary["stage_seconds"],
        copied=copied(recorder, summary, output / "tracks", video=video),
    )


def copied(
    recorder: Recorder, summary: Mapping[str, Any], tracks: Path, *, video: bool
) -> dict[str, tuple[float, float]]:
    """By what each step is known to do with pictures in planes of 4:2:0, and how often it was done."""
    frames, cameras = summary["frames"], list(summary["cameras"].values())
    width, height = np.mean([camera["resolution"] for camera in cameras], axis=0)
    boxes = np.concatenate([np.loadtxt(p, delimiter=",", ndmin=2) for p in tracks.glob("*.txt")])
    crops = sum(call.batch for call in recorder.calls if call.network == "embedder") / frames
    part = float(boxes[:, 4:6].prod(axis=1).mean()) if len(boxes) else 0.0
    networks = {name: engine.inputs for name, engine in recorder.engines.items()}
    side = max(networks["detector"]["images"].shape[1:3])
    shrunk = 3 * side * side * min(width, height) / max(width, height)
    crop = float(np.prod(networks["embedder"]["crops"].shape[1:]))
    state = sum(
        float(np.prod(spec.shape[1:])) * np.dtype(spec.dtype).itemsize
        for name, spec in networks["embedder"].items()
        if name.startswith("state.")
    )
    planes = 1.5 * width * height
    found = {
        "decode": (planes, planes),
        "shrink for the detector": (1.5 * shrunk, shrunk),  # planes of that size, then the batch
        "crops": (crops * (1.5 * part + 3 * part + crop), crops * crop),
        "state of the tracklets": (3 * crops * state, crops * state),  # gather, answer, scatter
        "annotated video": (planes, planes) if video else (0.0, 0.0),
    }
    written, fewest = (float(sum(column)) for column in zip(*found.values(), strict=True))
    return found | {"all": (written, fewest)}


def seconds(work: Callable[[], None]) -> Seconds:
    """What it takes."""
    began = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def figures(rounds: Sequence[Round]) -> dict[str, object]:
    """Medians with the least and the most; milliseconds a frame."""

    def spread(of: Callable[[Round], float], digits: int = 3) -> dict[str, float]:
        values = [of(one) for one in rounds]
        found = {"least": min(values), "median": float(np.median(values)), "most": max(values)}
        return {name: round(value, digits) for name, value in found.items()}

    return {
        "frames": rounds[0].frames,
        "crops": rounds[0].crops,
        "ratio": spread(lambda r: r.ratio),
        "processor_time_ratio": spread(lambda r: r.processor_ratio),
        "frames_per_second": spread(lambda r: r.frames / r.whole[0], 1),
        "frames_per_second_engines_alone": spread(lambda r: r.frames / r.engines[0], 1),
        "processor_ms_a_frame": spread(lambda r: 1000 * r.whole[1] / r.frames),
        "processor_ms_a_frame_detector": spread(lambda r: 1000 * r.detector[1] / r.frames),
        "processor_ms_a_frame_embedder": spread(lambda r: 1000 * r.embedder[1] / r.frames),
        "stages_ms_a_frame": {
            stage: spread(lambda r, s=stage: 1000 * r.stages[s] / r.frames)
            for stage in rounds[0].stages
        },
        "copied_kilobytes_a_frame": {
            step: spread(lambda r, s=step: r.copied[s][0] / 1000, 1) for step in rounds[0].copied
        },
        "copied_over_fewest": spread(lambda r: r.copied["all"][0] / r.copied["all"][1], 2),
        "engines_ms_a_frame": {
            "detector": spread(lambda r: 1000 * r.detector[0] / r.frames),
            "embedder": spread(lambda r: 1000 * r.embedder[0] / r.frames),
        },
    }


def print_table(rounds: Mapping[str, Sequence[Round]]) -> None:
    table = Table("", *rounds, title="The pipeline beside its engines, medians")
    found = {mode: figures(of) for mode, of in rounds.items()}
    first = next(iter(found.values()))
    for name, figure in first.items():
        if isinstance(figure, dict) and "median" not in figure:
            for part in figure:
                table.add_row(
                    f"{name}: {part}", *(f"{f[name][part]['median']:.2f}" for f in found.values())
                )
        elif isinstance(figure, dict):
            cells = (f[name] for f in found.values())
            table.add_row(
                name, *(f"{c['median']:.2f} ({c['least']:.2f}–{c['most']:.2f})" for c in cells)
            )
        else:
            table.add_row(name, *(str(f[name]) for f in found.values()))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
