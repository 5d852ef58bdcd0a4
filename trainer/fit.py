"""The training loop, on one CPU, one GPU, or many processes."""

import math
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor

from trainer.averaging import WeightAverage
from trainer.checkpoints import FILE, Checkpoint, load, save
from trainer.cpu_layers import quicken
from trainer.data.dataset import Tracklet, for_pairs
from trainer.data.loading import Batch, TrainingBatches
from trainer.data.sampling import PairSampler, labels_of
from trainer.distributed import normalise_over_processes
from trainer.errors import DivergedError, UsageError
from trainer.files import alone
from trainer.model import GRL, save_model
from trainer.monitors import Judgement, Monitor, Step
from trainer.objective import Objective, normalised
from trainer.recipes import Mode, Recipe

WEIGHTS = "weights.safetensors"
Judge = Callable[[GRL], Mapping[str, float]]
Watch = Callable[[int, int], Monitor]
"""Makes the monitor of a training, given its steps and how many of them are done already."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One training: what, how and where to."""

    network: str
    """The network's name, which its weights will carry."""
    mode: Mode
    recipe: Recipe
    output: Path
    seed: int = 0
    resume: bool = False
    cpu: bool = False
    """Leave a GPU alone."""
    precision: str = "no"
    """no (float32), bf16 or fp16."""
    threads: int = 2
    checkpoint_every: int = 200
    """Steps; each epoch's end is one too."""
    judge_every: int = 5
    """Epochs."""
    drop_single: bool = False
    trained_before: bool = False
    """The network knows something already: it tells where the vectors of the identities start."""


def fit(
    plan: Plan,
    network: GRL,
    tracklets: Sequence[Tracklet],
    watch: Watch,
    *,
    judge: Judge | None = None,
    teacher: GRL | None = None,
) -> Path:
    """Train `network` on `tracklets` and return the weights file.

    With `plan.resume` it goes on from the output folder's checkpoint and ends where an
    uninterrupted training would have. `judge` is asked about the weights that would be kept.
    """
    accelerator = Accelerator(
        cpu=plan.cpu,
        mixed_precision=plan.precision,
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False),
            # The others wait while the first process judges.
            InitProcessGroupKwargs(timeout=timedelta(hours=6)),
        ],
    )
    learners = for_pairs(tracklets, plan.drop_single)
    batches = _batches(plan, network, learners, accelerator)
    if plan.recipe.family > 1 and not plan.trained_before:
        raise UsageError("who looks alike is known to weights only: a family needs --init")
    with alone(plan.output) if accelerator.is_main_process else nullcontext():
        _check_folder(plan)
        training = _Training(plan, network, learners, accelerator, teacher)
        return _fit(plan, training, batches, watch, judge)


def _fit(
    plan: Plan, training: "_Training", batches: TrainingBatches, watch: Watch, judge: Judge | None
) -> Path:
    accelerator = training.accelerator
    steps = plan.recipe.epochs * len(batches)
    done = training.resume() if plan.resume else 0
    if plan.trained_before and not done:
        training.meet(batches)
    if plan.recipe.family > 1:
        sampler = replace(batches.sampler, alike=training.objective.alike.cpu().numpy())
        batches = replace(batches, sampler=sampler)
    with _watched(watch, steps, done, accelerator.is_main_process) as monitor:
        while done < steps:
            epoch, start = divmod(done, len(batches))
            for batch, waited in _timed(batches.epoch(epoch, start)):
                began = time.perf_counter()
                terms = training.step(batch, done, steps)
                done += 1
                spent = waited + time.perf_counter() - began
                monitor.stepped(
                    Step(
                        step=done,
                        steps=steps,
                        epoch=epoch + 1,
                        loss=math.fsum(terms.values()),
                        terms=terms,
                        lr=training.optimiser.param_groups[0]["lr"],
                        clips_per_second=2 * plan.recipe.pairs / spent,
                        waiting=waited / spent,
                    )
                )
                if done % plan.checkpoint_every == 0 or done % len(batches) == 0:
                    training.save(done)
            last = done == steps
            due = last or (epoch + 1) % plan.judge_every == 0
            if judge and due and accelerator.is_main_process:
                monitor.judged(Judgement(done, judge(training.kept())))
            accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        training.write_weights()
    accelerator.wait_for_everyone()
    return plan.output / WEIGHTS


