"""One HTML page about a training or an evaluation, with everything inside it."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from trainer import plots
from trainer.data.dataset import Dataset, Tracklet
from trainer.data.transforms import read_clip
from trainer.errors import StorageError
from trainer.evaluation import unit
from trainer.scores import Row

EXAMPLES = 8
ANSWERS = 8
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.plots { margin-top: 1.5rem; display: flex; flex-wrap: wrap; gap: 1rem } .plots figure { margin: 0; flex: 1 1 28rem }
.plots svg { width: 100%; height: auto } figcaption { color: #5b6875 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { white-space: nowrap; padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e3e8ee }
th:first-child, td:first-child { text-align: left }
.ranked td { padding: .2rem; border: 0; text-align: center; font-size: .75rem; color: #5b6875 }
.ranked img { height: 96px; display: block; border: 3px solid #b8c2cc; border-radius: 3px }
.ranked img.right { border-color: #2a7f3f } .ranked img.wrong { border-color: #c0392b }
"""


def write_report(
    path: Path,
    title: str,
    *,
    history: Sequence[Mapping[str, float]] = (),
    rows: Sequence[Row] = (),
    dataset: Dataset | None = None,
) -> None:
    """Write the page: curves, the table of rows, CMC, distances of the first row, ranked examples."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if dataset is not None:
        parts.append(f"<p>{html.escape(str(dataset))}</p>")
    figures = []
    if any("loss" in line for line in history):
        figures.append((plots.training_curves(history), "Training"))
    if rows:
        parts.append(score_table(rows))
        figures.append((plots.match_curves(rows), "The right person among the first answers"))
        distances = plots.distance_histograms(rows[0].query, rows[0].gallery)
        figures.append((distances, f"Distances of {html.escape(rows[0].name)}"))
        if any(row.by_frames for row in rows):
            figures.append((plots.growth_curves(rows), "Accuracy as frames are seen"))
    parts.append(
        '<div class="plots">'
        + "".join(f"<figure>{svg}<figcaption>{text}</figcaption></figure>" for svg, text in figures)
        + "</div>"
    )
    if rows and dataset is not None:
        parts.append(ranked_examples(rows[0], dataset))
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style>{''.join(parts)}</html>"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def score_table(rows: Sequence[Row]) -> str:
    """One line for each way to recognise people."""
    counts = sorted({count for row in rows for count in row.by_frames})
    reranked = any(row.reranked for row in rows)
    head = ["", "rank-1", "rank-5", "mAP", *(["re-ranked mAP"] if reranked else [])]
    head += [f"mAP, {count} frame{'s' * (count > 1)}" for count in counts]
    lines = []
    for row in rows:
        cells = [row.whole.rank1, float(row.whole.cmc[4]), row.whole.mean_average_precision]
        if reranked:
            cells.append(row.reranked.mean_average_precision if row.reranked else np.nan)
        cells += [
            row.by_frames[n].mean_average_precision if n in row.by_frames else np.nan
            for n in counts
        ]
        texts = [html.escape(row.name), *(f"{100 * cell:.1f}" for cell in cells)]
        lines.append("<tr>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>")
    heading = "<tr>" + "".join(f"<th>{text}</th>" for text in head) + "</tr>"
    return f"<h2>Scores, in percent</h2><table>{heading}{''.join(lines)}</table>"


def ranked_examples(row: Row, dataset: Dataset) -> str:
    """The worst searches first: what was asked for, and the nearest answers."""
    similarity = unit(row.query.embeddings) @ unit(row.gallery.embeddings).T
    same = row.query.identities[:, None] == row.gallery.identities
    own = same & (row.query.cameras[:, None] == row.gallery.cameras)
    similarity[own] = -np.inf
    order = np.argsort(-similarity, axis=1, kind="stable")
    hits = np.take_along_axis(same & ~own, order, 1)
    first = np.where(hits.any(1), hits.argmax(1), -1)
    worst = np.argsort(-first, kind="stable")[: EXAMPLES // 2]
    others = np.setdiff1d(np.arange(len(first)), worst)
    even = others[np.linspace(0, len(others) - 1, min(EXAMPLES // 2, len(others))).astype(int)]
    lines = []
    for query in [*worst.tolist(), *even.tolist()]:
        cells = [_cell(dataset.query[query], "", f"camera {dataset.query[query].camera}")]
        for answer in order[query, :ANSWERS].tolist():
            found = dataset.gallery[answer]
            kind = "right" if found.identity == dataset.query[query].identity else "wrong"
            cells.append(
                _cell(found, kind, f"{similarity[query, answer]:.2f} · camera {found.camera}")
            )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<h2>Ranked answers of {html.escape(row.name)}: its worst, then some of the others</h2>"
        f'<table class="ranked">{"".join(lines)}</table>'
    )


def _cell(tracklet: Tracklet, kind: str, text: str) -> str:
    picture = read_clip([tracklet.paths[len(tracklet) // 2]], 96, 48)[0]
    data = base64.b64encode(cv2.imencode(".jpg", picture)[1].tobytes()).decode()
    return f'<td><img class="{kind}" alt="" src="data:image/jpeg;base64,{data}">{text}</td>'
