"""What the memory of a causal network is like after each frame: so that young tracklets are judged like old ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from trainer.data import Tracklet
from trainer.data.loading import ahead
from trainer.data.sampling import evenly_run
from trainer.data.transforms import augment, read_clip
from trainer.errors import DataError, UsageError
from trainer.model import GRL, load_model, save_model
from trainer.model.grl import SEGMENT
from trainer.model.registry import network_name, notes_of
from trainer.objective import normalised
from trainer.recipes import Recipe

_BATCH = 16
_FEWEST = 64
"""Tracklets, for statistics of as many channels as there are."""


@dataclass(frozen=True, slots=True)
class Settling:
    """How the memory is measured."""

    recipe: Recipe
    """Whose changes to pictures are made here too."""
    tracklets: int
    """So many at most, drawn."""
    seed: int = 0
    threads: int = 2
    """That read pictures."""
    cpu: bool = False
    """Leave a GPU alone."""


def settle_file(
    weights: Path, output: Path, tracklets: Sequence[Tracklet], how: Settling, console: Console
) -> None:
    """Show the network in a file whole segments of those it learnt from, and write it with what came of them."""
    network = load_model(weights)
    count = settle(network, tracklets, how, console)
    save_model(network, network_name(weights), output, notes_of(weights))
    console.print(
        f"{output}: settled by {count} tracklets of {SEGMENT} frames",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def settle(network: GRL, tracklets: Sequence[Tracklet], how: Settling, console: Console) -> int:
    """Measure the memory by frame, and normalise it by that from now on; answers by how many tracklets."""
    long = [tracklet for tracklet in tracklets if len(tracklet) >= SEGMENT]
    if len(long) < _FEWEST:
        raise DataError(
            f"{len(long)} tracklets have {SEGMENT} frames or more: {_FEWEST} of them are needed"
        )
    if how.tracklets < _FEWEST:
        raise UsageError(
            f"{how.tracklets} tracklets are too few to settle by: {_FEWEST} are needed"
        )
    rng = np.random.default_rng(how.seed)
    chosen = [long[i] for i in rng.permutation(len(long))[: how.tracklets]]
    total = squares = torch.zeros((), dtype=torch.float64)
    device = torch.device("cuda" if torch.cuda.is_available() and not how.cpu else "cpu")
    network.to(device).eval()
    every = -(-len(chosen) // _BATCH)
    batches = _clips(chosen, network.size, how)
    for clips in track(batches, "measuring", total=every, console=console, transient=True):
        memories = _memories(network, clips.to(device))
        total, squares = total + memories.sum(dim=0), squares + memories.square().sum(dim=0)
    mean = total / len(chosen)
    variance = squares / len(chosen) - mean.square()
    network.cpu().low_steps.fit(mean, variance, network.low_norm)
    return len(chosen)


@torch.no_grad()
def _memories(network: GRL, clips: Tensor) -> Tensor:
    return network.memories(normalised(clips)).double().cpu()


def _clips(tracklets: Sequence[Tracklet], size: tuple[int, int], how: Settling) -> Iterator[Tensor]:
    """(B, 8, H, W, 3) uint8, changed as the recipe changes them in training."""

    def clip(index: int) -> np.ndarray:
        rng = np.random.default_rng((how.seed, index))
        frames = evenly_run(len(tracklets[index]), rng, SEGMENT)
        read = read_clip([tracklets[index].paths[i] for i in frames], *size)
        return augment(read, how.recipe.augmentation, rng)

    clips = ahead(clip, range(len(tracklets)), how.threads, waiting=2 * _BATCH)
    batch: list[np.ndarray] = []
    for made in clips:
        batch.append(made)
        if len(batch) == _BATCH:
            yield torch.from_numpy(np.stack(batch))
            batch = []
    if batch:
        yield torch.from_numpy(np.stack(batch))
