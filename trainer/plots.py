"""Pictures for reports, as SVG text that stands in the page itself."""

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trainer.evaluation import Embedded, unit
from trainer.scores import Row

Values = NDArray[np.float64]
SIZE = (6.4, 3.4)


def training_curves(history: Sequence[Mapping[str, float]]) -> str:
    """Loss of every step, smoothed, and the scores of every judgement."""
    steps = [line for line in history if "loss" in line]
    judged = [line for line in history if "scores" in line]

    def draw(axes: Axes) -> None:
        at, loss = (np.array([line[key] for line in steps]) for key in ("step", "loss"))
        axes.plot(at, loss, color="#c9d4e3", linewidth=0.8)
        axes.plot(at, _smoothed(loss), color="#1f5fa8", label="loss")
        axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
        if judged:
            scores = axes.twinx()
            for name, colour in (("rank1", "#c0392b"), ("mAP", "#e08e0b")):
                points = [(line["step"], _score(line, name)) for line in judged]
                scores.plot(*zip(*points, strict=True), "o-", color=colour, label=name, ms=3)
            scores.set(ylim=(0, 1.02), ylabel="score")
            scores.legend(loc="lower right", frameon=False)
        axes.legend(loc="upper right", frameon=False)

    return _svg(draw)


def match_curves(rows: Sequence[Row]) -> str:
    """CMC: how often the right person is among the first answers."""

    def draw(axes: Axes) -> None:
        for row in rows:
            axes.plot(np.arange(1, 21), row.whole.cmc[:20], "o-", ms=3, label=row.name)
        low = min(float(row.whole.cmc[0]) for row in rows)
        axes.set(xlabel="rank", ylabel="found", ylim=(max(0.0, low - 0.05), 1.005))
        axes.set_xticks([1, 5, 10, 15, 20])
        axes.legend(frameon=False)

    return _svg(draw)


def growth_curves(rows: Sequence[Row]) -> str:
    """mAP after the first frames."""

    def draw(axes: Axes) -> None:
        for row in rows:
            counts = sorted(row.by_frames)
            scores = [row.by_frames[count].mean_average_precision for count in counts]
            axes.plot(counts, scores, "o-", ms=3, label=row.name)
        axes.set_xscale("log", base=2)
        counts = sorted({count for row in rows for count in row.by_frames})
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.set(xlabel="frames seen", ylabel="mAP")
        axes.legend(frameon=False)

    return _svg(draw)


def distance_histograms(query: Embedded, gallery: Embedded) -> str:
    """Cosine distances to the same person in other cameras, and to other people."""
    distances = 1 - unit(query.embeddings) @ unit(gallery.embeddings).T
    same = query.identities[:, None] == gallery.identities
    elsewhere = query.cameras[:, None] != gallery.cameras

    def draw(axes: Axes) -> None:
        top = float(np.quantile(distances, 0.999))
        bins = np.linspace(0, max(top, 1e-3), 60).tolist()
        for chosen, colour, label in (
            (same & elsewhere, "#2a7f3f", "same person, other camera"),
            (~same, "#9aa5b1", "other people"),
        ):
            axes.hist(distances[chosen], bins, density=True, color=colour, alpha=0.7, label=label)
        axes.set(xlabel="cosine distance", ylabel="density")
        axes.legend(frameon=False)

    return _svg(draw)


def _svg(draw: Callable[[Axes], None]) -> str:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eceff3", linewidth=0.8)
    axes.set_axisbelow(True)
    draw(axes)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _smoothed(values: Values) -> Values:
    width = max(1, len(values) // 50)
    padded = np.pad(values, (width - 1, 0), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _score(line: Mapping[str, object], name: str) -> float:
    scores = line["scores"]
    assert isinstance(scores, Mapping)
    return float(scores[name])
