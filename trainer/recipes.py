"""How a network is trained: the paper's way, and a stronger one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from trainer.data.transforms import Augmentation


class Mode(StrEnum):
    """What a network is trained to be."""

    CLIP = "clip"
    """The paper's network: bidirectional, a whole clip at once."""
    CAUSAL = "causal"
    """The network of the live loop: every prefix of a clip is judged."""
    MEAN = "mean"
    """The backbone alone, its frames averaged: the baseline that learning over time must beat."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about a training except its data, its network and its seed."""

    name: str
    epochs: int
    lr: float
    head_lr: float
    """Factor on `lr` for everything outside backbone and correlation estimation."""
    weight_decay: float
    optimiser: str
    """sgd (Nesterov, momentum 0.9) or adamw."""
    schedule: str
    """steps (×0.1 every quarter of the epochs) or cosine (after the warm-up, down to 0)."""
    identity: str
    """oim (tables of remembered vectors) or smoothed (classifier with label smoothing)."""
    pair_weight: float
    augmentation: Augmentation
    warmup: float = 0.0
    """Share of all steps over which the rate rises from 0."""
    average: float = 0.0
    """Decay per step of the running average of the weights that is kept; 0 keeps none."""
    clip_norm: float = 0.0
    """Longest gradient; 0 for any."""
    teacher_weight: float = 10.0
    pairs: int = 8
    length: int = 8
    """Frames in a clip."""
    family: int = 1
    """So many who look alike are in a batch together; 1: as it is drawn."""

    def rate(self, step: int, steps: int) -> float:
        """Factor on the learning rates at a step of `steps`."""
        risen = min(1.0, (step + 1) / (self.warmup * steps)) if self.warmup else 1.0
        if self.schedule == "cosine":
            start = self.warmup * steps
            done = max(0.0, (step - start) / max(1.0, steps - start))
            return float(risen * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
        return float(risen * 0.1 ** (4 * step // steps))


PAPER = Recipe(
    name="paper",
    epochs=60,
    lr=1e-3,
    head_lr=2.0,
    weight_decay=5e-4,
    optimiser="sgd",
    schedule="steps",
    identity="oim",
    pair_weight=20.0,
    augmentation=Augmentation(),
)
STRONG = Recipe(
    name="strong",
    epochs=60,
    lr=1e-3,
    head_lr=1.0,
    weight_decay=0.02,
    optimiser="adamw",
    schedule="cosine",
    identity="smoothed",
    pair_weight=1.0,
    # Milder than re-ID usually is, because trainings from random weights are short.
    augmentation=Augmentation(
        pad=6, contrast=0.2, brightness=0.1, tint=0.05, erase=0.3, erase_area=(0.02, 0.2)
    ),
    warmup=0.05,
    average=0.998,
    clip_norm=10.0,
)
LIVE = replace(STRONG, name="live", augmentation=replace(STRONG.augmentation, distant=0.7))
"""For cameras that show people 40 to 100 pixels high in compressed video, as most do."""
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {recipe.name: recipe for recipe in (PAPER, STRONG, LIVE)}
)
