"""`settle`: what the memory is like after each frame of a segment, so that young tracklets are judged like old ones."""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from trainer.data import Tracklet, open_dataset, people_together
from trainer.data.loading import ahead
from trainer.data.sampling import evenly_run
from trainer.data.transforms import augment, read_clip
from trainer.errors import DataError
from trainer.model import GRL, load_model
from trainer.model.grl import SEGMENT
from trainer.model.registry import network_name, save_model
from trainer.objective import normalised
from trainer.recipes import RECIPES

_BATCH = 16
_FEWEST = 64
"""Tracklets, for statistics of as many channels as there are."""


def run(options: argparse.Namespace) -> None:
    """Show the network whole segments of those it learnt from, and write it with what came of them."""
    console = Console(stderr=True)
    learners = people_together([open_dataset(address, 0.0, 0) for address in options.data])
    long = [tracklet for tracklet in learners if len(tracklet) >= SEGMENT]
    if len(long) < _FEWEST:
        raise DataError(
            f"{len(long)} tracklets have {SEGMENT} frames or more: {_FEWEST} of them are needed"
        )
    network = load_model(options.weights)
    rng = np.random.default_rng(options.seed)
    chosen = [long[i] for i in rng.permutation(len(long))[: options.tracklets]]
    batches = _clips(chosen, network.size, options)
    total = squares = torch.zeros((), dtype=torch.float64)
    count = 0
    device = torch.device("cuda" if torch.cuda.is_available() and not options.cpu else "cpu")
    network.to(device)
    every = -(-len(chosen) // _BATCH)
    for clips in track(batches, "measuring", total=every, console=console, transient=True):
        memories = _memories(network, clips.to(device))
        total, squares = total + memories.sum(dim=0), squares + memories.square().sum(dim=0)
        count += len(memories)
    mean = total / count
    network.cpu().low_steps.fit(mean, squares / count - mean.square(), network.low_norm)
    save_model(network, network_name(options.weights), options.output)
    console.print(f"{options.output}: settled by {count} tracklets of {SEGMENT} frames")


@torch.no_grad()
def _memories(network: GRL, clips: Tensor) -> Tensor:
    return network.memories(normalised(clips)).double().cpu()


def _clips(
    tracklets: list[Tracklet], size: tuple[int, int], options: argparse.Namespace
) -> Iterator[Tensor]:
    """(B, 8, H, W, 3) uint8, changed as the recipe changes them in training."""

    def clip(index: int) -> np.ndarray:
        rng = np.random.default_rng((options.seed, index))
        frames = evenly_run(len(tracklets[index]), rng, SEGMENT)
        read = read_clip([tracklets[index].paths[i] for i in frames], *size)
        return augment(read, RECIPES[options.recipe].augmentation, rng)

    clips = ahead(clip, range(len(tracklets)), options.threads, waiting=2 * _BATCH)
    batch: list[np.ndarray] = []
    for made in clips:
        batch.append(made)
        if len(batch) == _BATCH:
            yield torch.from_numpy(np.stack(batch))
            batch = []
    if batch:
        yield torch.from_numpy(np.stack(batch))
