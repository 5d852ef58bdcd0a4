"""What can be judged or can embed: weights in one of their modes, an engine package, colours."""

from collections.abc import Iterator
from pathlib import Path

import torch

from trainer.baselines import histogram_embedder
from trainer.embedding import Embed, Embedder, network_embedder
from trainer.errors import UsageError
from trainer.fit import WEIGHTS
from trainer.model import load_model
from trainer.packages import package_embedder


def embedders(subject: str, device: str, threads: int) -> Iterator[tuple[str, Embedder]]:
    """Name and embedder of each mode of `PATH:MODE,MODE…`, a package, or `histogram`."""
    if subject == "histogram":
        yield "histogram", histogram_embedder()
        return
    place, _, listed = subject.partition(":")
    modes = [mode_named(name) for name in listed.split(",")] if listed else []
    path = Path(place)
    for mode in modes or [Embed.STREAM]:
        # What `train` writes has one name in all folders.
        called = path.parent.name if path.name == WEIGHTS else path.stem
        name = f"{called} {mode}" if modes or not is_package(path) else called
        yield name, embedder(path, mode, device, threads)


def embedder(path: Path, mode: Embed, device: str, threads: int) -> Embedder:
    """Weights or an engine package, in one mode."""
    if is_package(path):
        return package_embedder(path, mode, threads)
    return network_embedder(load_model(path), mode, device_named(device))


def is_package(path: Path) -> bool:
    """Whether `path` is for `open_engine`, rather than torch weights."""
    return path.is_dir() or path.suffix in {".xml", ".onnx"}


def mode_named(name: str) -> Embed:
    """The mode of that name, or `UsageError`."""
    try:
        return Embed(name)
    except ValueError:
        raise UsageError(f"'{name}' is not a mode; there are {', '.join(Embed)}") from None


def device_named(name: str) -> torch.device:
    """The torch device of that name, if this machine has it."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"'{name}' is not a device: cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("this machine has no GPU that torch can use: pass --device cpu")
    return device
