"""How good the identities are: HOTA, IDF1 and MOTA, per camera and across all cameras.

TrackEval does the counting; here the files are read, boxes that nobody could be asked to find are
taken out, and two more questions are answered: what the score would be if the same tracklets were
linked by the truth (what broken tracklets cost), and how many of the links are right (what the
matcher costs).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.errors import EvaluationError
from pipeline.frames import IntArray
from pipeline.mot_text import MotBoxes, parse, read_mot, read_truth

try:
    from trackeval.metrics import CLEAR, HOTA, Identity
except ModuleNotFoundError as error:
    raise EvaluationError(
        "scores need TrackEval, which is not installed: pip install 'throughline[evaluate]'"
    ) from error

Floats = NDArray[np.float64]

MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    """Fractions of 1, as TrackEval counts them."""

    hota: float
    idf1: float
    mota: float
    detection: float
    """DetA: how well boxes are found, whoever they belong to."""
    association: float
    """AssA: how well the found boxes keep one id."""
    id_switches: int
    misses: int
    false_positives: int
    people: int
    boxes: int
    """Boxes of the truth that count."""


@dataclass(frozen=True, slots=True)
class Links:
    """Of all pairs of tracklets with one identity, how many are one person; and the reverse.

    A tracklet is a run of one identity within one camera; NaN where there is no pair to judge.
    """

    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that is known about a run's identities."""

    cameras: Mapping[str, Score]
    overall: Score
    """The cameras' sequences one after the other, with global identities."""
    truth_linked: Score
    """The same boxes and tracklets with every tracklet given its true identity: the upper bound."""
    cameras_linked: Mapping[str, Score]
    """The same within each camera: what is missing from 1 are boxes and broken tracklets, and what lies between
    this and `cameras` are wrong and missing links."""
    links: Links
    """Over all pairs of tracklets."""
    links_across: Links
    """Over pairs in two different cameras."""

    def to_json(self) -> str:
        """Plain JSON; a figure that does not exist is null."""
        plain = asdict(self)
        for links in (plain["links"], plain["links_across"]):
            links.update({k: None if np.isnan(v) else v for k, v in links.items()})
        return json.dumps(plain, indent=2)


def evaluate_run(run: Path, truth: Path, min_visibility: float = 0.1) -> Evaluation:
    """Score `run/tracks/<camera>.txt` against `truth/gt/<camera>.txt`.

    A camera of the truth that the run has no file for counts as all missed.
    """
    files = sorted((truth / "gt").glob("*.txt"))
    if not files:
        raise EvaluationError(f"no truth found: there is no text file in {truth / 'gt'}")
    if not (run / "tracks").is_dir():
        raise EvaluationError(f"no tracks found: {run / 'tracks'} is not a folder")
    if stray := {p.name for p in (run / "tracks").glob("*.txt")} - {p.name for p in files}:
        raise EvaluationError(f"no truth for {', '.join(sorted(stray))} in {truth / 'gt'}")
    tracks = {}
    for path in files:
        found = run / "tracks" / path.name
        tracks[path.stem] = read_mot(found) if found.exists() else parse(np.empty((0, 6)))
    return evaluate(tracks, {p.stem: read_truth(p, min_visibility) for p in files})


