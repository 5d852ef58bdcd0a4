"""Fine-tuning a YOLO of ultralytics to find people: one class, no network, nothing reported home."""

import json
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch

from trainer.compat import import_with_torchvision
from trainer.errors import LayoutError, StorageError, TrainingError, UsageError
from trainer.files import alone

PARTS = ("images/train/", "images/val/", "labels/train/", "labels/val/")
WEIGHTS = "person-detector.pt"
PEOPLE = Path(__file__).parent / "people.yaml"


class Predictor(Protocol):
    """A network of the library, as far as it matters here."""

    predict: Callable[..., object]
    to: Callable[..., object]


class Network(Protocol):
    """The library's wrapper of a network, as far as it matters here."""

    model: Any
    ckpt: object
    train: Callable[..., Any]
    val: Callable[..., Any]
    add_callback: Callable[..., None]


class Trainer(Protocol):
    """What the library hands to callbacks, as far as it matters here."""

    model: Predictor


@dataclass(frozen=True, slots=True)
class DetectorPlan:
    """One training of a detector."""

    data: tuple[Path, ...]
    """A data.yaml, or folders in the YOLO layout."""
    start: str
    """Weights (.pt) or an architecture (.yaml) to start from: the library's, or our `people.yaml`."""
    output: Path
    epochs: int
    size: int
    batch: int
    seed: int
    device: str
    half: bool = False
    """Train the network in bfloat16 on a CPU that has it: nearly twice as fast. Losses stay float32."""
    lr: float | None = None
    """What AdamW begins with. Unless given, the library chooses method and rate by the length of the training."""
    whole: bool = False
    """Never four pictures in one, and no padding to a square: what the network will see, for the last epochs."""
    resume: bool = False
    init: Path | None = None
    """Weights (.pt) whose layers an architecture takes over, as far as they are alike."""


def train_detector(plan: DetectorPlan) -> tuple[Path, dict[str, float]]:
    """Train, and return the weights file with AP50, AP50-95, precision and recall on `val`."""
    with alone(plan.output):
        return _train_alone(plan)


