"""What a training says while it runs: a history file, TensorBoard, and a live display."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch.utils.tensorboard import SummaryWriter

from trainer.errors import StorageError
from trainer.files import drafted

HISTORY = "history.jsonl"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of training."""

    step: int
    """Counted from 1."""
    steps: int
    """How many there will be."""
    epoch: int
    loss: float
    terms: Mapping[str, float]
    lr: float
    clips_per_second: float
    waiting: float
    """Share of the step's time spent waiting for pictures."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well the network finds people again, after a step."""

    step: int
    scores: Mapping[str, float]


class Monitor(Protocol):
    """Someone who is told what happens."""

    def stepped(self, step: Step) -> None: ...
    def judged(self, judgement: Judgement) -> None: ...
    def close(self) -> None: ...


class History:
    """One JSON line a step or judgement. A resumed training takes back what it will do again."""

    def __init__(self, folder: Path, resumed_after: int = 0) -> None:
        self._path = folder / HISTORY
        kept = [line for line in read_history(folder) if line["step"] <= resumed_after]
        try:
            with drafted(self._path) as draft:
                draft.write_text("".join(json.dumps(line) + "\n" for line in kept))
            self._file = self._path.open("a", buffering=1)
        except OSError as error:
            raise self._unwritten(error) from error

    def stepped(self, step: Step) -> None:
        self._write(asdict(step))

    def judged(self, judgement: Judgement) -> None:
        self._write(asdict(judgement))

    def close(self) -> None:
        with suppress(OSError):  # of a line that could not be written, which was said
            self._file.close()

    def _write(self, line: dict[str, object]) -> None:
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> StorageError:
        return StorageError(f"cannot write {self._path}: {error.strerror}")


def read_history(folder: Path) -> list[dict[str, float]]:
    """The lines of a folder's history; what a kill or a loss of power left of a line is left out."""
    path = folder / HISTORY
    lines = path.read_text(errors="replace").splitlines(keepends=True) if path.is_file() else []
    found = []
    for line in lines:
        if line.endswith("\n"):
            with suppress(ValueError):
                found.append(json.loads(line))
    return [entry for entry in found if isinstance(entry, dict) and "step" in entry]


class TensorBoard:
    """Curves for TensorBoard, in `<folder>/tensorboard`."""

    def __init__(self, folder: Path, resumed_after: int = 0) -> None:
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_after + 1)

    def stepped(self, step: Step) -> None:
        values = {"loss": step.loss, "rate/lr": step.lr, "rate/clips": step.clips_per_second}
        values |= {f"terms/{name}": value for name, value in step.terms.items()}
        for name, value in values.items():
            self._writer.add_scalar(name, value, step.step)

    def judged(self, judgement: Judgement) -> None:
        for name, value in judgement.scores.items():
            self._writer.add_scalar(f"scores/{name}", value, judgement.step)

    def close(self) -> None:
        self._writer.close()


class LiveDisplay:
    """A bar with loss, rate and the time that is left; plain lines where no terminal listens."""

    LINES = 20
    """How many lines a whole training prints at most where there is no terminal."""

    def __init__(self, console: Console, steps: int, resumed_after: int = 0) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f} · {task.fields[rate]:.1f} clips/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(
            "", total=steps, completed=resumed_after, epoch=0, loss=float("nan"), rate=0.0
        )
        self._every = max(1, steps // self.LINES)
        self._progress.start()

    def stepped(self, step: Step) -> None:
        self._progress.update(
            self._task,
            completed=step.step,
            epoch=step.epoch,
            loss=step.loss,
            rate=step.clips_per_second,
        )
        if not self._console.is_terminal and step.step % self._every == 0:
            remaining = self._progress.tasks[0].time_remaining
            self._console.print(
                f"step {step.step}/{step.steps}, epoch {step.epoch}: loss {step.loss:.3f}, "
                f"{step.clips_per_second:.1f} clips/s"
                + ("" if remaining is None else f", {remaining:.0f} s left")
            )

    def judged(self, judgement: Judgement) -> None:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in judgement.scores.items())
        self._console.print(f"after step {judgement.step}: {scores}")

    def close(self) -> None:
        self._progress.stop()


class Monitors:
    """Several monitors as one."""

    def __init__(self, *monitors: Monitor) -> None:
        self._monitors = monitors

    def stepped(self, step: Step) -> None:
        for monitor in self._monitors:
            monitor.stepped(step)

    def judged(self, judgement: Judgement) -> None:
        for monitor in self._monitors:
            monitor.judged(judgement)

    def close(self) -> None:
        for monitor in self._monitors:
            monitor.close()
