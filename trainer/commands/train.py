"""`train`: one training from data to weights and a report."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from torch.distributed import get_rank, is_initialized

from trainer.data import Dataset, open_dataset, people_together
from trainer.embedding import FRAMES, Embed, network_embedder
from trainer.errors import DataError, UsageError
from trainer.fit import Plan, fit
from trainer.model import GRL, create_model, load_model
from trainer.model.registry import crop_size, load_weights, read_weights
from trainer.monitors import History, LiveDisplay, Monitor, Monitors, TensorBoard, read_history
from trainer.pretrained import start_from
from trainer.recipes import RECIPES, Mode
from trainer.report import write_report
from trainer.scores import Row, score
from trainer.settling import Settling, settle_file

JUDGED_AS: Mapping[Mode, Embed] = {
    Mode.CLIP: Embed.CLIP,
    Mode.CAUSAL: Embed.STREAM,
    Mode.MEAN: Embed.MEAN,
}


def run(options: argparse.Namespace) -> None:
    """Train as told, then judge the weights and write the report."""
    console = Console(stderr=True)
    plan = _plan(options)
    sets = [open_dataset(address, options.holdout, options.seed) for address in options.data]
    data = sets[0]
    learners = people_together(sets)
    test = open_dataset(options.test) if options.test else data
    for each in sets:
        console.print(str(each), soft_wrap=True, markup=False)
    network = _network(plan, options.init, options.backbone)
    if options.size:
        network.size = options.size
    teacher = load_model(options.teacher) if options.teacher else None

    def watch(steps: int, done: int) -> Monitor:
        return Monitors(
            History(plan.output, done),
            TensorBoard(plan.output, done),
            LiveDisplay(console, steps, done),
        )

    def judge(network: GRL) -> Mapping[str, float]:
        row = _score(network, plan, test)
        return {"rank1": row.whole.rank1, "mAP": row.whole.mean_average_precision}

    judged = bool(test.query)
    if not judged:
        console.print("nobody is kept to judge by: see --holdout and --test")
    elif test is data and data.flatters:
        console.print("the people to judge by are learnt from as well, so scores will flatter")
    weights = fit(plan, network, learners, watch, judge=judge if judged else None, teacher=teacher)
    if is_initialized() and get_rank() > 0:
        return
    if plan.mode is Mode.CAUSAL and options.settle:
        how = Settling(plan.recipe, options.settle, plan.seed, plan.threads, plan.cpu)
        try:
            settle_file(weights, weights, learners, how, console)
        except DataError as error:
            console.print(
                f"{weights}: not settled: {error}", highlight=False, soft_wrap=True, markup=False
            )
    rows = [_score(load_model(weights), plan, test, FRAMES)] if judged else []
    report = plan.output / "report.html"
    title = f"{plan.network}, {plan.mode}, recipe {plan.recipe.name}"
    write_report(report, title, history=read_history(plan.output), rows=rows, dataset=test)
    console.print(f"weights: {weights}\nreport: {report}", soft_wrap=True, markup=False)
    if options.json:
        outcome = {"weights": str(weights), "report": str(report)}
        sys.stdout.write(json.dumps([outcome | row.as_dict() for row in rows] or [outcome]) + "\n")


def _plan(options: argparse.Namespace) -> Plan:
    recipe = RECIPES[options.recipe]
    wanted = {"epochs": options.epochs, "pairs": options.pairs, "length": options.length}
    wanted |= {"lr": options.lr, "family": options.family}
    if options.lr is not None and not options.lr > 0:
        raise UsageError(f"--lr must be above 0, not {options.lr}")
    if options.pairs == 1:
        raise UsageError("--pairs begins at 2: one pair alone is nobody's like or unlike")
    return Plan(
        network=options.network,
        mode=Mode(options.mode),
        recipe=replace(
            recipe, **{key: value for key, value in wanted.items() if value is not None}
        ),
        output=options.output,
        seed=options.seed,
        resume=options.resume,
        cpu=options.cpu or not torch.cuda.is_available(),
        precision=options.precision,
        threads=options.threads,
        checkpoint_every=options.checkpoint_every,
        judge_every=options.judge_every,
        drop_single=options.drop_single,
        trained_before=options.init is not None,
    )


def _network(plan: Plan, init: Path | None, backbone: str | None) -> GRL:
    torch.manual_seed(plan.seed)
    network = create_model(plan.network)
    if init is not None and backbone is not None:
        raise UsageError("--init brings a backbone: leave --backbone out")
    if init is not None:
        name, tensors = read_weights(init)
        if name != plan.network:
            raise UsageError(f"{init} is for {name}, not for {plan.network}")
        load_weights(network, tensors, init)
        network.size = crop_size(init)
        network.low_steps.forget()  # it is about to change what was measured
    if backbone is not None:
        start_from(network, plan.network, backbone)
    return network


def _score(network: GRL, plan: Plan, test: Dataset, frames: Sequence[int] = ()) -> Row:
    device = torch.device("cpu" if plan.cpu else "cuda")
    embedder = network_embedder(network, JUDGED_AS[plan.mode], device)
    name = f"{plan.network} {JUDGED_AS[plan.mode]}"
    return score(name, embedder, test, frames=frames, threads=plan.threads)
