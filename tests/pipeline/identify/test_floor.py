"""What places on the floor say, against arithmetic done by scipy and scenes whose truth is plain."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from pipeline import stature
from pipeline.frames import STEP, EventKind, Path, TrackletUpdate
from pipeline.identify import FloorSettings, Ground, Identifier, IdentifySettings, Mapping, Site
from pipeline.identify.floor import Floors
from pipeline.identify.paths import KEPT, Paths
from pipeline.identify.store import GalleryStore

ROOT = FilePath(__file__).parents[3]
ERROR, AREA = 0.25, 150.0
GROUNDS = {name: Ground("floor", ERROR, AREA) for name in ("a", "b", "far")}
FLOOR = FloorSettings(grounds=GROUNDS)
WEAK = Mapping(even=0.5, slope=4.0)
"""Looks that say little: no cosine is worth more than 2 nats."""
SITE = Site(overlapping=frozenset({("a", "b")}))
ANNA, BEN = np.eye(8, dtype=np.float32)[:2]
SPREAD = (0.02, 0.005, 0.03)


def way(*points, start=0.0, stature=0.0):
    """A path with a place in each step from `start` on."""
    times = start + STEP * (np.arange(len(points)) + 0.5)
    spread = np.tile(np.float32(SPREAD), (len(points), 1))
    statures = np.full(len(points), stature, np.float32)
    return Path(times, np.array(points, np.float32), spread, statures)


def walk(identifier, people, *, start=0.0, steps=8, end=(), statures=()):
    """{(camera, id): (look, place at the start, velocity)} for some steps, an update a step."""
    statures = dict(statures)
    for i in range(steps):
        now = start + STEP * (i + 1)
        updates = []
        for (camera, local), (look, place, velocity) in people.items():
            at = np.add(place, np.multiply(velocity, STEP * (i + 0.5)))
            path = way(at, start=start + STEP * i, stature=statures.get((camera, local), 0.0))
            updates.append(
                TrackletUpdate(camera, local, now, look, i + 1, 0.5, since=start, path=path)
            )
        identifier.update(updates, [], now)
    identifier.update([], list(end), start + STEP * steps)


def at_once(paths):
    """What the ways of two rows say, of cameras a and b, that are there at the same time."""
    floors = Floors(FLOOR)
    floors.know(["a", "b"])
    one, other = ((np.array([i]), np.array([i], np.int32)) for i in (0, 1))
    gap, place = np.full((1, 1), np.inf, np.float32), np.full((1, 1), 9, np.float32)
    after, forbidden = np.zeros((1, 1), np.bool_), np.zeros((1, 1), np.bool_)
    floor = floors.judge(paths, one, other, gap, after, place, forbidden, 300.0, 0.0)
    assert place[0, 0] == (9 if np.isnan(floor[0, 0]) else floor[0, 0])
    assert forbidden[0, 0] == (floor[0, 0] < FLOOR.impossible)
    return floor[0, 0]


@pytest.mark.parametrize("away", [(0.0, 0.0), (0.4, 0.1), (3.0, -1.0), (20.0, 5.0)])
def test_two_simultaneous_places_say_what_normal_distributions_say(away):
    paths = Paths()
    paths.write([0, 1], [way((1.0, 2.0)), way(np.add((1, 2), away))], 2)
    got = at_once(paths)
    xx, xy, yy = np.multiply(2, SPREAD)
    spread = np.array([[xx, xy], [xy, yy]]) + 2 * ERROR**2 * np.eye(2)
    same = multivariate_normal.pdf(away, cov=spread) * AREA
    beside = multivariate_normal.pdf(away, cov=spread + 0.9**2 * np.eye(2)) * AREA
    assert got == pytest.approx(np.log((0.95 * same + 0.05) / (0.85 + 0.15 * beside)), abs=1e-4)


def test_many_steps_say_more_than_one_but_not_without_end():
    worth = []
    for count in (1, 4, 30):
        paths = Paths()
        paths.write([0, 1], [way(*[(1.0, 2.0)] * count)] * 2, 2)
        worth.append(at_once(paths))
    assert worth[1] == pytest.approx(worth[0] * 4 / 1.45, rel=1e-6)
    assert worth[2] < worth[0] / 0.15


def test_only_equal_times_are_compared():
    paths = Paths()
    paths.write([0, 1], [way((1, 2), (1, 2)), way((1, 2), start=10 * STEP)], 2)
    assert np.isnan(at_once(paths))


def test_people_who_look_like_each_other_are_told_apart_by_where_they_are():
    # Camera b sees each of the two as the other looks in camera a. They stand six metres apart.
    people = {
        ("a", 1): (ANNA, (2, 2), (0.5, 0)),
        ("a", 2): (BEN, (2, 8), (0.5, 0)),
        ("b", 1): (BEN, (2.1, 2.1), (0.5, 0)),
        ("b", 2): (ANNA, (2.1, 7.9), (0.5, 0)),
    }
    who = {}
    for floor in (FloorSettings(), FLOOR):
        identifier = Identifier(IdentifySettings(mapping=WEAK, site=SITE, floor=floor))
        walk(identifier, people)
        who[len(floor.grounds)] = [identifier.identity_of(*key) for key in people]
    a1, a2, b1, b2 = who[0]
    assert (a1 == b2, a2 == b1, a1 != a2) == (True, True, True)
    a1, a2, b1, b2 = who[3]
    assert (a1 == b1, a2 == b2, a1 != a2) == (True, True, True)


@pytest.mark.parametrize(("metres", "same"), [(2.5, True), (40.0, False)])
@pytest.mark.parametrize("camera", ["a", "far"])
def test_nobody_walks_forty_metres_in_three_seconds(metres, same, camera):
    identifier = Identifier(IdentifySettings(mapping=WEAK, floor=FLOOR))
    # Somebody else founds an identity first, so that joining is not the only thing to do.
    walk(identifier, {("a", 9): (BEN, (2, 15), (0, 0))}, end=[("a", 9)], start=-60)
    walk(identifier, {("a", 1): (ANNA, (2, 2), (0, 0))}, end=[("a", 1)])
    walk(identifier, {(camera, 2): (ANNA, (2 + metres, 2), (0, 0))}, start=8 * STEP + 3)
    assert (identifier.identity_of("a", 1) == identifier.identity_of(camera, 2)) is same


def test_who_turns_out_to_be_elsewhere_is_somebody_else():
    identifier = Identifier(IdentifySettings(mapping=WEAK, site=SITE, floor=FLOOR))
    walk(identifier, {("a", 1): (ANNA, (2, 2), (0.3, 0)), ("b", 1): (ANNA, (2, 2), (0.3, 0))})
    assert identifier.identity_of("a", 1) == identifier.identity_of("b", 1)
    apart = {("a", 1): (ANNA, (3, 2), (1.2, 0)), ("b", 1): (ANNA, (3, 2), (-1.2, 0.5))}
    walk(identifier, apart, start=8 * STEP, steps=25)
    assert identifier.identity_of("a", 1) != identifier.identity_of("b", 1)


def test_a_site_without_floors_is_judged_as_ever(site):
    """Only the score of somebody new may differ: it is against all who came into question, which floors widen."""
    sim = site.simulate(seed=11, people=14, seconds=100)
    strange = FloorSettings(grounds={"elsewhere": Ground("floor", ERROR, AREA)})

    def judged(floor):
        events = site.run(Identifier(IdentifySettings(floor=floor)), sim)
        return [replace(e, score=0.0) if e.kind is EventKind.FOUNDED else e for e in events]

    plain = judged(FloorSettings())
    assert judged(strange) == plain
    for i, (updates, ended, now) in enumerate(sim.ticks):  # in cameras that nothing is known of
        sim.ticks[i] = ([replace(u, path=way((1, 1), start=now)) for u in updates], ended, now)
    assert judged(FloorSettings()) == judged(strange) == plain


@pytest.mark.parametrize("away", [0.0, 0.04, 0.1, 0.3])
def test_statures_say_what_normal_distributions_say(away):
    floors = Floors(FLOOR)
    floors.know(["a", "b"])
    camera = np.array([0, 1], np.int32)
    tall, measured = np.array([1.7, 1.7 + away], np.float32), np.array([5, 20])
    got = floors.build(camera, tall, measured, (camera, tall, measured))
    few = 1 / 5 + 1 / 20
    same = 2 * (stature.RULER * ERROR) ** 2 + few * stature.GLANCE**2
    stray = stature.STRAY + few * stature.STRAY_GLANCE
    one = norm.pdf(away, scale=np.sqrt(same))
    two = norm.pdf(away, scale=np.sqrt(same + 2 * stature.PEOPLE**2))
    assert got[0, 1] == pytest.approx(np.log((1 - stray) * one / two + stray), abs=1e-4)
    assert got[0, 1] == pytest.approx(got[1, 0], abs=1e-6)
    unknown = floors.build(camera, tall, np.array([5, 0]), (camera, tall, measured))
    assert (unknown[1] == 0).all()


def test_people_tell_which_camera_has_a_bad_ruler():
    """A floor that was measured badly must not make everybody somebody else in the other camera."""
    rng = np.random.default_rng(8)
    floors = Floors(FLOOR)
    floors.know(["a", "b"])
    people, wrong = rng.normal(1.7, 0.09, 60).astype(np.float32), np.float32(0.15)
    camera = np.repeat(np.array([0, 1], np.int32), 60)
    tall, measured = np.concatenate([people, people[::-1] + wrong]), np.full(120, 20)
    one = camera[:1], np.float32([1.7]), measured[:1]
    other = camera[-1:], np.float32([1.7]) + wrong, measured[:1]
    alone = floors.build(*one, other)[0, 0]
    who = np.arange(1, 121)
    for heard, believed in (
        (camera >= 0, True),
        (camera == 0, False),  # nobody to compare it with
        (who % 60 < 2, False),  # two people may be tall
    ):
        floors.measure(camera[heard], who[heard], tall[heard], measured[heard])
        assert (floors.build(*one, other)[0, 0] > 0) == believed
    for names, steps in ((0 * who, measured), (who, measured // 5)):  # of nobody, and glances
        floors.measure(camera, names, tall, steps)
        assert floors.build(*one, other)[0, 0] == alone < 0


@pytest.mark.parametrize(("tall", "same"), [(1.66, True), (1.83, False)])
def test_people_in_the_same_clothes_are_told_apart_by_how_tall_they_are(tmp_path, tall, same):
    """Also on the next day, when nothing is known of where they went."""
    store = GalleryStore(tmp_path / "people.db", "grl-edge")
    settings = IdentifySettings(mapping=Mapping(even=0.5, slope=8.0), site=SITE, floor=FLOOR)
    first = Identifier(settings, store)
    walk(first, {("far", 9): (BEN, (2, 2), (0, 0))}, end=[("far", 9)], start=-60)
    one = {("a", 1): (ANNA, (2, 2), (0.5, 0))}
    walk(first, one, end=[("a", 1)], statures={("a", 1): 1.65}, steps=20)
    known = first.identity_of("a", 1)
    assert {p.identity: p.stature for p in first.list()} == {known: 1.65, 1: None}
    first.close()
    again = Identifier(settings, GalleryStore(tmp_path / "people.db", "grl-edge"))
    other = {("far", 1): (ANNA, (2, 2), (0.5, 0))}
    walk(again, other, statures={("far", 1): tall}, steps=20, start=7200.0)
    assert (again.identity_of("far", 1) == known) is same
    again.close()


def test_statures_by_a_floor_that_is_measured_otherwise_now_are_forgotten(tmp_path):
    def opened(**errors):
        grounds = {name: Ground("floor", error, AREA) for name, error in errors.items()}
        settings = IdentifySettings(mapping=WEAK, floor=FloorSettings(grounds=grounds))
        return Identifier(settings, GalleryStore(tmp_path / "people.db", "grl-edge"))

    first = opened(a=0.25, far=0.25)
    seen = {("a", 1): (ANNA, (2, 2), (0, 0)), ("far", 1): (BEN, (9, 2), (0, 0))}
    walk(first, seen, end=list(seen), statures=dict.fromkeys(seen, 1.8), steps=12)
    first.close()
    for errors, told in (
        ({"a": 0.25, "far": 0.25}, [1.8, 1.8]),
        ({"a": 0.3, "far": 0.25}, [None, 1.8]),  # measured anew
        ({"a": 0.25, "far": 0.25}, [None, 1.8]),  # and what is forgotten does not come back
    ):
        run = opened(**errors)
        assert [person.stature for person in run.list()] == told
        run.close()
    floors = Floors(FloorSettings(grounds={"a": Ground("floor", 0.25, AREA)}))
    floors.know(["a", "far"])  # of which there is no floor any more
    tall, measured = np.float32([1.7, 1.9]), np.array([20, 20])
    camera = np.array([0, 1], np.int32)
    assert floors.build(camera, tall, measured, (camera, tall, measured))[0, 1] == 0


def test_a_stature_is_the_median_of_what_was_seen_of_it():
    paths = Paths()
    for step, tall in enumerate((1.7, 0.0, 1.72, 1.1, 1.71, 0.0)):  # once only half of him
        paths.write([0], [way((step, 0), start=step * STEP, stature=tall)], 2)
    tall, measured = paths.stature(np.array([0, 1]))
    assert tall == pytest.approx([1.705, 0.0])
    assert measured.tolist() == [4, 0]
    paths.cut(np.array([0]), np.array([2.9 * STEP]))  # the rest was of somebody else
    assert paths.stature(np.array([0]))[0] == pytest.approx([1.71])


def test_whose_whole_way_was_taken_back_is_known_again_all_the_same():
    """His feet came into view only after the moment from which on it was somebody else."""
    identifier = Identifier(IdentifySettings(floor=FLOOR))

    def tell(camera, local, time, frames, path=None, **more):
        update = TrackletUpdate(camera, local, time, ANNA, frames, 1.0, path=path, **more)
        identifier.update([update], [], time)

    tell("a", 1, 0.5, 9, since=0.0)
    tell("a", 1, 5.0, 20, way(*[(1, 1)] * 6, start=2.0))
    tell("a", 1, 1.0, 9, takes_back=True)
    identifier.update([], [("a", 1)], 6.0)
    tell("far", 1, 9.0, 20, way(*[(1.5, 1.5)] * 5, start=7.0), since=7.0)
    assert identifier.identity_of("far", 1) == identifier.identity_of("a", 1)


def test_nothing_is_left_to_compile_after_the_warm_up():
    """In a process of its own, where no other test has compiled anything."""
    code = """
