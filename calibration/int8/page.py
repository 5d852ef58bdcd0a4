"""The page that shows what was done to a network and what it cost."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from calibration.int8.quantise import Outcome
from calibration.page import BLUE, GREY, ORANGE, RED, Plot, Table, plot, write_page

_SHOWN = 30
_NAME = 46


def write_int8_page(path: Path, outcome: Outcome) -> None:
    """Accuracy and speed beside the float network's, what layers cost, and the ranges."""
    how = outcome.manifest.quantisation
    assert how is not None
    lost = 100 * (how.before - how.after)
    facts = [
        f"{how.method}. Ranges measured on {how.data}; judged on {how.judged_on}.",
        f"{how.measure} {how.before:.4f} → {how.after:.4f}: {lost:.2f} points lost, {100 * how.allowed:g} are allowed.",
    ]
    if how.forced:
        facts.append("It was written by force although it loses more than is allowed.")
    tables = [Table("Beside the float network", ("", "float", "int8"), _beside(outcome))]
    if how.kept:
        tables.append(Table("Kept in floating point", ("layer",), [(layer,) for layer in how.kept]))
    plots = [plot(lambda axes: _draw_ranges(axes, outcome), _RANGES)]
    if how.drift:
        plots.append(plot(lambda axes: _draw_drift(axes, outcome), _DRIFT))
    if outcome.costs:
        plots.append(_costs(outcome))
    write_page(path, f"{outcome.manifest.network} in int8", facts, tables, plots)


_RANGES = (
    "Largest magnitude seen of each value (grey) and what int8 represents of it (blue), in the order of the "
    "network; logarithmic. Where blue is far below grey, rare large values are cut so that usual ones are finer."
)
_DRIFT = (
    "Mean cosine of the embeddings with the float network's after so many steps of the same streams, each network "
    "with its own state. It would fall with the steps if the state drifted."
)


def _beside(outcome: Outcome) -> list[tuple[str, str, str]]:
    how, speed = outcome.manifest.quantisation, outcome.speed
    assert how is not None
    rows = [(how.measure, f"{how.before:.4f}", f"{how.after:.4f}")]
    rows += [
        (f"cosine after {step} steps", "1", f"{value:.4f}") for step, value in how.drift.items()
    ]
    if speed is not None:
        name = f"ms a picture ({speed.float_precision} against int8), {speed.faster:.2f}× as fast"
        rows.append((name, f"{speed.float_ms:.2f}", f"{speed.int8_ms:.2f}"))
    layers = how.layers + len(how.kept)
    rows.append(("layers in int8", "0", f"{how.layers} of {layers} that can be"))
    return rows


def _draw_ranges(axes: Axes, outcome: Outcome) -> None:
    found = list(outcome.ranges.values())
    place = np.arange(len(found))
    axes.vlines(place, [r.limit for r in found], [r.peak for r in found], color=GREY, linewidth=1)
    axes.scatter(place, [r.peak for r in found], s=8, color=GREY, label="largest seen")
    axes.scatter(place, [r.limit for r in found], s=8, color=BLUE, label="represented")
    axes.set_yscale("log")
    axes.set_xlabel("value, from the picture to the answer")
    axes.set_ylabel("magnitude")
    axes.legend(frameon=False)


def _draw_drift(axes: Axes, outcome: Outcome) -> None:
    how = outcome.manifest.quantisation
    assert how is not None
    steps = [int(step) for step in how.drift]
    axes.plot(steps, list(how.drift.values()), marker="o", color=BLUE)
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [str(step) for step in steps])
    axes.set_ylim(min(0.98, *how.drift.values()), 1.0005)
    axes.set_xlabel("steps")
    axes.set_ylabel("cosine")


def _costs(outcome: Outcome) -> Plot:
    how = outcome.manifest.quantisation
    assert how is not None
    shown = outcome.costs[:_SHOWN][::-1]
    colours = [ORANGE if cost.layer in how.kept else BLUE for cost in shown]

    def draw(axes: Axes) -> None:
        names = [
            cost.layer if len(cost.layer) <= _NAME else "…" + cost.layer[1 - _NAME :]
            for cost in shown
        ]
        axes.barh(names, [max(cost.cost, 0.0) for cost in shown], color=colours)
        axes.axvline(how.allowed, color=RED, linewidth=1, linestyle=":")
        axes.set_xscale("log")
        axes.tick_params(axis="y", labelsize=7)
        axes.set_xlabel("1 − likeness with the float network when this layer alone is int8")

    caption = f"The {len(shown)} costliest of {len(outcome.costs)} layers; orange ones were kept in floating point."
    return plot(draw, caption, size=(6.4, 0.8 + 0.2 * len(shown)))
