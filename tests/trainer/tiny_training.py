"""A training small enough for tests; as a script it runs in processes of its own, which may be killed.

python -m tests.trainer.tiny_training PICTURES OUTPUT [--resume]
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from trainer.data import open_dataset
from trainer.data.transforms import Augmentation
from trainer.fit import Plan, fit
from trainer.model import GRL
from trainer.monitors import History, Judgement, Monitors, Step
from trainer.recipes import PAPER, STRONG, Mode, Recipe

CHANNELS, SIZE = 16, (32, 16)
QUICK: Recipe = replace(
    STRONG,
    epochs=3,
    pairs=4,
    length=3,
    warmup=0.2,
    average=0.9,
    augmentation=Augmentation(pad=2, contrast=0.1),
)
TABLES: Recipe = replace(
    PAPER, epochs=3, pairs=4, length=3, lr=0.01, augmentation=Augmentation(pad=2)
)


def tiny_network(seed: int = 0) -> GRL:
    """A GRL over one convolution."""
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Conv2d(3, CHANNELS, 16, 16), nn.BatchNorm2d(CHANNELS), nn.ReLU())
    return GRL(backbone, CHANNELS, SIZE)


def draw_people(root: Path, people: int = 6, frames: int = 5) -> Path:
    """Pictures in the MARS layout: each person a colour, each camera a brightness."""
    rng = np.random.default_rng(7)
    for identity in range(1, people + 1):
        folder = root / f"{identity:04d}"
        folder.mkdir(parents=True)
        colours = rng.integers(40, 215, (2, 1, 1, 3)).repeat(16, 1)
        for camera in (1, 2):
            for frame in range(1, frames + 1):
                picture = np.concatenate(list(colours)).repeat(16, 1) + 20 * camera
                noisy = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255)
                name = f"{identity:04d}C{camera}T0001F{frame:03d}.png"
                cv2.imwrite(str(folder / name), noisy.astype(np.uint8))
    return root


class Announcer:
    """Prints each step, for whoever waits for the right moment to kill."""

    def stepped(self, step: Step) -> None:
        sys.stdout.write(f"step {step.step}\n")
        sys.stdout.flush()

    def judged(self, judgement: Judgement) -> None: ...
    def close(self) -> None: ...


def train(
    pictures: Path,
    output: Path,
    recipe: Recipe,
    resume: bool = False,
    precision: str = "no",
    teacher: GRL | None = None,
) -> Path:
    plan = Plan(
        network="tiny",
        mode=Mode.CLIP if recipe.identity == "oim" else Mode.CAUSAL,
        recipe=recipe,
        output=output,
        resume=resume,
        cpu=True,
        precision=precision,
        checkpoint_every=2,
        trained_before=recipe.family > 1,
    )
    return fit(
        plan,
        tiny_network(),
        open_dataset(str(pictures)).train,
        lambda steps, done: Monitors(History(output, done), Announcer()),
        teacher=teacher,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--family", type=int, default=1)
    parser.add_argument("--precision", default="no")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = replace(TABLES if options.tables else QUICK, family=options.family)
    train(options.pictures, options.output, recipe, options.resume, options.precision)
