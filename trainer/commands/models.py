"""`models`: the shipped weights, trained anew."""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor, as_completed

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
        make(plan[name], options.work, options.output, tell, options.dry_run)

    # Side by side: the trainings of these small networks keep one core busy each.
    with ThreadPoolExecutor(1 if options.dry_run else os.cpu_count()) as jobs:
        making = {
            jobs.submit(make_one, name): name for name in dict.fromkeys(options.names or plan)
        }
        for done in as_completed(making):
            error = done.exception()
            if error and any(job.cancel() or job.running() for job in making):
                tell(
                    f"{making[done]} failed ({error}); what is being made beside it goes on to its end"
                )
        for done in making:
            if not done.cancelled():
                done.result()
