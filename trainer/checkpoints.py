"""The state of a training on disk, whole or not at all.

No state of random generators is stored: batches, augmentation and dropout draw from generators
seeded by the training's seed and the step, so a step is the same whenever it is run.
"""

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.errors import CheckpointError, StorageError
from trainer.files import drafted

FILE = "checkpoint.pt"
State = Mapping[str, Any]
"""Nested state dicts as torch modules and optimisers give them."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training between two steps."""

    step: int
    """Steps done."""
    objective: State
    """Network, heads and OIM tables."""
    optimiser: State
    average: Mapping[str, Tensor]
    """Running average of the network's weights; empty if none is kept."""
    scaler: State
    """Of mixed precision in float16; otherwise empty."""
    training: Mapping[str, str]
    """What the training is: only the same one may go on from here."""


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Replace the folder's checkpoint. Killed at any moment, either the old or the new is there."""
    path = folder / FILE
    content = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    try:
        with drafted(path) as draft, draft.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        _settle(folder)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else _first_line(error)
        kept = "; the checkpoint before it is whole" if path.is_file() else ""
        raise StorageError(f"cannot write {path}: {reason}{kept}") from error


def load(folder: Path, training: Mapping[str, str]) -> Checkpoint:
    """The folder's checkpoint, if it is of this training."""
    path = folder / FILE
    try:
        checkpoint = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint in {folder} to resume from") from error
    except (
        OSError, RuntimeError, EOFError, TypeError, ValueError, LookupError, AttributeError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"{path} is not a whole checkpoint of ours ({_first_line(error)})"
        ) from error
    differing = [
        f"{key} was {checkpoint.training.get(key)}, is {training.get(key)}"
        for key in sorted({*training, *checkpoint.training})
        if checkpoint.training.get(key) != training.get(key)
    ]
    if differing:
        raise CheckpointError(f"{path} is of another training: {'; '.join(differing)}")
    return checkpoint


def _settle(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
