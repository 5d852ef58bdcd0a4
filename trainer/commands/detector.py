"""`detector`: a YOLO that finds people."""

import argparse
import json
import sys

from rich.console import Console

from trainer.yolo import DetectorPlan, train_detector


def run(options: argparse.Namespace) -> None:
    """Train as told and say how good it is."""
    plan = DetectorPlan(
        data=tuple(options.data),
        start=options.start,
        output=options.output,
        epochs=options.epochs,
        size=options.size,
        batch=options.batch,
        lr=options.lr,
        whole=options.whole,
        seed=options.seed,
        device=options.device,
        half=options.half,
        resume=options.resume,
        init=options.init,
    )
    weights, scores = train_detector(plan)
    told = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    Console(stderr=True).print(f"weights: {weights}\n{told}", soft_wrap=True, markup=False)
    if options.json:
        sys.stdout.write(json.dumps({"weights": str(weights), **scores}) + "\n")