class _Training:
    """Everything that changes while training goes on."""

    def __init__(
        self,
        plan: Plan,
        network: GRL,
        learners: Sequence[Tracklet],
        accelerator: Accelerator,
        teacher: GRL | None,
    ) -> None:
        identities = len(set(labels_of(learners).tolist()))
        self.plan = plan
        self.network = network
        self.accelerator = accelerator
        self.teacher = teacher.to(accelerator.device).eval() if teacher else None
        torch.manual_seed(plan.seed)
        self.objective = Objective(network, identities, plan.recipe, plan.mode)
        _channels_last(self.objective)
        if accelerator.device.type == "cpu":
            quicken(network)
        groups = self.objective.parameter_groups()
        self.optimiser = _optimiser(plan.recipe, groups)
        self._rates = [group["lr"] for group in self.optimiser.param_groups]
        self.wrapped, self.optimiser = accelerator.prepare(self.objective, self.optimiser)
        normalise_over_processes(network, but=(network.pair_pooled, network.pair_low))
        self.wrapped.train()
        self._average = self._averaging({})
        self._description = {
            "network": plan.network,
            "mode": str(plan.mode),
            "recipe": str(plan.recipe),
            "seed": str(plan.seed),
            "identities": str(identities),
            "pictures": _told_apart(learners),
            "crops": "x".join(map(str, network.size)),
            "precision": plan.precision,
            "teacher": _weights_told_apart(teacher) if teacher else "none",
        }

    def meet(self, batches: TrainingBatches) -> None:
        """Show people to the network before the first step."""
        device = self.accelerator.device
        shown = (
            (torch.from_numpy(batch.clips).to(device), torch.from_numpy(batch.labels).to(device))
            # As no epoch of the training; half of one meets nearly everybody.
            for batch in batches.epoch(self.plan.recipe.epochs, len(batches) // 2)
        )
        self.objective.meet(shown)

    def step(self, batch: Batch, done: int, steps: int) -> dict[str, float]:
        """One update; the terms of its loss. Random numbers depend on seed and step alone."""
        torch.manual_seed(self.plan.seed * 2**32 + done)
        device = self.accelerator.device
        clips = torch.from_numpy(batch.clips).to(device, non_blocking=True)
        labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)
        factor = self.plan.recipe.rate(done, steps)
        for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        terms: dict[str, Tensor] = self.wrapped(clips, labels, self._target(clips))
        values = torch.stack(list(terms.values()))
        told = values.detach().tolist()
        if not all(map(math.isfinite, told)):
            raise DivergedError(self._diverged(done, "the loss is not a number"))
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(values.sum())
        if self.plan.recipe.clip_norm:
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.plan.recipe.clip_norm)
        self.optimiser.step()
        if self._average:
            self._average.update(self.network, done)
        return dict(zip(terms, told, strict=True))

    def save(self, done: int) -> None:
        """Write a checkpoint, unless the weights are no longer numbers."""
        if not all(bool(torch.isfinite(p).all()) for p in self.objective.parameters()):
            raise DivergedError(self._diverged(done, "a weight is not a number"))
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            checkpoint = Checkpoint(
                step=done,
                objective=self.objective.state_dict(),
                optimiser=self.optimiser.state_dict(),
                average=self._average.state_dict() if self._average else {},
                scaler=scaler.state_dict() if scaler else {},
                training=self._description,
            )
            save(checkpoint, self.plan.output)

    def resume(self) -> int:
        """Go back to the last checkpoint; returns how many steps are done."""
        checkpoint = load(self.plan.output, self._description)
        self.objective.load_state_dict(dict(checkpoint.objective))
        self.optimiser.load_state_dict(dict(checkpoint.optimiser))
        self._average = self._averaging(checkpoint.average)
        if self.accelerator.scaler and checkpoint.scaler:
            self.accelerator.scaler.load_state_dict(dict(checkpoint.scaler))
        return checkpoint.step

    def kept(self) -> GRL:
        """A copy of the network as it would be kept now, in evaluation mode."""
        network = deepcopy(self.network)
        if self._average:
            network.load_state_dict(self._average.state_dict())
        return network.eval()

    def write_weights(self) -> None:
        plan = self.plan
        notes = {"mode": str(plan.mode), "recipe": plan.recipe.name, "seed": str(plan.seed)}
        save_model(self.kept(), plan.network, plan.output / WEIGHTS, notes)

    def _averaging(self, state: Mapping[str, Tensor]) -> WeightAverage | None:
        decay = self.plan.recipe.average
        return WeightAverage(self.network, decay, state) if decay else None

    def _target(self, clips: Tensor) -> Tensor | None:
        if self.teacher is None:
            return None
        with torch.no_grad(), self.accelerator.autocast():
            target: Tensor = self.teacher(normalised(clips)).embedding
        return target

    def _diverged(self, done: int, what: str) -> str:
        kept = self.plan.output / FILE
        return f"after step {done} {what}" + (
            f"; the last good checkpoint is {kept}: resume it with a lower rate"
            if kept.is_file()
            else "; no checkpoint was written yet: lower the rate"
        )


