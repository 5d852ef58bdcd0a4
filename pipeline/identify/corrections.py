"""What later evidence takes back: impossible identities, and two that turn out to be one."""

import numpy as np

from pipeline.frames import IntArray
from pipeline.identify.gallery import Gallery, Groups
from pipeline.identify.matcher import Evidence
from pipeline.identify.prior import Prior
from pipeline.identify.settings import IdentifySettings

_CANDIDATES = 3
"""Identities that look most like a tracklet, with which its own is compared."""


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
    fresh: IntArray,
    settings: IdentifySettings,
    prior: Prior,
) -> None:
    """Make one of two identities that turn out to look like one: asked about the rows with something new."""
    table = gallery.table
    groups = Groups.of(table["identity"][evidence.rows])
    likeness = groups.maxima(evidence.likeness)
    judged = evidence.rows[evidence.at]
    for i in np.flatnonzero(np.isin(judged, fresh)).tolist():
        row = int(judged[i])
        rows = gallery.members([int(table["identity"][row])])
        for k in np.argsort(-likeness[i])[:_CANDIDATES].tolist():
            one, other = int(table["identity"][row]), int(groups.numbers[k])
            others = gallery.members([other])  # nobody, if it was merged a moment ago
            if one == other or not one or not len(others) or likeness[i, k] <= 0:
                continue
            if _agreement(gallery, rows, others, settings, prior) > settings.merge:
                rows = np.concatenate([rows, others])
                gallery.assign(rows, np.full(len(rows), min(one, other)))


def _agreement(
    gallery: Gallery, rows: IntArray, others: IntArray, settings: IdentifySettings, prior: Prior
) -> float:
    """Nats for two identities being one, row by row; place can only speak against it, and rules forbid it."""
    where = prior.weigh(gallery.presence(rows), gallery.presence(others))
    if where.forbidden.any():
        return -np.inf
    frames = gallery.table["frames"]
    cosines = gallery.looks[rows] @ gallery.looks[others].T
    likeness = settings.mapping(cosines, frames[rows], frames[others])
    if where.build is not None:
        likeness += where.build
    mean = (likeness.max(axis=1).mean() + likeness.max(axis=0).mean()) / 2
    return float(mean + min(where.place.max(), 0.0))
