"""A run as it looks in a terminal: its status while it lasts, its score afterwards."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from pipeline.run import RunOptions, Status, run
from pipeline.settings import Settings
from pipeline.zones import Detect

if TYPE_CHECKING:  # it needs an extra
    from pipeline.evaluation import Evaluation

_FEW = 0.02
"""Share of frames that may be dropped without a word."""


def watched_run(
    settings: Settings, options: RunOptions, console: Console, detect: Detect | None = None
) -> dict[str, object]:
    """A run with its status in the terminal, which SIGINT and SIGTERM end in good order.

    Before it begins, while the networks are opened, they raise `KeyboardInterrupt`: nothing was written yet.
    """
    signals = _Signals()
    with (
        signals.heeded(),
        Live(console=console, transient=True, auto_refresh=False) as live,
    ):
        summary = run(
            settings,
            options,
            stop=signals.asked,
            show=lambda status: live.update(status_table(status), refresh=True),
            detect=detect,
        )
    if told := lateness(summary):
        console.print(told, highlight=False, soft_wrap=True)
    return summary


def lateness(summary: Mapping[str, object]) -> str | None:
    """What to say of a run that could not keep up with its cameras; None where it could, or nearly."""
    looked_at, cameras = summary["frames"], summary["cameras"]
    assert isinstance(looked_at, int)
    assert isinstance(cameras, dict)
    dropped = sum(camera["drops"] for camera in cameras.values())
    if dropped <= _FEW * (looked_at + dropped):
        return None
    return (
        f"{dropped} of {looked_at + dropped} frames were dropped, for this machine could not keep up: "
        "who moved meanwhile is harder to follow. A max_rate for each camera, fewer cameras or a faster detector help."
    )


class _Signals:
    """SIGINT and SIGTERM. From when the run first asks for them they wait to be asked for."""

    def __init__(self) -> None:
        self._came = False
        self._begun = False

    def asked(self) -> bool:
        """Whether the run is to end."""
        self._begun = True
        return self._came

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Signals belong to the main thread; others leave them alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._come) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _come(self, *_: object) -> None:
        self._came = True
        if not self._begun:
            raise KeyboardInterrupt


def status_table(status: Status) -> Table:
    """One line a camera, and the whole below."""
    latency = status.latency.get("p95")
    caption = f"{status.people} people · {status.tracklets.open}/{status.slots.capacity} slots"
    if latency is not None:
        caption += f" · latency p95 {1000 * latency:.0f} ms"
    table = Table("camera", "state", "fps", "frames", "drops", "reconnects", "", caption=caption)
    for name, camera in status.cameras.items():
        counts = (str(camera.frames), str(camera.drops), str(camera.reconnects))
        rate, trouble = f"{camera.fps:.1f}", escape(camera.error or "")
        table.add_row(escape(name), str(camera.state), rate, *counts, trouble)
    return table


def score_table(found: "Evaluation") -> Table:
    """HOTA, IDF1 and MOTA, and what is lost where."""
    links, across = found.links, found.links_across
    caption = (
        f"links between tracklets: precision {links.precision:.2f}, recall {links.recall:.2f}; "
        f"across cameras {across.precision:.2f}, {across.recall:.2f}\n"
        "linked: IDF1 if every tracklet had its true identity; the rest is boxes and broken tracklets"
    )
    table = Table(
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(no_wrap=True)
    for column in ("HOTA", "IDF1", "linked", "MOTA", "switches", "misses", "false", "people"):
        table.add_column(column, justify="right")
    rows = [(name, score, found.cameras_linked[name]) for name, score in found.cameras.items()]
    for name, score, linked in [*rows, ("all cameras", found.overall, found.truth_linked)]:
        shares = (score.hota, score.idf1, linked.idf1, score.mota)
        counts = (score.id_switches, score.misses, score.false_positives, score.people)
        table.add_row(escape(name), *(f"{100 * v:.1f}" for v in shares), *map(str, counts))
    return table