def _batches(
    plan: Plan, network: GRL, learners: tuple[Tracklet, ...], accelerator: Accelerator
) -> TrainingBatches:
    if plan.recipe.pairs % accelerator.num_processes:
        raise UsageError(
            f"a batch of {plan.recipe.pairs} pairs cannot be shared by "
            f"{accelerator.num_processes} processes: choose --pairs as a multiple of them"
        )
    return TrainingBatches(
        PairSampler(learners, plan.recipe.pairs, plan.seed),
        plan.recipe.augmentation,
        network.size,
        plan.recipe.length,
        running=0.5 if plan.mode is Mode.CAUSAL else 0.0,
        threads=plan.threads,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
    )


def _told_apart(learners: Sequence[Tracklet]) -> str:
    """What a training learns from, in a few words that are others for any other data, wherever it lies."""
    check = 0
    for tracklet in learners:
        names = ",".join(map(os.path.basename, tracklet.paths))
        check = zlib.crc32(f"{tracklet.identity} {tracklet.camera} {names}\n".encode(), check)
    return f"{sum(map(len, learners))} (checksum of their names: {check:08x})"


def _weights_told_apart(network: GRL) -> str:
    check = 0
    for tensor in network.state_dict().values():
        check = zlib.crc32(tensor.cpu().contiguous().numpy(), check)
    return f"checksum {check:08x}"


def _check_folder(plan: Plan) -> None:
    if not plan.resume and (plan.output / FILE).is_file():
        raise UsageError(
            f"{plan.output} holds a training already: pass --resume, or choose another folder"
        )
    if not plan.resume and (plan.output / WEIGHTS).is_file():
        raise UsageError(f"{plan.output} holds weights already: choose another folder")


def _optimiser(recipe: Recipe, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        groups, lr=recipe.lr, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )


def _channels_last(module: torch.nn.Module) -> None:
    """Matrices of convolutions lie so that a CPU is a fifth faster."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Batches, each with the seconds it was waited for."""
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - began


@contextmanager
def _watched(watch: Watch, steps: int, done: int, main: bool) -> Iterator[Monitor]:
    monitor = watch(steps, done) if main else _Silent()
    try:
        yield monitor
    finally:
        monitor.close()


class _Silent:
    """Only the first process speaks."""

    def stepped(self, step: Step) -> None: ...
    def judged(self, judgement: Judgement) -> None: ...
    def close(self) -> None: ...