def _train_alone(plan: DetectorPlan) -> tuple[Path, dict[str, float]]:
    data = _description(plan)
    _check_start(plan)
    last = plan.output / "run" / "weights" / "last.pt"
    if plan.resume and not last.is_file():
        raise UsageError(f"there is nothing to resume in {plan.output}")
    if not plan.resume and last.is_file():
        raise UsageError(
            f"{plan.output} holds a training already: pass --resume, or choose another folder"
        )
    try:
        metrics = _train(plan, str(last) if plan.resume else plan.start, data)
    except (
        OSError, RuntimeError, EOFError, TypeError, ValueError, SyntaxError, LookupError, AttributeError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        reason = re.sub(r"\x1b\[[0-9;]*m", "", reason)
        sets = ", ".join(map(str, plan.data))
        raise TrainingError(f"training the detector on {sets} failed: {reason}") from error
    weights = plan.output / WEIGHTS
    try:
        shutil.copyfile(plan.output / "run" / "weights" / "best.pt", weights)
    except OSError as error:
        raise StorageError(f"cannot write {weights}: {error.strerror}") from error
    return weights, _named(metrics)


def _train(plan: DetectorPlan, start: str, data: Path) -> Mapping[str, float]:
    """The library's own figures. What it prints goes to stderr, and it asks no network for anything."""
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_CONFIG_DIR"] = str(plan.output.resolve())
    threads = torch.get_num_threads()  # the library takes one less, whatever it may have
    with redirect_stdout(sys.stderr):
        library = import_with_torchvision("ultralytics")
        library.settings.update({"sync": False, "tensorboard": False})
        if plan.resume and _finished(Path(start)):
            return _judged(_network(library, str(Path(start).with_name("best.pt"))), plan, data)
        model = _network(library, str(PEOPLE) if start == PEOPLE.name else start)
        if plan.init is not None and not plan.resume:
            take_over(_network(library, str(plan.init)), model)
        if plan.device == "cpu":
            faster = partial(_made_fast, half=plan.half, threads=threads)
            model.add_callback("on_train_start", faster)
        metrics = model.train(
            data=str(data),
            epochs=plan.epochs,
            imgsz=plan.size,
            batch=plan.batch,
            cache=True,  # as far as the memory goes; it looks before
            nbs=plan.batch,  # a step for every batch: short trainings cannot afford to gather several
            warmup_epochs=1.0,
            close_mosaic=max(1, plan.epochs // 5),
            rect=plan.whole,
            seed=plan.seed,
            device=plan.device,
            project=str(plan.output.resolve()),
            name="run",
            exist_ok=True,
            single_cls=True,
            resume=plan.resume,
            plots=False,
            amp=plan.device != "cpu",
            workers=min(8, os.cpu_count() or 1) if plan.device != "cpu" else 1,
            **_method(plan.lr),
        )
    results: Mapping[str, float] = metrics.results_dict
    return results


def _method(lr: float | None) -> dict[str, str | float]:
    """Arguments for the library: its own choice for short trainings, with another rate."""
    if lr is None:
        return {}
    return {"optimizer": "AdamW", "lr0": lr, "momentum": 0.9, "warmup_bias_lr": 0.0}


def _finished(last: Path) -> bool:
    """Whether a training came to its end, after which the library keeps nothing to go on with."""
    return torch.load(last, map_location="cpu", weights_only=False)["optimizer"] is None


def _judged(model: Network, plan: DetectorPlan, data: Path) -> Mapping[str, float]:
    metrics = model.val(
        data=str(data),
        imgsz=plan.size,
        batch=plan.batch,
        device=plan.device,
        project=str(plan.output.resolve()),
        name="judged",
        exist_ok=True,
        single_cls=True,
        plots=False,
    )
    results: Mapping[str, float] = metrics.results_dict
    return results


def forget_whereabouts(source: Path, target: Path) -> None:
    """A copy of the library's weights that does not tell in which folders they were made."""
    import_with_torchvision("ultralytics")
    weights = torch.load(source, map_location="cpu", weights_only=False)
    places = dict.fromkeys(("model", "data", "project", "save_dir"))
    network = weights["model"]
    weights["train_args"] |= places
    network.args = dict(network.args) | places
    network.pt_path = None
    network.yaml["yaml_file"] = Path(network.yaml["yaml_file"]).name
    weights["git"] = None
    torch.save(weights, target)


def _network(library: ModuleType, start: str) -> Network:
    try:
        network: Network = library.YOLO(start)
        assert not isinstance(network.model, str)  # how the library keeps what is no .pt
    except (AssertionError, TypeError) as error:  # the library's word for what it cannot load
        raise UsageError(
            f"{start} holds no weights: it is empty, cut short or something else"
        ) from error
    return network


def take_over(source: Network, target: Network) -> None:
    """The layers of one network into another, by their places; the last one, the head, into the last one."""
    heads = [f"model.{len(network.model.model) - 1}." for network in (source, target)]
    given = {
        heads[1] + name.removeprefix(heads[0]) if name.startswith(heads[0]) else name: values
        for name, values in source.model.float().state_dict().items()
    }
    wanted = target.model.state_dict()
    fits = {
        name: values
        for name, values in given.items()
        if name in wanted and wanted[name].shape == values.shape
    }
    if not fits:
        raise ValueError("the weights of --init have no layer in common with the architecture")
    target.model.load_state_dict(fits, strict=False)
    target.ckpt = {"model": target.model}  # the library would begin anew from the architecture


def _made_fast(trainer: Trainer, half: bool, threads: int) -> None:
    """On as many threads as it may have; channels last, an eighth faster; bfloat16 if wanted.

    It wraps the network alone: boxes need more digits than bfloat16 has by the time they are compared.
    """
    predict = trainer.model.predict
    torch.set_num_threads(threads)
    trainer.model.to(memory_format=torch.channels_last)

    def faster(images: torch.Tensor, *arguments: object, **named: object) -> object:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            answer = predict(images, *arguments, **named)
        return _widened(answer)

    trainer.model.predict = faster


def _widened(answer: object) -> object:
    if isinstance(answer, torch.Tensor):
        return answer.float()
    if isinstance(answer, dict):
        return {name: _widened(part) for name, part in answer.items()}
    if isinstance(answer, list | tuple):
        return type(answer)(map(_widened, answer))
    return answer


def _description(plan: DetectorPlan) -> Path:
    """The data.yaml; for bare folders, one is written beside the training."""
    if len(plan.data) == 1 and plan.data[0].suffix in {".yaml", ".yml"}:
        if not plan.data[0].is_file():
            raise LayoutError(f"there is no {plan.data[0]}")
        return plan.data[0]
    if any(path.suffix in {".yaml", ".yml"} for path in plan.data):
        raise UsageError("a data.yaml stands alone: several sets are given as folders")
    if len({folder.resolve() for folder in plan.data}) < len(plan.data):
        raise UsageError("a set is given twice with --data")
    for folder in plan.data:
        missing = [part for part in PARTS if not (folder / part).is_dir()]
        if missing:
            raise LayoutError(f"{folder} is not in the YOLO layout: missing {', '.join(missing)}")
    description = plan.output / "data.yaml"
    halves = {
        half: [str(folder.resolve() / "images" / half) for folder in plan.data]
        for half in ("train", "val")
    }
    try:
        plan.output.mkdir(parents=True, exist_ok=True)
        # JSON is YAML, but for its way to write what ASCII lacks.
        written = json.dumps(halves | {"names": ["person"]}, ensure_ascii=False)
        description.write_text(written, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {description}: {error.strerror}") from error
    return description


def _check_start(plan: DetectorPlan) -> None:
    """ultralytics would look for missing weights on the network."""
    if plan.start.endswith(".pt") and not Path(plan.start).is_file():
        raise UsageError(f"there are no weights {plan.start}; an architecture (.yaml) needs none")
    if plan.init is not None and not plan.init.is_file():
        raise UsageError(f"there are no weights {plan.init}")
    if plan.init is not None and plan.start.endswith(".pt"):
        raise UsageError("--init gives weights to an architecture, but --start has some already")


def _named(results: Mapping[str, float]) -> dict[str, float]:
    names = {
        "AP50": "metrics/mAP50(B)",
        "AP50-95": "metrics/mAP50-95(B)",
        "precision": "metrics/precision(B)",
        "recall": "metrics/recall(B)",
    }
    return {name: float(results[key]) for name, key in names.items()}