import numpy as np
from pipeline.identify import FloorSettings, Ground, Identifier, IdentifySettings, warm_up
from pipeline.identify import floor, matcher, prior
from pipeline.frames import STEP, Path, TrackletUpdate
kernels = [prior._weigh, floor._judge, floor._build, matcher.assign]
warm_up(floors=True)
before = [len(kernel.signatures) for kernel in kernels]
calls, draw = [], np.random.default_rng(5)
build = floor._build
floor._build = lambda *what: calls.append(1) or build(*what)
ground = {name: Ground("floor", 0.25, 150.0) for name in "ab"}
who = Identifier(IdentifySettings(floor=FloorSettings(grounds=ground)))
for tick in range(1, 40):
    times = STEP * (tick + np.array([0.5]))
    tall = np.full(1, 1.7, np.float32)
    updates = []
    for camera, local in [("a", tick // 20), ("b", 1), ("b", 2)][: 1 + tick // 5]:
        at = draw.normal(local, 0.1, (1, 2)).astype(np.float32)
        path = Path(times, at, np.full((1, 3), 0.01, np.float32), tall)
        look = np.eye(8, dtype=np.float32)[local]
        updates.append(TrackletUpdate(camera, local, times[0], look, tick, 1.0, path=path))
    who.update(updates, [("a", 0)] if tick == 20 else [], times[0])
print(before, [len(kernel.signatures) for kernel in kernels], len(calls) > 9)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "[1, 1, 1, 1] [1, 1, 1, 1] True", done.stderr


def test_ways_are_remembered_for_a_bounded_time():
    paths = Paths()
    for step in range(100):
        paths.write([3], [way((step, 0), start=step * STEP)], 4)
    assert np.isfinite(paths.times[3]).sum() == KEPT
    assert paths.times[3].min() == pytest.approx((100 - KEPT + 0.5) * STEP)
    assert paths.entry[3, :3] == pytest.approx([0.5 * STEP, 0, 0])
    assert paths.times[3, paths.last[3]] == pytest.approx(99.5 * STEP)
    assert paths.places[3, paths.last[3], :2] == pytest.approx([99, 0])
    paths.move(np.array([0]), np.array([3]))
    paths.clear(np.array([3]))
    assert np.isnan(paths.entry[3]).all()
    assert paths.places[0, paths.last[0], 0] == 99
