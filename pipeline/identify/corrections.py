"""What later evidence takes back: impossible identities, and two that turn out to be one."""

import numpy as np

from pipeline.frames import IntArray
from pipeline.identify.gallery import Gallery
from pipeline.identify.matcher import Evidence
from pipeline.identify.prior import Prior
from pipeline.identify.settings import IdentifySettings


def impossible(gallery: Gallery, written: IntArray, prior: Prior) -> IntArray:
    """Rows that the updates just written prove wrong: one person would be in two places at once.

    Of two such tracklets the later one loses its identity: it joined on a wrong assumption.
    """
    table, groups = gallery.table, gallery.groups
    grown = written[table["identity"][written] > 0]
    place = np.searchsorted(groups.numbers, table["identity"][grown])
    shared = np.zeros(len(groups.numbers), np.bool_)
    shared[place[groups.sizes[place] > 1]] = True
    rows = groups.rows(shared)
    if not len(rows):
        return rows
    starts = np.flatnonzero(np.diff(table["identity"][rows], prepend=0))
    begun = np.minimum.reduceat(table["first"][rows], starts)
    begun = np.repeat(begun, np.diff(starts, append=len(rows)))
    rows = rows[table["last"][rows] > begun]  # the others were gone before anybody else began
    grown = np.intersect1d(grown, rows)
    prior.know(gallery.cameras)
    clash = prior.weigh(gallery.presence(grown), gallery.presence(rows)).forbidden
    clash &= table["identity"][grown][:, None] == table["identity"][rows]
    clash &= grown[:, None] != rows
    one, other = np.nonzero(clash)
    one, other = grown[one], rows[other]
    began, serial = table["first"], table["serial"]
    later = (began[one] == began[other]) & (serial[one] > serial[other])
    later |= began[one] > began[other]
    return np.unique(np.where(later, one, other))


def merge(
    gallery: Gallery,
    evidence: Evidence,
    settings: IdentifySettings,
    prior: Prior,
    newcomer: float,
) -> None:
    """Make one of two identities if a tracklet just judged links them and all their others agree.

    A tracklet that is alone in its identity needs none of this: it moves, see `matcher.settle`.
    """
    table, groups = gallery.table, gallery.groups
    due = evidence.rows[evidence.at]
    some = np.flatnonzero(np.isin(table["identity"][due], groups.numbers[groups.sizes > 1]))
    if not len(some):
        return
    due = due[some]
    numbers, scores = evidence.toward(some, table["identity"][evidence.rows])
    scores[numbers == table["identity"][due][:, None]] = -np.inf
    for i in np.flatnonzero(scores.max(axis=1, initial=-np.inf) > newcomer):  # rare
        one, other = int(table["identity"][due[i]]), int(numbers[scores[i].argmax()])
        rows, others = gallery.members([one]), gallery.members([other])
        # Either may have been merged a moment ago.
        if one != other and len(others) and _agree(gallery, rows, others, settings, prior):
            both = np.concatenate([rows, others])
            gallery.assign(both, np.full(len(both), min(one, other)))


def _agree(
    gallery: Gallery, rows: IntArray, others: IntArray, settings: IdentifySettings, prior: Prior
) -> bool:
    """Whether two identities look like one, row by row, and no rule speaks against it."""
    if prior.weigh(gallery.presence(rows), gallery.presence(others)).forbidden.any():
        return False
    frames = gallery.table["frames"]
    cosines = gallery.looks[rows] @ gallery.looks[others].T
    likeness = settings.mapping(cosines, frames[rows], frames[others])
    mean = (likeness.max(axis=1).mean() + likeness.max(axis=0).mean()) / 2
    return bool(mean > settings.merge)