def evaluate(
    tracks: Mapping[str, MotBoxes], truth: Mapping[str, MotBoxes], max_gap: int = 25
) -> Evaluation:
    """Score in-memory boxes; both mappings have the same cameras.

    `max_gap` in frames: a longer absence of an identity from a camera starts a new tracklet.
    """
    if tracks.keys() != truth.keys():
        raise EvaluationError("tracks and truth must name the same cameras")
    cameras = {name: _Sequence(tracks[name], truth[name]) for name in truth}
    tracklets = _Tracklets(cameras, max_gap)
    linked = [s.kept(ids) for s, ids in zip(cameras.values(), tracklets.true_ids(), strict=True)]
    return Evaluation(
        cameras={name: _score([sequence.kept()]) for name, sequence in cameras.items()},
        overall=_score([sequence.kept() for sequence in cameras.values()]),
        truth_linked=_score(linked),
        cameras_linked={name: _score([kept]) for name, kept in zip(cameras, linked, strict=True)},
        links=tracklets.links(),
        links_across=tracklets.links(across=True),
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """Frame by frame, what TrackEval is to count."""

    true_ids: list[IntArray]
    found_ids: list[IntArray]
    overlaps: list[Floats]


class _Sequence:
    """One camera: which boxes lie on which, frame by frame."""

    def __init__(self, found: MotBoxes, truth: MotBoxes) -> None:
        self.found = found
        self._truth = truth
        self._overlaps: list[Floats] = []
        self._slices: list[tuple[slice, slice]] = []
        self.counts = np.ones(len(found.frames), bool)
        """(N,) False for found boxes that lie on an ignored one."""
        self.partner = np.full(len(found.frames), -1, np.int64)
        """(N,) the person that each found box lies on, -1 where nobody."""
        for t, f in self._frames():
            overlaps = _iou(truth.boxes[t], found.boxes[f])
            true, mine = linear_sum_assignment(
                -np.where(overlaps >= MATCH_IOU - np.finfo(float).eps, overlaps, 0)
            )
            sure = overlaps[true, mine] >= MATCH_IOU - np.finfo(float).eps
            true, mine = true[sure] + t.start, mine[sure] + f.start
            unasked = truth.ignored[true]
            self.counts[mine[unasked]] = False
            self.partner[mine[~unasked]] = truth.ids[true[~unasked]]
            self._overlaps.append(overlaps)
            self._slices.append((t, f))

    def kept(self, ids: IntArray | None = None) -> _Kept:
        """What counts, with the ids as found or with others in their place."""
        mine = self.found.ids if ids is None else ids
        kept = _Kept([], [], [])
        for (t, f), overlaps in zip(self._slices, self._overlaps, strict=True):
            asked, counts = ~self._truth.ignored[t], self.counts[f]
            kept.true_ids.append(self._truth.ids[t][asked])
            kept.found_ids.append(mine[f][counts])
            kept.overlaps.append(overlaps[asked][:, counts])
        return kept

    def _frames(self) -> Iterator[tuple[slice, slice]]:
        """Those in which there is anybody: in the others nothing can be right or wrong."""
        numbers = np.append(
            np.union1d(self._truth.frames, self.found.frames), np.iinfo(np.int64).max
        )
        starts = [np.searchsorted(m.frames, numbers).tolist() for m in (self._truth, self.found)]
        for (t0, t1), (f0, f1) in zip(*map(pairwise, starts), strict=True):
            yield slice(t0, t1), slice(f0, f1)


class _Tracklets:
    """Runs of one identity within one camera, and the person that each of them mostly shows."""

    def __init__(self, cameras: Mapping[str, _Sequence], max_gap: int) -> None:
        self._sequences = list(cameras.values())
        self._of_box: list[IntArray] = []
        count = 0
        for sequence in self._sequences:
            of_box = _runs(sequence.found, max_gap)
            self._of_box.append(of_box + count)
            count += int(of_box.max(initial=-1)) + 1
        self._people = np.full(count, -1, np.int64)
        self._ids = np.zeros(count, np.int64)
        self._camera = np.zeros(count, np.int64)
        support = np.zeros(count, np.int64)
        for number, (sequence, of_box) in enumerate(
            zip(self._sequences, self._of_box, strict=True)
        ):
            self._ids[of_box], self._camera[of_box] = sequence.found.ids, number
            hit = sequence.partner >= 0
            pairs, votes = np.unique(
                np.stack([of_box[hit], sequence.partner[hit]]), axis=1, return_counts=True
            )
            for best in np.argsort(votes, kind="stable"):  # the largest vote is written last
                self._people[pairs[0, best]], support[pairs[0, best]] = pairs[1, best], votes[best]
        self._strongest_first = np.argsort(-support, kind="stable")

    def true_ids(self) -> list[IntArray]:
        """Per camera (N,): each found box's id if its tracklet is linked by the truth.

        Where two tracklets show one person in one frame, the weaker one keeps an id of its own.
        """
        linked = -2 - np.arange(len(self._people))
        for number, (sequence, of_box) in enumerate(
            zip(self._sequences, self._of_box, strict=True)
        ):
            taken: dict[int, set[int]] = {}
            for tracklet in self._strongest_first:
                person = int(self._people[tracklet])
                if self._camera[tracklet] != number or person < 0:
                    continue
                frames = set(sequence.found.frames[of_box == tracklet].tolist())
                if taken.setdefault(person, set()).isdisjoint(frames):
                    taken[person] |= frames
                    linked[tracklet] = person
        return [linked[of_box] for of_box in self._of_box]

    def links(self, across: bool = False) -> Links:
        known = self._people >= 0
        people = np.where(known, self._people, -2 - np.arange(len(known)))
        keys = [
            _pairs(self._ids),
            _pairs(people),
            _pairs(self._ids, people),
        ]
        if across:
            keys[0] -= _pairs(self._ids, self._camera)
            keys[1] -= _pairs(people, self._camera)
            keys[2] -= _pairs(self._ids, people, self._camera)
        said, true, both = keys
        return Links(both / said if said else np.nan, both / true if true else np.nan)


def _runs(found: MotBoxes, max_gap: int) -> IntArray:
    """(N,) a number per run of one id, from 0."""
    order = np.lexsort([found.frames, found.ids])
    ids, frames = found.ids[order], found.frames[order]
    fresh = (np.diff(ids) != 0) | (np.diff(frames) > max_gap)
    runs = np.empty(len(ids), np.int64)
    runs[order] = np.concatenate([np.zeros(min(len(ids), 1), np.int64), np.cumsum(fresh)])
    return runs


def _pairs(*keys: IntArray) -> int:
    """In how many pairs all keys agree."""
    sizes = np.unique(np.stack(keys), axis=1, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def _iou(a: Floats, b: Floats) -> Floats:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(shared / np.maximum(union, np.finfo(float).eps))


def _score(sequences: list[_Kept]) -> Score:
    """TrackEval's figures for sequences that follow one another."""
    joined = _Kept([], [], [])
    for kept in sequences:
        joined.true_ids.extend(kept.true_ids)
        joined.found_ids.extend(kept.found_ids)
        joined.overlaps.extend(kept.overlaps)
    people, true_ids = _from_zero(joined.true_ids)
    tracks, found_ids = _from_zero(joined.found_ids)
    joined = replace(joined, true_ids=true_ids, found_ids=found_ids)
    boxes = sum(map(len, joined.true_ids))
    data = {
        "num_timesteps": len(joined.true_ids),
        "num_gt_ids": people,
        "num_tracker_ids": tracks,
        "num_gt_dets": boxes,
        "num_tracker_dets": sum(map(len, joined.found_ids)),
        "gt_ids": joined.true_ids,
        "tracker_ids": joined.found_ids,
        "similarity_scores": joined.overlaps,
    }
    quiet = {"PRINT_CONFIG": False}
    hota = HOTA().eval_sequence(data)
    clear = CLEAR(quiet).eval_sequence(data)
    identity = Identity(quiet).eval_sequence(data)
    return Score(
        hota=float(np.mean(hota["HOTA"])),
        idf1=float(identity["IDF1"]),
        mota=float(clear["MOTA"]),
        detection=float(np.mean(hota["DetA"])),
        association=float(np.mean(hota["AssA"])),
        id_switches=int(clear["IDSW"]),
        misses=int(clear["CLR_FN"]),
        false_positives=int(clear["CLR_FP"]),
        people=people,
        boxes=boxes,
    )


def _from_zero(ids: list[IntArray]) -> tuple[int, list[IntArray]]:
    """How many different ids there are, and the same lists with ids 0, 1, 2…"""
    every = np.concatenate([*ids, np.empty(0, np.int64)])
    names, numbers = np.unique(every, return_inverse=True)
    return len(names), np.split(numbers, np.cumsum([len(i) for i in ids])[:-1])
