"""The page of `ground`: the floor from above, who sees what of it, and how far the points are off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from calibration.floor_plan import area
from calibration.homography import Fit, Floats, apply, inverse
from calibration.page import GREY, RED, Plot, Table, plot, write_page
from pipeline.ground import METRES, GroundSettings, OverlapSettings

_COLOURS = ("#1f5fa8", "#2a7f3f", "#e08e0b", "#8e44ad", "#16a2a2", "#c0392b", "#7f6a3f", "#5b6875")


@dataclass(frozen=True, slots=True)
class Marks:
    """The points that one camera was fitted to."""

    pixels: Floats
    floor: Floats
    fit: Fit


def write_ground_page(
    path: Path,
    grounds: Sequence[GroundSettings],
    shared: Sequence[OverlapSettings],
    marks: Mapping[str, Marks],
    evidence: Mapping[str, str],
) -> None:
    """One picture a frame, one of each camera with points, and the figures."""
    frames = sorted({ground.frame for ground in grounds})
    plots = [_from_above(frame, grounds, shared, marks) for frame in frames]
    plots += [_in_the_picture(camera, some) for camera, some in marks.items()]
    unit = {ground.camera: "m" if ground.frame == METRES else "px" for ground in grounds}
    cameras = [
        [g.camera, _frame(g.frame), f"{area(np.array(g.view)):.0f} {unit[g.camera]}²",
         f"{g.error:.2f} {unit[g.camera]}", "yes" if g.lens else "no"]
        for g in grounds
    ]  # fmt: skip
    common = [
        [" and ".join(o.cameras), f"{area(np.array(o.floor)):.0f} {unit[o.cameras[0]]}²"]
        for o in shared
    ]
    write_page(
        path,
        "The floor, and who sees it",
        [f"{name}: {told}." for name, told in evidence.items()],
        [
            Table(
                "Cameras", ("camera", "frame", "sees", "places are off by", "bent lens"), cameras
            ),
            Table("Common ground", ("cameras", "area"), common),
        ],
        plots,
    )


def _frame(frame: str) -> str:
    return "metres" if frame == METRES else f"pixels of {frame}"


def _from_above(
    frame: str,
    grounds: Sequence[GroundSettings],
    shared: Sequence[OverlapSettings],
    marks: Mapping[str, Marks],
) -> Plot:
    colours = {g.camera: _COLOURS[i % len(_COLOURS)] for i, g in enumerate(grounds)}
    mine = [ground for ground in grounds if ground.frame == frame]

    def draw(axes: Axes) -> None:
        for ground in mine:
            view = np.array(ground.view)
            if len(view) < 3:
                continue
            colour = colours[ground.camera]
            axes.fill(*view.T, facecolor=colour, alpha=0.10, edgecolor="none")
            axes.plot(
                *np.vstack([view, view[:1]]).T, color=colour, linewidth=1.4, label=ground.camera
            )
        for overlap in shared:
            if overlap.cameras[0] in {ground.camera for ground in mine}:
                corners = np.array(overlap.floor)
                axes.fill(*corners.T, facecolor="none", edgecolor=GREY, hatch="///", linewidth=0.0)
        for camera, some in marks.items():
            if camera in colours and frame == METRES:
                there = apply(some.fit.matrix, some.pixels)
                axes.plot(*some.floor.T, ".", color=colours[camera])
                for a, b in zip(some.floor, there, strict=True):
                    axes.plot([a[0], b[0]], [a[1], b[1]], color=RED, linewidth=1)
        axes.set_aspect("equal")
        if frame != METRES:
            axes.invert_yaxis()
        axes.set_xlabel("m" if frame == METRES else f"pixels of {frame}")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)

    told = "The floor from above: what each camera sees, as far as people are large enough to be followed"
    told += "; hatched where two see it" if shared else ""
    return plot(draw, told + ("; red: how far points are off." if marks else "."), (8.5, 6.0))


def _in_the_picture(camera: str, marks: Marks) -> Plot:
    back = apply(inverse(marks.fit.matrix), marks.floor)

    def draw(axes: Axes) -> None:
        inside = marks.fit.inliers
        axes.plot(*marks.pixels[inside].T, ".", color=_COLOURS[0], label="agrees")
        if (~inside).any():
            axes.plot(*marks.pixels[~inside].T, "x", color=RED, label="left out")
        for a, b in zip(marks.pixels[inside], back[inside], strict=True):
            axes.plot([a[0], b[0]], [a[1], b[1]], color=RED, linewidth=1)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_xlabel("px")
        axes.legend(frameon=False)

    return plot(draw, f"{camera}: points in the picture, and where the fit puts them (red).")
