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
            make(plan[name], options.work, options.output, tell, threads, options.dry_run)
            going.discard(name)
        except BaseException as error:
            failed.set()
            tell(f"{name} failed ({error}); nothing more is begun")
            raise

    def threads() -> int:
        return max(1, cores // len(going))

    failed = threading.Event()
    cores = os.cpu_count() or 1
    going = set(options.names or plan)
    # Side by side, with their share of the cores: threads of two trainings on one core wait for one another.
    with ThreadPoolExecutor(1 if options.dry_run else cores) as jobs:
        for done in [jobs.submit(make_one, name) for name in dict.fromkeys(options.names or plan)]:
            done.result()
