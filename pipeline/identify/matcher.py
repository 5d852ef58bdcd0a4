"""Who is who: all tracklets that are due for a judgement are given their identities together.

`weigh` collects what speaks for each due tracklet being the same person as each row of the gallery;
`settle` turns that into identities. Both are functions of arrays: no clock, no store, no state.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.assignment import assign
from pipeline.frames import FloatArray, IntArray
from pipeline.identify.gallery import Gallery, Groups
from pipeline.identify.prior import Prior
from pipeline.identify.prior import warm_up as warm_up_prior
from pipeline.identify.similarity import Mapping

_NEVER = -1e6  # an infinite cost would make the assignment infeasible


@dataclass(frozen=True, slots=True)
class Evidence:
    """P tracklets under judgement against R rows, each array (P, R) and about one pair of tracklets."""

    rows: IntArray
    """(R,) rows of the gallery, those under judgement among them."""
    at: IntArray
    """(P,) where in `rows` the tracklets under judgement are."""
    likeness: FloatArray
    """Log-likelihood ratio by appearance: looks, and where it is known, build."""
    gap: FloatArray
    place: FloatArray
    forbidden: NDArray[np.bool_]
    """As in `prior.Circumstances`."""
    floor: FloatArray | None = None

    def toward(self, some: IntArray, identity: IntArray) -> tuple[IntArray, FloatArray]:
        """Scores of `some` of the tracklets for each identity: numbers (K,), ratios (len(some), K).

        Where an identity was, its row that is nearest in time tells, and every row of that time.
        """
        groups = Groups.of(identity)
        likeness = resemblance(groups, self.likeness[some])
        if not len(groups.numbers):
            return groups.numbers, likeness
        gap = self.gap[some]
        nearest = -groups.maxima(-gap)
        tells = np.empty(gap.shape, np.bool_)
        tells[:, groups.order] = gap[:, groups.order] <= np.repeat(nearest, groups.sizes, axis=1)
        tells |= np.isinf(gap)
        place = groups.maxima(np.where(tells, self.place[some], -np.inf).astype(np.float32))
        if self.floor is not None:
            # Where somebody is right now says more than where he was, and he is in all these places.
            floor = np.nan_to_num(self.floor[some], nan=np.inf)
            place = np.where(np.isposinf(now := -groups.maxima(-floor)), place, now)
        ban = np.where(self.forbidden[some], -np.inf, 0.0).astype(np.float32)
        order, starts = groups.order, groups.starts
        return groups.numbers, likeness + place + np.minimum.reduceat(ban[:, order], starts, axis=1)

    def pairs(self) -> FloatArray:
        """(P, P) ratios between the tracklets under judgement; -inf where they cannot be one."""
        at = self.at
        score = self.likeness[:, at] + self.place[:, at]
        return np.where(self.forbidden[:, at], -np.inf, score).astype(np.float32)


def resemblance(groups: Groups, likeness: FloatArray) -> FloatArray:
    """Ratios by appearance toward rows (Q, R), -inf for those that do not count → toward identities (Q, K).

    The mean over the rows, not the best row: with many rows, chance finds one that fits. Of k rows the
    mean has less noise than one has; where every view strays alike, its variance is (1 + 1/k) / 2
    of that of a pair, by which the evidence grows.
    """
    counts = groups.sums(np.isfinite(likeness).astype(np.float32))
    total = groups.sums(np.where(np.isfinite(likeness), likeness, 0).astype(np.float32))
    return np.where(counts > 0, total * 2 / (counts + 1), -np.inf).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides between the answers to one question."""

    newcomer: float
    """Nats that anybody known must beat: the prior odds of a newcomer against one known person."""
    focus: float
    """People known for each that is about, see `Prior.weigh`."""
    hysteresis: float
    """Nats by which something else must be better than what was said before."""


def weigh(
    gallery: Gallery, due: IntArray, mapping: Mapping, prior: Prior, rules: Rules
) -> Evidence:
    """Everything that speaks for and against the tracklets in `due`.

    Identities that no time and place could lift over a newcomer are left out.
    """
    some = gallery.worth_comparing(due)
    if some is None:
        table, looks, groups, mine = gallery.table, gallery.looks, gallery.groups, due
    else:
        table, looks = gallery.table[some], gallery.looks[some]
        groups, mine = Groups.of(table["identity"]), np.searchsorted(some, due)
    likeness = mapping(looks[mine] @ looks.T, table["frames"][mine], table["frames"])
    likeness[np.arange(len(due)), mine] = -np.inf  # nobody is evidence for himself
    lift = prior.most + math.log(rules.focus)
    in_reach = (resemblance(groups, likeness) + lift > rules.newcomer).any(axis=0)
    in_reach |= np.isin(groups.numbers, table["identity"][mine])
    chosen = np.union1d(groups.rows(in_reach), mine)
    rows = chosen if some is None else some[chosen]
    prior.know(gallery.cameras)
    where = prior.weigh(gallery.presence(due), gallery.presence(rows), rules.focus)
    at = np.searchsorted(rows, due)
    own = np.arange(len(due)), at
    where.gap[own], where.place[own], where.forbidden[own] = np.inf, -np.inf, False
    if where.floor is not None:
        where.floor[own] = np.nan
    likeness = likeness[:, chosen]
    if where.build is not None:
        likeness += where.build
    return Evidence(rows, at, likeness, where.gap, where.place, where.forbidden, where.floor)


