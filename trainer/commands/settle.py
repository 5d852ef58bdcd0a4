"""`settle`: what the memory is like after each frame of a segment, so that young tracklets are judged like old ones."""

import argparse

from rich.console import Console

from trainer.data import open_dataset, people_together
from trainer.recipes import RECIPES
from trainer.settling import Settling, settle_file


def run(options: argparse.Namespace) -> None:
    """Write the network with what its memory is like on those it learnt from."""
    learners = people_together([open_dataset(address, 0.0, 0) for address in options.data])
    how = Settling(
        RECIPES[options.recipe], options.tracklets, options.seed, options.threads, options.cpu
    )
    settle_file(options.weights, options.output, learners, how, Console(stderr=True))
