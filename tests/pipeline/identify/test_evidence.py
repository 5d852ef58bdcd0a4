"""Similarity, time and place, and the joint decision, against independent arithmetic."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.stats import lognorm, norm

from pipeline.errors import IdentifyError
from pipeline.frames import TrackletUpdate
from pipeline.identify import IdentifySettings, Mapping, Site, Travel
from pipeline.identify.corrections import merge
from pipeline.identify.exchange import exchange
from pipeline.identify.gallery import Gallery
from pipeline.identify.matcher import Evidence, Rules, settle, weigh
from pipeline.identify.prior import Presence, Prior

MANY = np.array([10**9])


def test_a_cosine_says_what_two_normal_distributions_say():
    cosines = np.linspace(0.2, 0.8, 13, dtype=np.float32)
    expected = norm.logpdf(cosines, 0.7, 0.12) - norm.logpdf(cosines, 0.3, 0.12)
    mapping = Mapping(even=0.5, slope=0.4 / 0.12**2)
    got = mapping(cosines[None].copy(), MANY, np.repeat(MANY, 13))[0]
    np.testing.assert_allclose(got, expected, atol=1e-3)
    # One frame adds as much noise as there is without: both embeddings of one frame treble the variance.
    blurred = mapping(cosines[None].copy(), np.array([1]), np.ones(13, np.int64))[0]
    np.testing.assert_allclose(blurred, expected / 3, atol=1e-3)


def test_who_was_seen_for_a_moment_may_be_less_alike():
    """One against four frames and against very many: a quarter more and none more is made up for."""
    cosines = np.full((1, 3), 0.5, np.float32)
    got = Mapping(even=0.6, slope=10.0, noise=0.0, young=0.16)(
        cosines, np.array([1]), np.array([1, 4, 10**9])
    )
    np.testing.assert_allclose(got, [[2.2, 1.0, 0.6]], atol=1e-5)
    curve = ((0.0, -4.0), (1.0, 4.0))
    got = Mapping(curve=curve, noise=0.0, young=0.16)(
        np.full((1, 1), 0.5, np.float32), np.array([4]), np.array([2])
    )
    np.testing.assert_allclose(got, [[0.96]], atol=1e-5)


def test_no_cosine_is_proof():
    assert Mapping(slope=1000, limit=7)(
        np.array([[1.0, -1.0]], np.float32), MANY, MANY
    ).tolist() == [[7, -7]]


def presence(*rows):
    camera, first, last = zip(*rows, strict=True)
    unknown = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.int64)
    return Presence(
        np.array(camera, np.int32), np.array(first, float), np.array(last, float), *unknown
    )


def test_a_gap_is_weighed_by_the_travel_time_of_its_pair():
    site = Site(travel={("a", "b"): Travel(20.0, 0.5)}, window=600, doubt=0.1, limit=50)
    prior = Prior(site)
    prior.know(["a", "b"])
    for gap in (2.0, 20.0, 90.0):
        b_after_a = prior.weigh(presence((1, 100 + gap, 105 + gap)), presence((0, 50, 100)))
        expected = np.log(0.9 * lognorm.pdf(gap, 0.5, scale=20.0) * 600 + 0.1)
        assert b_after_a.place[0, 0] == pytest.approx(expected, abs=1e-3)
        assert b_after_a.gap[0, 0] == pytest.approx(gap)
        # Asked the other way round, it is the same journey.
        same = prior.weigh(presence((0, 50, 100)), presence((1, 100 + gap, 105 + gap)))
        assert same.place[0, 0] == pytest.approx(expected, abs=1e-3)


def test_time_and_place_that_are_not_known_say_little():
    site = Site()
    prior = Prior(site)
    prior.know(["a", "b"])
    gaps = np.geomspace(0.5, 1e6, 60)
    others = presence(*[(i % 2, -10 - gap, -gap) for i, gap in enumerate(gaps)])
    place = prior.weigh(presence((0, 0, 5)), others).place
    assert place.max() <= 2.0
    assert place.min() >= np.log(0.2) - 1e-6


@pytest.mark.parametrize(
    ("camera", "first", "last", "forbidden"),
    [
        ("a", 5.0, 8.0, True),  # within
        ("a", 9.0, 12.0, True),  # a second of overlap
        ("a", 9.8, 12.0, False),  # less than clocks and trackers may be wrong by
        ("a", 10.5, 12.0, False),
        ("overlaps", 5.0, 8.0, False),
        ("apart", 5.0, 8.0, True),
        ("apart", 9.8, 12.0, False),
        ("unknown", 5.0, 8.0, False),
    ],
)
def test_nobody_is_in_two_places_at_once(camera, first, last, forbidden):
    cameras = ["a", "overlaps", "apart", "unknown"]
    prior = Prior(
        Site(overlapping=frozenset({("overlaps", "a")}), apart=frozenset({("a", "apart")}))
    )
    prior.know(cameras)
    here, there = presence((0, 0, 10)), presence((cameras.index(camera), first, last))
    assert prior.weigh(here, there).forbidden[0, 0] == forbidden
    assert prior.weigh(there, here).forbidden[0, 0] == forbidden


def test_a_site_cannot_contradict_itself():
    with pytest.raises(IdentifyError, match="a and b are said both"):
        Site(overlapping=frozenset({("a", "b")}), apart=frozenset({("b", "a")}))


def decide(scores, forbidden=None):
    """P newcomers, each against K identities of one row. Returns their identities; new ones from 100."""
    people, known = scores.shape
    rows = np.arange(known + people)
    likeness = np.full((people, known + people), -np.inf, np.float32)
    likeness[:, :known] = scores
    ban = np.zeros((people, known + people), np.bool_)
    ban[:, known:] = ~np.eye(people, dtype=bool) if forbidden is None else forbidden
    at = known + np.arange(people)
    evidence = Evidence(
        rows,
        at,
        likeness,
        np.full(likeness.shape, np.inf, np.float32),
        np.zeros_like(likeness),
        ban,
    )
    identity = np.append(np.arange(1, known + 1), np.zeros(people, np.int64))
    numbers = iter(range(100, 200))
    settle(
        evidence,
        identity,
        np.ones(people, np.bool_),
        np.arange(people),
        rules=Rules(newcomer=0.0, focus=1.0, hysteresis=1.0),
        next_number=lambda: next(numbers),
    )
    return identity[known:]


def test_all_are_decided_together_and_not_greedily():
    # Greedy gives identity 1 to the first (9 + 1); together, 8 + 8 is better.
    assert decide(np.array([[9.0, 8.0], [8.0, 1.0]])).tolist() == [2, 1]


def test_the_decision_is_the_best_of_all_there_are():
    rng = np.random.default_rng(5)
    for _ in range(40):
        people, known = rng.integers(1, 5, 2).tolist()
        scores = rng.normal(0, 4, (people, known))
        identity = decide(scores)
        got = sum(scores[i, k - 1] for i, k in enumerate(identity) if k < 100)
        options = list(range(known)) + [None] * people
        best = max(
            sum(scores[i, k] for i, k in enumerate(choice) if k is not None)
            for choice in set(permutations(options, people))
        )
        assert got == pytest.approx(best)
        assert len(set(identity.tolist())) == people


def test_two_views_of_one_person_need_not_share_an_assignment():
    # Two cameras see the same person: both belong to identity 1, though identity 2 is not unlike.
    scores = np.array([[9.0, 2.0], [8.0, 3.0]])
    assert decide(scores, forbidden=np.zeros((2, 2), bool)).tolist() == [1, 1]


def gain(evidence, identity, pair):
    """Nats, against newcomers at 1, for two who change places: counted one by one."""
    others = identity.copy()
    own = others[evidence.at[pair]]
    others[evidence.at[pair]] = 0
    numbers, scores = evidence.toward(pair, others)
    worth = [
        [scores[i, numbers == k][0] - 1.0 if k in numbers else 0.0 for k in own] for i in (0, 1)
    ]
    return worth[0][1] + worth[1][0] - max(worth[0][0], 0) - max(worth[1][1], 0)


def test_after_exchanges_no_two_would_both_be_better_off_in_each_other_s_place():
    """People who are all there at once, each in an identity with some rows of earlier, in random order."""
    rng = np.random.default_rng(6)
    rules = Rules(newcomer=1.0, focus=1.0, hysteresis=1.0)
    changed = 0
    for _ in range(40):
        people, rows = rng.integers(2, 6), rng.integers(6, 16)
        likeness = rng.normal(2, 4, (people, rows + people)).astype(np.float32)
        at = rows + np.arange(people)
        likeness[np.arange(people), at] = -np.inf
        forbidden = np.zeros(likeness.shape, np.bool_)
        forbidden[:, rows:] = ~np.eye(people, dtype=bool)
        forbidden[0, 0] = True  # and one of them was elsewhere at a time of somebody earlier
        gap, place = np.full(likeness.shape, np.inf, np.float32), np.zeros_like(likeness)
        evidence = Evidence(np.arange(rows + people), at, likeness, gap, place, forbidden)
        earlier = rng.integers(1, people + 1, rows)
        identity = np.concatenate([earlier, rng.permutation(people) + 1])
        score = np.zeros(people, np.float32)

        for _ in range(20):
            before = identity.copy()
            exchange(evidence, identity, score, np.ones(people, np.bool_), rules)
            assert sorted(identity[at]) == sorted(before[at])
            if (identity == before).all():
                break
            changed += 1
        pairs = combinations(range(people), 2)
        assert max(gain(evidence, identity, np.array(pair)) for pair in pairs) <= 1.0 + 1e-4
    assert changed > 10


@pytest.mark.parametrize(
    ("at_once", "alike", "one"), [(False, 0.95, True), (True, 0.95, False), (False, 0.3, False)]
)
def test_two_identities_that_look_like_one_become_one_unless_a_rule_forbids_it(at_once, alike, one):
    """Two tracklets each, in cameras a and b; the judgement is about the first tracklet alone."""
    person, other = np.eye(64, dtype=np.float32)[:2]
    second = alike * person + np.sqrt(1 - alike**2) * other
    people = Gallery(64)
    for n, (camera, look, start) in enumerate(
        [
            ("a", person, 0),
            ("b", person, 20),
            ("a", second, 5 if at_once else 40),
            ("b", second, 60),
        ]
    ):
        for moment in (start, start + 10):
            people.write([TrackletUpdate(camera, n, float(moment), look, 16, 1.0)])
    people.assign(np.arange(4), np.array([1, 1, 2, 2]))
    settings, prior = IdentifySettings(), Prior(Site())
    rules = Rules(newcomer=1.0, focus=1.0, hysteresis=1.0)
    evidence = weigh(people, np.array([0]), settings.mapping, prior, rules)
    merge(people, evidence, evidence.rows, settings, prior)
    assert people.table["identity"].tolist() == ([1] * 4 if one else [1, 1, 2, 2])