def settle(
    evidence: Evidence,
    identity: IntArray,
    may_found: NDArray[np.bool_],
    rank: IntArray,
    settled: NDArray[np.bool_] | None = None,
    *,
    rules: Rules,
    next_number: Callable[[], int],
) -> FloatArray:
    """Decide for all P tracklets, changing `identity` (R,) in place; returns their scores (P,).

    Rounds, because an assignment gives one identity to one tracklet, and somebody whom two cameras
    see has two: whoever is outbid by a tracklet that may be the same person waits until that one
    is in, and is then judged against both. Once nobody joins any more, the others found
    identities: those of lowest `rank` first, so that their likes can join them in the next round. Who is `settled` (P,)
    in an identity is not torn from it for nobody.
    """
    at = evidence.at
    settled = np.zeros(len(at), np.bool_) if settled is None else settled
    undecided = np.ones(len(at), np.bool_)
    result = np.zeros(len(at), np.float32)
    pairs = evidence.pairs() - rules.newcomer
    patient = True
    while undecided.any():
        some = np.flatnonzero(undecided)
        own = identity[at[some]]
        numbers, scores = evidence.toward(some, identity)
        scores -= rules.newcomer
        held = numbers == own[:, None]
        kept = held & settled[some][:, None] & np.isfinite(scores)
        scores = np.where(kept, np.maximum(scores, 0.0), scores) + rules.hysteresis * held
        # Alone in its identity, a tracklet keeps it by being unlike everybody else.
        alone = (own > 0) & ((identity == own[:, None]).sum(axis=1) == 1)
        fallback = np.where(alone, rules.hysteresis, 0.0)
        choice, value = _assign(scores, fallback)
        waits = patient & _outbid(scores, choice, value, evidence.forbidden[some][:, at[some]])

        touched: set[int] = set()
        joined = decided = False
        for i in np.argsort(-value, kind="stable"):
            here, mine = int(some[i]), int(own[i])
            target = int(numbers[choice[i]]) if choice[i] >= 0 else mine * int(alone[i])
            if waits[i] or target == 0 or (target != mine and {target, mine} & touched):
                continue
            if target != mine:
                if alone[i]:  # the whole of an identity turns out to be another one
                    identity[(identity == target) | (identity == mine)] = min(target, mine)
                else:
                    identity[at[here]] = target
                touched |= {target, mine} - {0}
                joined = True
            stays = rules.hysteresis if target == mine else 0.0
            result[here], undecided[here], decided = value[i] - stays, False, True
        if joined:
            continue

        lonely = np.flatnonzero((choice < 0) & ~waits & undecided[some])
        ahead = rank[some[lonely]][None, :] < rank[some[lonely]][:, None]
        # Rivals that cannot found leave nothing to join, so nobody waits for them.
        ahead &= (may_found[some[lonely]] | (own[lonely] > 0))[None, :]
        follows = ((pairs[np.ix_(some[lonely], some[lonely])] > 0) & ahead).any(axis=1)
        for i in lonely[~follows][np.argsort(rank[some[lonely[~follows]]])]:
            here = int(some[i])
            if may_found[here] or own[i] > 0:
                identity[at[here]] = next_number()
                result[here] = -float(scores[i].max(initial=-rules.newcomer))
            undecided[here], decided = False, True
        patient = decided
    return np.nan_to_num(result, posinf=-_NEVER, neginf=_NEVER)


def warm_up(*, floors: bool) -> None:
    """Compile, or load what was compiled before, as in `prior`."""
    warm_up_prior(floors=floors)
    _assign(np.zeros((1, 1), np.float32), np.zeros(1))


def _assign(scores: FloatArray, fallback: NDArray[np.float64]) -> tuple[IntArray, FloatArray]:
    """The best answer for all together: column (P,), or -1 for the fallback, and what it is worth."""
    # In one piece each, as the tracker's are: for other layouts `assign` would be compiled once more.
    rows, columns = map(np.ascontiguousarray, np.nonzero(scores > fallback[:, None]))
    gains = scores[rows, columns] - fallback[rows]
    starts = np.searchsorted(rows, np.arange(len(scores) + 1))
    choice = assign((starts, columns, gains), scores.shape[1])
    taken = np.flatnonzero(choice >= 0)
    value = fallback.astype(np.float32)
    value[taken] = scores[taken, choice[taken]]
    return choice, value


def _outbid(
    scores: FloatArray, choice: IntArray, value: FloatArray, forbidden: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whose better answer was given to a tracklet that may be the same person."""
    if not scores.shape[1]:
        return np.zeros(len(scores), np.bool_)
    people = np.arange(len(scores))
    wish = scores.argmax(axis=1)
    holder = np.full(scores.shape[1], -1)
    holder[choice[choice >= 0]] = people[choice >= 0]
    taken = (scores[people, wish] > value + 1e-4) & (holder[wish] >= 0)
    answer: NDArray[np.bool_] = taken & ~forbidden[people, holder[wish]]
    return answer
