"""People on a site: manners, absences, bounds, and the same answer however they are asked."""

from itertools import pairwise

import numpy as np
import pytest

from synthetic import RequestError, World, generate_site, load_site
from synthetic.world import _AWAY, _KEPT


@pytest.fixture(scope="module", params=["plaza", "mall"])
def history(request):
    """Ten minutes of a site, five moments a second."""
    site = load_site(request.param)
    world = World(site, 11)
    return site, world, [world.people_at(k * 0.2) for k in range(3000)]


def test_nobody_walks_through_walls_or_pillars(history):
    site, _, moments = history
    points = np.concatenate([people.position for people in moments])
    for box in site.boxes:
        if box.low[2] < 1.9:
            inside = (points > np.array(box.low[:2]) - 0.05) & (
                points < np.array(box.high[:2]) + 0.05
            )
            assert inside.all(axis=1).mean() < 3e-4
    for pillar in site.pillars:
        if pillar.low < 1.9:
            assert (np.hypot(*(points - pillar.at).T) > pillar.radius).mean() > 1 - 1e-4


def test_people_keep_apart_and_move_smoothly(history):
    _, _, moments = history
    closest = []
    for people in moments[::5]:
        gaps = np.linalg.norm(people.position[:, None] - people.position[None], axis=2)
        closest.append(gaps[np.triu_indices(len(people), 1)].min(initial=9.0))
    assert np.quantile(closest, 0.02) > 0.2
    for before, after in pairwise(moments):
        _, a, b = np.intersect1d(before.ids, after.ids, return_indices=True)
        assert (
            np.linalg.norm(after.position[b] - before.position[a], axis=1).max(initial=0)
            < 0.2 * 2.6
        )


def test_people_leave_and_come_back_after_ten_seconds_to_minutes(history):
    _, _, moments = history
    last, absences = {}, []
    for people in moments:
        assert len(set(people.ids.tolist())) == len(people)
        for person in people.ids.tolist():
            if person in last and people.time - last[person] > 1.0:
                absences.append(people.time - last[person])
            last[person] = people.time
    assert len(absences) >= 5
    assert min(absences) >= 9.0
    assert max(absences) > 30.0


def test_any_moment_is_the_same_however_it_is_reached(history):
    site, world, moments = history
    fresh = World(site, 11)
    for index in (700, 20, 0):
        for source in (world, fresh):
            again = source.people_at(index * 0.2)
            np.testing.assert_array_equal(again.ids, moments[index].ids)
            np.testing.assert_array_equal(again.position, moments[index].position)


def test_what_is_remembered_is_bounded(history):
    site, world, _ = history
    world.people_at(599.0)
    assert len(world._past) <= _KEPT
    assert len(world._away) <= _AWAY
    assert len(world._people) <= site.people


def test_generated_sites_of_any_size_can_be_walked():
    for cameras in (1, 2, 5, 12):
        site = generate_site(cameras, seed=cameras)
        assert len(site.cameras) == cameras
        people = World(site, 1).people_at(20.0)
        assert len(people) > 0
    assert generate_site(3, 8) == generate_site(3, 8)
    assert generate_site(3, 8) != generate_site(3, 9)


def test_times_before_the_beginning_are_refused():
    with pytest.raises(RequestError):
        World(generate_site(1), 1).people_at(-1.0)
