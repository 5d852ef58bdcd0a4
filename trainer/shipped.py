"""Shipped weights made anew: the steps of shipped.toml, and a card for each file."""

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from trainer.errors import StorageError, TrainingError, UsageError
from trainer.files import drafted
from trainer.yolo import forget_whereabouts

PLAN = Path(__file__).with_name("shipped.toml")


@dataclass(frozen=True, slots=True)
class Step:
    """One command on the way to weights."""

    about: str
    run: str
    resume_if: str = ""
    """A file whose presence means that the command was cut short and goes on with --resume."""
    scores: bool = False
    """Whether the last line it prints is JSON for the card."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """Weights, and how they come about."""

    name: str
    weights: str
    file: str
    about: str
    limits: str
    licence: str
    steps: tuple[Step, ...]
    packages: tuple[str, ...] = ()
    """Commands that build engine packages from the weights."""


@dataclass(frozen=True, slots=True)
class Done:
    """How far a step has come."""

    printed: str = ""
    seconds: float = 0.0
    """In all sittings, but for those that were killed."""
    finished: bool = False


def read_plan(path: Path = PLAN) -> tuple[Shipped, ...]:
    """What is shipped, in the order in which it is made."""
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
        plan = tuple(
            Shipped(
                name=name,
                **table
                | {"steps": tuple(Step(**step) for step in table["steps"])}
                | {"packages": tuple(table.get("packages", ()))},
            )
            for name, table in tables.items()
        )
        for shipped in plan:
            shlex.split(_filled(shipped.weights, Path()))
            for command in (*(step.run for step in shipped.steps), *shipped.packages):
                shlex.split(_filled(command, Path(), Path()))
            for step in shipped.steps:
                _filled(step.resume_if, Path())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{path} is not a plan of weights to ship: {reason}") from error
    if not plan:
        raise UsageError(f"{path} is a plan that ships no weights")
    return plan


def make(
    shipped: Shipped,
    work: Path,
    output: Path,
    tell: Callable[[str], None],
    threads: Callable[[], int],
    dry_run: bool = False,
) -> None:
    """Run the steps that are not done yet, then put the weights and their card into `output`.

    `threads` is asked before each step how many it may have.
    """
    scores: list[tuple[str, object]] = []
    minutes: list[float] = []
    for number, step in enumerate(shipped.steps, 1):
        place = f"{shipped.name} {number}/{len(shipped.steps)}"
        tell(f"{place}: {step.about}\n  {_filled(step.run, work)}")
        if not dry_run:
            done = once(step, work, threads())
            minutes.append(done.seconds / 60)
            tell(f"{place} took {minutes[-1]:.1f} min")
            if step.scores:
                scores.append((step.about, _scores(done.printed)))
    if dry_run:
        return
    target, weights = output / shipped.file, Path(*shlex.split(_filled(shipped.weights, work)))
    if not weights.is_file():
        raise TrainingError(f"the steps of {shipped.name} have not made {weights}")
    try:
        output.mkdir(parents=True, exist_ok=True)
        _keep(weights, target)
        with drafted(output / f"{target.stem}.md") as draft:
            draft.write_text(_card(shipped, target, scores, minutes))
    except SafetensorError as error:
        raise TrainingError(f"{weights} holds no weights: {error}") from error
    except (OSError, RuntimeError) as error:  # torch's word for a full disk
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise StorageError(f"cannot write {target}: {reason}") from error
    tell(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    for package in shipped.packages:
        command = _filled(package, work, output)
        tell(f"  {command}")
        _run(shlex.split(command), threads())


def _keep(source: Path, target: Path) -> None:
    """A copy to ship. Matrices of ours are kept in half precision, which is enough to go on from."""
    if source.suffix == ".pt":
        with drafted(target) as draft:
            forget_whereabouts(source, draft)
        return
    with safe_open(source, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        notes = file.metadata()
    narrow = {key: t.half() if t.ndim > 1 else t for key, t in tensors.items()}
    with drafted(target) as draft:
        draft.write_bytes(_in_order(save(narrow, metadata=notes)))


def _in_order(written: bytes) -> bytes:
    """The same tensors, with a header that is the same every time: the library shuffles its notes."""
    start = 8 + int.from_bytes(written[:8], "little")
    header = json.dumps(json.loads(written[8:start]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + written[start:]


def _run(arguments: Sequence[str], threads: int) -> str:
    allowed = {"OMP_NUM_THREADS": str(threads), **os.environ}  # unless somebody said otherwise
    try:
        answer = subprocess.run(
            arguments, stdout=subprocess.PIPE, text=True, check=False, env=allowed
        )
    except OSError as error:
        raise TrainingError(f"`{shlex.join(arguments)}` cannot be run: {error.strerror}") from error
    if answer.returncode:
        raise TrainingError(f"`{shlex.join(arguments)}` ended with exit code {answer.returncode}")
    return answer.stdout


def once(step: Step, work: Path, threads: int) -> Done:
    """Run it, or tell how it was when it was done before: the text of its command is the key."""
    command = _filled(step.run, work)
    record = work / "done" / f"{hashlib.sha256(command.encode()).hexdigest()[:16]}.json"
    before = _recorded(record)
    if before.finished:
        return before
    resume = step.resume_if and Path(*shlex.split(_filled(step.resume_if, work))).is_file()
    arguments = shlex.split(command) + (["--resume"] if resume else [])
    began = time.monotonic()
    done = before
    try:
        done = replace(done, printed=_run(arguments, threads), finished=True)
    finally:
        done = replace(done, seconds=before.seconds + time.monotonic() - began)
        try:
            with drafted(record) as draft:
                draft.write_text(json.dumps(asdict(done)))
        except OSError as error:
            raise StorageError(f"cannot write {record}: {error.strerror}") from error
    return done


def _recorded(record: Path) -> Done:
    try:
        return Done(**json.loads(record.read_text()))
    except FileNotFoundError:
        return Done()
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{record} does not tell whether a step was done: delete it") from error


def _scores(printed: str) -> object:
    try:
        return json.loads(printed.splitlines()[-1])
    except (IndexError, ValueError):
        raise TrainingError(
            "a step that should print its scores as JSON printed something else"
        ) from None


def _filled(text: str, work: Path, output: Path | None = None) -> str:
    """A command, or the name of a file in one, as a shell would read it."""
    names = {"work": work, "python": sys.executable} | ({"output": output} if output else {})
    return text.format(**{name: shlex.quote(str(value)) for name, value in names.items()})


def _card(
    shipped: Shipped,
    target: Path,
    scores: Sequence[tuple[str, object]],
    minutes: Sequence[float],
) -> str:
    """Markdown: what it is, how it was made, how good it is, and what it is not for."""
    steps = [
        f"{number}. {step.about} ({spent:.1f} min): "
        f"`{step.run.format(work='runs/models', python='python')}`"
        for number, (step, spent) in enumerate(zip(shipped.steps, minutes, strict=True), 1)
    ]
    tables = [f"{about[:1].upper()}{about[1:]}:\n\n{_table(found)}" for about, found in scores]
    return "\n".join(
        [
            f"# {shipped.name}\n",
            f"{shipped.about}\n",
            "| | |\n|---|---|",
            f"| file | {target.name}, {target.stat().st_size / 1e6:.1f} MB |",
            f"| SHA-256 | `{hashlib.sha256(target.read_bytes()).hexdigest()}` |",
            f"| licence | {shipped.licence} |",
            f"| made with | Python {platform.python_version()} on {platform.machine()} |",
            f"| steps took | {sum(minutes):.0f} min on {os.cpu_count()} cores |\n",
            "## Data, seeds and commands\n",
            "`make models` runs these:\n",
            *steps,
            "\n## Measured\n",
            *tables,
            f"\n## Limits\n\n{shipped.limits}\n",
        ]
    )


def _table(found: object) -> str:
    """Figures in percent as Markdown, one row for each thing that was measured."""
    rows = found if isinstance(found, list) else [found]
    flat = [_flat(row) for row in rows if isinstance(row, dict)]
    if not flat:
        raise TrainingError("a step that should print its scores as JSON printed something else")
    names = list(flat[0][1])
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    lines += [
        f"| {name} | {' | '.join(f'{100 * values[n]:.1f}' for n in names)} |"
        for name, values in flat
    ]
    return "\n".join(lines) + "\n"


def _flat(row: dict[str, object]) -> tuple[str, dict[str, float]]:
    """Name and figures: those that are shares, and mAP after the first frames."""
    values = {key: value for key, value in row.items() if isinstance(value, float)}
    by_frames = row.get("by_frames")
    if isinstance(by_frames, dict):
        values |= {f"mAP, {n} frames": found["mAP"] for n, found in by_frames.items()}
    return str(row.get("name", "")), values
