"""`models`: the shipped weights, trained anew."""

import argparse
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from trainer.errors import UsageError
from trainer.shipped import make, read_plan


def run(options: argparse.Namespace) -> None:
    """Make those that are named, or all."""
    console = Console(stderr=True)
    plan = {shipped.name: shipped for shipped in read_plan(options.plan)}
    unknown = [name for name in options.names if name not in plan]
    if unknown:
        raise UsageError(f"nothing called '{unknown[0]}' is shipped; there are {', '.join(plan)}")

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    def make_one(name: str) -> None:
        if failed.is_set():
            return
        try:
            make(plan[name], options.work, options.output, tell, options.dry_run)
        except BaseException as error:
            failed.set()
            tell(f"{name} failed ({error}); nothing more is begun")
            raise

    failed = threading.Event()
    # Side by side: the trainings of these small networks keep one core busy each.
    with ThreadPoolExecutor(1 if options.dry_run else os.cpu_count()) as jobs:
        names = dict.fromkeys(options.names or plan)
        for done in [jobs.submit(make_one, name) for name in names]:
            done.result()
