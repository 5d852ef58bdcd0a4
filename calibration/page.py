"""One self-contained HTML page per calibration: figures, tables, plots."""

import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calibration.errors import StorageError

SIZE = (6.4, 3.4)
BLUE, GREEN, RED, GREY, ORANGE = "#1f5fa8", "#2a7f3f", "#c0392b", "#9aa5b1", "#e08e0b"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.plots { margin-top: 1.5rem; display: flex; flex-wrap: wrap; gap: 1rem } .plots figure { margin: 0; flex: 1 1 28rem }
.plots svg { width: 100%; height: auto } figcaption { color: #5b6875 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e3e8ee }
th:first-child, td:first-child { text-align: left }
"""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture with a line below it."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are to be read."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def plot(draw: Callable[[Axes], None], caption: str, size: tuple[float, float] = SIZE) -> Plot:
    """What `draw` puts on the axes, as SVG."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eceff3", linewidth=0.8)
    axes.set_axisbelow(True)
    draw(axes)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return Plot(text.getvalue()[text.getvalue().index("<svg") :], caption)


def write_page(
    path: Path,
    title: str,
    facts: Sequence[str],
    tables: Sequence[Table] = (),
    plots: Sequence[Plot] = (),
) -> None:
    """`facts` are sentences below the title. Texts are escaped here."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts += [f"<p>{html.escape(fact)}</p>" for fact in facts]
    parts += [_table(table) for table in tables]
    parts.append('<div class="plots">')
    parts += [
        f"<figure>{plot.svg}<figcaption>{html.escape(plot.caption)}</figcaption></figure>"
        for plot in plots
    ]
    parts.append("</div>")
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style>{''.join(parts)}</html>"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def _table(table: Table) -> str:
    rows = [table.head, *table.rows]
    marks = ["th"] + ["td"] * len(table.rows)
    lines = "".join(
        "<tr>" + "".join(f"<{mark}>{html.escape(cell)}</{mark}>" for cell in row) + "</tr>"
        for mark, row in zip(marks, rows, strict=True)
    )
    return f"<h2>{html.escape(table.title)}</h2><table>{lines}</table>"
