"""Jobs over processes, with a bar for each."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait as wait_for
from threading import Thread
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Job = TypeVar("Job")


class Counter(Protocol):
    """A number that several processes see."""

    value: int


class Tally:
    """Where a job counts what it has done."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    def add(self, count: int = 1) -> None:
        """Count."""
        self._counter.value += count


def spread(
    work: Callable[[Job, Tally], None], jobs: Sequence[Job], sizes: Sequence[int],
    names: Sequence[str], processes: int
) -> None:  # fmt: skip
    """Run `work(job, tally)` for every job, `processes` at a time; the first error ends all and is
    raised here.
    """
    context = multiprocessing.get_context(
        "spawn"
    )  # a forked child would inherit locks of numba's and x264's threads
    counters: list[Counter] = [context.Value("q", 0, lock=False) for _ in jobs]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars = [
            progress.add_task(name, total=size) for name, size in zip(names, sizes, strict=True)
        ]
        if processes <= 1 or len(jobs) <= 1:
            for job, bar in zip(jobs, bars, strict=True):
                work(job, _BarTally(progress, bar))
            return
        start = partial(_inherit, counters)
        with ProcessPoolExecutor(processes, context, initializer=start) as pool, _at_once(pool):
            waiting = {pool.submit(_run, work, job, row) for row, job in enumerate(jobs)}
            while waiting:
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for bar, counter in zip(bars, counters, strict=True):
                    progress.update(bar, completed=counter.value)
                for future in done:
                    future.result()


@contextmanager
def _at_once(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Whatever ends it, an error or Ctrl-C, ends all jobs now, and not after those that were begun."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise


class _BarTally(Tally):
    """Counts straight onto a bar of this process."""

    def __init__(self, progress: Progress, bar: object) -> None:
        self._progress, self._bar = progress, bar

    def add(self, count: int = 1) -> None:
        self._progress.advance(self._bar, count)  # type: ignore[arg-type]


class _Shared:
    """Counters handed to a worker at its start: shared memory cannot travel with a job."""

    counters: Sequence[Counter] = ()


def _inherit(counters: Sequence[Counter]) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal tells all; whoever began them ends them
    Thread(target=_end_with_parent, daemon=True).start()
    _Shared.counters = counters


def _end_with_parent() -> None:
    """A parent that is killed says nothing: its workers would wait for jobs for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _run(work: Callable[[Job, Tally], None], job: Job, row: int) -> None:
    work(job, Tally(_Shared.counters[row]))
