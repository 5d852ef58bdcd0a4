"""The whole of it on simulated sites whose truth is known (see conftest)."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import IdentifyError
from pipeline.frames import EventKind, TrackletUpdate
from pipeline.identify import Identifier, IdentifySettings, Site, gallery
from pipeline.identify.sketches import Sketches

SETTINGS = IdentifySettings()


def judged(identifier, site, sim):
    events = site.run(identifier, sim)
    return events, site.final(events)


@pytest.mark.parametrize(
    ("what", "precision", "recall"),
    [
        ({"people": 12}, 0.97, 0.97),
        ({"people": 12, "overlap": False, "breaks": 0.6}, 0.97, 0.93),
        ({"people": 12, "twins": 3}, 0.87, 0.90),
        ({"people": 40}, 0.97, 0.95),
        ({"people": 8, "away": 90.0, "seconds": 600.0}, 0.97, 0.97),
    ],
    ids=["plain", "broken", "lookalikes", "crowd", "long absence"],
)
def test_tracklets_of_one_person_are_linked_and_no_others(site, what, precision, recall):
    figures = []
    for seed in (100, 101):
        sim = site.simulate(seed=seed, **what)
        _, answer = judged(Identifier(SETTINGS), site, sim)
        assert len(answer) > 0.97 * len(sim.truth)
        figures.append(site.links(answer, sim.truth))
    got = np.mean(figures, axis=0)
    assert got[0] >= precision, figures
    assert got[1] >= recall, figures


def test_hard_rules_hold_after_every_tick_and_numbers_are_never_given_twice(site):
    apart = frozenset((f"cam{a}", f"cam{b}") for a in range(4) for b in range(a))
    # Lookalikes on a busy site: appearance alone would break the rules all the time.
    sim = site.simulate(seed=7, people=16, twins=8, seconds=120, overlap=False, breaks=0.5)
    identifier = Identifier(IdentifySettings(site=Site(apart=apart)))
    spans, known, alone = {}, {}, 0
    highest, seen = 0, set()
    for updates, ended, now in sim.ticks:
        events = identifier.update(updates, ended, now)
        for update in updates:
            key = (update.camera, update.local_id)
            spans[key] = (spans.get(key, (now, now))[0], now)
        for event in events:
            known[event.camera, event.local_id] = event.identity
            if event.identity not in seen:
                assert event.identity > highest
                highest = event.identity
                seen.add(event.identity)
        keys = list(known)
        start, end = np.array([spans[key] for key in keys]).reshape(-1, 2).T
        number = np.array([known[key] for key in keys])
        overlap = np.minimum(end[:, None], end) - np.maximum(start[:, None], start)
        at_once = (overlap > 0.5) & (number[:, None] == number) & ~np.eye(len(keys), dtype=bool)
        assert not at_once.any()
        alone += len(keys)
    assert alone > 8_000


def test_the_answer_does_not_depend_on_the_order_of_updates(site):
    sim = site.simulate(seed=3, people=15, seconds=90)
    rng = np.random.default_rng(0)
    straight, shuffled = Identifier(SETTINGS), Identifier(SETTINGS)
    for updates, ended, now in sim.ticks:
        mixed = [updates[i] for i in rng.permutation(len(updates))]
        other = [ended[i] for i in rng.permutation(len(ended))]
        assert straight.update(updates, ended, now) == shuffled.update(mixed, other, now)


def feed(identifier, views, start=0.0, frames=range(1, 9), end=()):
    """Show some tracklets, {(camera, id): vector}, for some frames at 5 a second; all events."""
    events = []
    for i, n in enumerate(frames):
        now = start + 0.2 * i
        updates = [TrackletUpdate(c, k, now, v(n), n, 0.5) for (c, k), v in views.items()]
        events += identifier.update(updates, [], now)
    return events + identifier.update([], list(end), start + 0.2 * len(frames))


def view(vector):
    """A tracklet that always looks the same."""
    return lambda _: np.asarray(vector, np.float32)


def between(a, b, cosine):
    """A unit vector that has a cosine with `a`, turned toward `b`, which is orthogonal to it."""
    return cosine * a + np.sqrt(1 - cosine**2) * b


ANNA, BEN, CLEO, DORA = np.eye(16)[:4]


def test_an_early_mistake_is_corrected():
    identifier = Identifier(SETTINGS)
    feed(identifier, {("hall", 1): view(ANNA)}, end=[("hall", 1)])
    feed(identifier, {("hall", 2): view(BEN)}, start=10, end=[("hall", 2)])
    assert identifier.identity_of("hall", 2) == 2
    # Half hidden at first, Ben looks like Anna.
    looks = {("door", 1): lambda n: between(ANNA, BEN, 0.9) if n <= 5 else between(BEN, ANNA, 0.95)}
    events = feed(identifier, looks, start=20)
    story = [(e.kind, e.identity, e.previous) for e in events]
    assert story == [(EventKind.JOINED, 1, None), (EventKind.CORRECTED, 2, 1)]
    assert identifier.identity_of("door", 1) == 2
    assert [person.first_seen for person in identifier.list()] == [0.0, 10.0]


@pytest.mark.parametrize(("later", "corrected"), [(10.0, True), (500.0, False)])
def test_who_was_taken_for_somebody_known_is_judged_again_once_there_is_somebody_better(
    later, corrected
):
    """Nothing new is seen of the one at the door. He looked somewhat like Anna; then comes Ben."""
    identifier = Identifier(SETTINGS)
    feed(identifier, {("hall", 1): view(ANNA)}, end=[("hall", 1)])
    feed(identifier, {("door", 1): view(between(BEN, ANNA, 0.8))}, start=5, end=[("door", 1)])
    assert identifier.identity_of("door", 1) == 1
    events = feed(identifier, {("hall", 2): view(BEN)}, start=5 + later, frames=range(1, 17))
    story = [(e.kind, e.identity, e.previous) for e in events if e.camera == "door"]
    assert story == ([(EventKind.CORRECTED, 2, 1)] if corrected else [])
    assert all(e.time >= 5 + later for e in events), "told when it is known, not when he was seen"
    assert identifier.identity_of("hall", 2) == 2


def test_two_companions_who_were_taken_for_each_other_change_places():
    """They dress alike and come together: whoever is in the wrong place stands where the other belongs."""
    identifier = Identifier(SETTINGS)
    twin = between(ANNA, BEN, 0.75)
    together = {("hall", 1): view(ANNA), ("hall", 2): view(twin)}
    feed(identifier, together, end=list(together))
    assert [identifier.identity_of("hall", n) for n in (1, 2)] == [1, 2]
    early, late = range(1, 9), range(9, 41)
    looks = {("door", 1): view(twin), ("door", 2): view(ANNA)}
    feed(identifier, looks, start=10, frames=early)
    assert [identifier.identity_of("door", n) for n in (1, 2)] == [2, 1]
    looks = {("door", 1): view(ANNA), ("door", 2): view(twin)}
    events = feed(identifier, looks, start=12, frames=late)
    assert [identifier.identity_of("door", n) for n in (1, 2)] == [1, 2]
    story = {(e.kind, e.local_id, e.identity, e.previous) for e in events}
    assert story == {(EventKind.CORRECTED, 1, 1, 2), (EventKind.CORRECTED, 2, 2, 1)}
    assert len(identifier.list()) == 2


def test_second_thoughts_are_bounded_and_everybody_has_his_turn(monkeypatch):
    monkeypatch.setattr("pipeline.identify.identifier._COMPARISONS", 60)
    rng = np.random.default_rng(4)
    identifier = Identifier(IdentifySettings(again=2.0))
    crowd = {("a", i): view(look) for i, look in enumerate(rng.normal(size=(20, 64)))}
    feed(identifier, crowd, end=list(crowd))
    judged = identifier.counts.judged
    thoughts = []
    for second in range(20):
        before = identifier.counts.judged
        identifier.update([], [], 3.0 + second)
        thoughts.append(identifier.counts.judged - before)
    assert thoughts == [3, 0] * 10, "sixty comparisons with a gallery of twenty, every two seconds"
    assert identifier.counts.judged - judged == 30
    assert len(identifier.list()) == 20


def test_one_person_in_two_overlapping_cameras_at_one_tick_is_one_identity():
    identifier = Identifier(SETTINGS)
    looks = {("a", 1): view(ANNA), ("b", 1): view(between(ANNA, BEN, 0.9)), ("b", 2): view(CLEO)}
    events = feed(identifier, looks)
    assert {(e.camera, e.local_id): (e.kind, e.identity) for e in events} == {
        ("a", 1): (EventKind.FOUNDED, 1),
        ("b", 1): (EventKind.JOINED, 1),
        ("b", 2): (EventKind.FOUNDED, 2),
    }


def test_a_broken_tracklet_finds_its_own_past_which_looks_alone_would_not():
    looks = view(between(ANNA, BEN, 0.55))  # next to no evidence: 0.5 says nothing
    answers = []
    for gap in (2.0, 2000.0):
        identifier = Identifier(SETTINGS)
        feed(identifier, {("a", 1): view(ANNA)}, end=[("a", 1)])
        feed(identifier, {("a", 2): looks}, start=1.6 + gap)
        answers.append(identifier.identity_of("a", 2))
    assert answers == [1, 2]


def test_a_full_gallery_does_not_hide_who_was_here_a_minute_ago():
    """1000 people of yesterday must not make the one who left just now harder to know again…"""
    rng = np.random.default_rng(0)
    crowd = rng.normal(size=(1000, 256)).astype(np.float32)
    anna, other = np.linalg.qr(rng.normal(size=(256, 2)))[0].T
    joined = {}
    for seen in (0.0, 50_000.0):
        identifier = Identifier(SETTINGS)
        past = {("a", 10 + i): view(look) for i, look in enumerate(crowd)}
        feed(identifier, past, frames=range(4, 5), end=list(past))
        feed(identifier, {("a", 1): view(anna)}, start=seen, end=[("a", 1)])
        assert len(identifier.list()) == 1001
        feed(identifier, {("b", 1): view(between(anna, other, 0.75))}, start=50_030.0)
        joined[seen] = identifier.identity_of("b", 1) == identifier.identity_of("a", 1)
    # …while among 1000 strangers of a day, as much resemblance is no more than chance.
    assert joined == {0.0: False, 50_000.0: True}


def test_two_identities_that_turn_out_to_be_one_become_the_older():
    identifier = Identifier(SETTINGS)
    feed(identifier, {("a", 1): view(ANNA)}, end=[("a", 1)])
    # Two tracklets, unlike Anna while far away, make an identity of their own…
    far = between(ANNA, BEN, 0.2)
    growing = {
        key: lambda n: far if n < 16 else between(ANNA, CLEO, 0.97) for key in (("b", 1), ("c", 1))
    }
    feed(identifier, growing, start=10)
    assert identifier.identity_of("b", 1) == identifier.identity_of("c", 1) == 2
    # …until they come near.
    events = feed(identifier, growing, start=12, frames=range(9, 18))
    assert {(e.camera, e.kind, e.identity, e.previous) for e in events} == {
        ("b", EventKind.CORRECTED, 1, 2),
        ("c", EventKind.CORRECTED, 1, 2),
    }
    assert [person.identity for person in identifier.list()] == [1]
    # Number 2 is spent.
    feed(identifier, {("a", 9): view(DORA)}, start=20)
    assert identifier.identity_of("a", 9) == 3


def test_new_evidence_unseats_whoever_is_in_two_places():
    identifier = Identifier(SETTINGS)
    feed(identifier, {("a", 1): view(ANNA)})
    # Tracklet 1 is not seen for a while, so tracklet 2 may well be its continuation…
    feed(identifier, {("a", 2): view(between(ANNA, BEN, 0.9))}, start=3)
    assert identifier.identity_of("a", 2) == 1
    # …but then there it is, beside the other.
    update = TrackletUpdate("a", 1, 5.0, ANNA.astype(np.float32), 9, 0.5)
    (event,) = identifier.update([update], [], 5.0)
    assert (event.kind, event.local_id, event.identity, event.previous) == (
        EventKind.CORRECTED,
        2,
        2,
        1,
    )


def test_tracklets_are_tentative_until_worth_judging():
    identifier = Identifier(SETTINGS)
    assert feed(identifier, {("a", 1): view(ANNA)}, frames=range(1, 4)) == []
    assert identifier.identity_of("a", 1) is None
    (event,) = feed(identifier, {("a", 1): view(ANNA)}, start=1, frames=range(4, 5))
    assert (event.kind, event.identity) == (EventKind.FOUNDED, 1)
    # A flicker of one frame founds nobody, yet may be somebody known; two frames that ended suffice.
    blips = {("a", 2): view(BEN), ("b", 1): view(ANNA)}
    events = feed(identifier, blips, start=3, frames=range(1, 2), end=list(blips))
    assert [(e.kind, e.camera, e.identity) for e in events] == [
        (EventKind.JOINED, "b", 1),
        (EventKind.LEFT, "b", 1),
    ]
    feed(identifier, {("a", 3): view(BEN)}, start=9, frames=range(1, 3), end=[("a", 3)])
    assert identifier.identity_of("a", 3) == 2


def test_embeddings_that_are_no_use_are_counted_and_change_nothing():
    identifier = Identifier(SETTINGS)
    feed(identifier, {("a", 1): view(ANNA)})
    for bad in (np.full(16, np.nan), np.where(ANNA, np.inf, 0), np.zeros(16)):
        assert feed(identifier, {("a", 1): view(bad), ("a", 7): view(bad)}, 5, [9]) == []
    assert identifier.counts.refused == 6
    assert identifier.identity_of("a", 7) is None
    assert [m.identity for m in identifier.find(ANNA)] == [1]
    with pytest.raises(IdentifyError, match=r"shape \(512,\).* have 16 values"):
        feed(identifier, {("a", 1): view(np.ones(512))})


def test_find_list_and_forget():
    identifier = Identifier(SETTINGS)
    looks = {("a", 1): view(ANNA), ("b", 1): view(between(BEN, ANNA, 0.8)), ("c", 1): view(BEN)}
    feed(identifier, looks, end=[("a", 1)])
    first, second = identifier.find(5 * ANNA, k=2)
    assert (first.identity, second.identity) == (1, 2)
    assert first.similarity == pytest.approx(1, abs=1e-6)
    assert second.similarity == pytest.approx(0.6, abs=1e-6)
    assert first.score > second.score
    assert [(p.identity, p.cameras, p.tracklets, p.live) for p in identifier.list()] == [
        (1, ("a",), 1, False),
        (2, ("b", "c"), 2, True),
    ]
    assert (identifier.list()[0].first_seen, identifier.list()[0].last_seen) == (
        0.0,
        pytest.approx(1.4),
    )
    assert identifier.forget(1)
    assert not identifier.forget(1)
    assert [m.identity for m in identifier.find(ANNA)] == [2]
    with pytest.raises(IdentifyError, match="16 finite values"):
        identifier.find(np.ones(3))


def test_what_is_old_is_forgotten_and_its_number_is_not_reused():
    identifier = Identifier(IdentifySettings(retention=100.0))
    feed(identifier, {("a", 1): view(ANNA)}, end=[("a", 1)])
    feed(identifier, {("a", 2): view(BEN)}, start=60, end=[("a", 2)])
    feed(identifier, {("a", 3): view(ANNA)}, start=140)
    assert identifier.identity_of("a", 1) is None
    assert identifier.identity_of("a", 3) == 3
    assert [p.identity for p in identifier.list()] == [2, 3]


def test_a_clock_that_leaps_forgets_nobody(caplog):
    identifier = Identifier(IdentifySettings(retention=100.0))
    feed(identifier, {("a", 1): view(ANNA)})
    (left,) = identifier.update([], [("a", 1)], 1.7e9)
    assert (left.kind, left.time) == (EventKind.LEFT, pytest.approx(1.4))
    assert [p.identity for p in identifier.list()] == [1]
    assert "the clock leapt by 1699999998 s" in caplog.text
    identifier.update([], [], 1.7e9 + 5)  # somebody has time to set it right…
    assert identifier.count == 1
    identifier.update([], [], 1.7e9 + 15)  # …and if nobody does, it is right
    assert identifier.count == 0


def test_an_identity_keeps_the_tracklets_that_differ_most():
    identifier = Identifier(IdentifySettings(rows_per_identity=4))
    look = {camera: between(ANNA, np.eye(16)[4 + i], 0.9) for i, camera in enumerate("abc")}
    for i in range(30):
        camera = "abc"[0 if i not in {4, 9} else 1 + (i == 9)]  # b and c are seen only once
        key = (camera, i)
        feed(identifier, {key: view(look[camera])}, start=10.0 * i, end=[key])
    (person,) = identifier.list()
    assert person.cameras == ("a", "b", "c")
    assert person.tracklets == 4
    assert person.first_seen == 0.0
    assert person.last_seen == pytest.approx(291.4)


def test_memory_stays_flat_over_200_000_updates_with_churn(capsys):
    """Fifty people at a time, another fifty every 80 ticks, for ever."""
    rng = np.random.default_rng(0)
    identifier = Identifier(IdentifySettings(rows=600, retention=120.0, rows_per_identity=4))
    looks = rng.normal(size=(400, 64)).astype(np.float32)
    resident, objects, people = [], [], []
    began = time.process_time()
    for tick in range(4000):
        now = tick * 0.2
        generation, frames = divmod(tick, 80)
        ids = range(50 * generation, 50 * generation + 50)
        batch = [TrackletUpdate("a", i, now, looks[i % 400], frames + 1, 0.5) for i in ids]
        ended = [("a", i - 50) for i in ids] if frames == 0 else []
        identifier.update(batch, ended, now)
        if frames == 79:
            del batch
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
            objects.append(sys.getallocatedblocks())
            people.append(len(identifier.list()))
    spent = time.process_time() - began
    with capsys.disabled():
        sys.stdout.write(f" [{1e6 * spent / 200_000:.1f} µs an update] ")
    assert max(people) == 400  # 400 looks, so nobody is ever confused and everybody comes back
    warm = len(objects) // 2
    assert max(objects[warm:]) - max(objects[10:warm]) < 500
    assert max(resident[warm:]) - max(resident[10:warm]) < 8e6  # a look kept of each update: 25 MB


def test_whatever_comes_in_the_table_agrees_with_the_events_that_went_out():
    """Jumping clocks, repeated, late and unknown tracklets, rows coming and going all the time."""
    rng = np.random.default_rng(4)
    looks = rng.normal(size=(30, 24)).astype(np.float32)
    identifier = Identifier(IdentifySettings(retention=20, rows=60, rows_per_identity=3))
    said, frames, live, ids = {}, {}, set(), 0
    for tick in range(600):
        now = tick * 0.3 + rng.choice([0, 0, 0, -5, 5])
        for _ in range(rng.integers(0, 4)):
            ids += 1
            live.add((f"cam{rng.integers(3)}", ids))
        some = [key for key in sorted(live) if rng.random() < 0.8]
        for key in some:
            frames[key] = frames.get(key, 0) + 1
        late = [key for key in sorted(frames) if key not in live and rng.random() < 0.01]
        updates = [TrackletUpdate(*key, now, looks[key[1] % 30], frames[key], 0.5) for key in some]
        updates += updates[:3]
        ended = [key for key in sorted(live) if rng.random() < 0.08]
        live -= set(ended)
        for event in identifier.update(updates, [*ended, ("cam0", -1), *ended[:2], *late], now):
            said[event.camera, event.local_id] = event.identity
        for key in frames:
            answer = identifier.identity_of(*key)
            assert answer is None or answer == said[key]
        people = identifier.list()
        assert sum(person.tracklets for person in people) <= 60
        assert sum(person.live for person in people) <= len(live)
    assert sum(identifier.identity_of(*key) is not None for key in live) > 0.5 * len(live)


def test_a_gallery_too_large_to_compare_with_all_of_it_gives_nearly_the_same_answers(
    site, monkeypatch
):
    """Sketches of one row in ten of a large gallery let the right ones through."""
    sim = site.simulate(seed=100, people=60, away=90.0, seconds=400.0, size=256)
    once = IdentifySettings(
        again=1e9
    )  # many questions at once would be let through to half of so few
    exact, answer = site.links(judged(Identifier(once), site, sim)[1], sim.truth), None
    monkeypatch.setattr(gallery, "EXACT", 50)
    monkeypatch.setattr(gallery, "SHORTLIST", 30)
    monkeypatch.setattr(gallery, "SHORTEST", 15)
    monkeypatch.setattr(gallery, "MOMENT", 5.0)
    asked, compared = [], []
    everything = gallery.Gallery.worth_comparing

    def noted(self, due):
        some = everything(self, due)
        if some is not None:
            asked.append(len(self))
            compared.append(len(some))
        return some

    monkeypatch.setattr(gallery.Gallery, "worth_comparing", noted)
    answer = judged(Identifier(once), site, sim)[1]
    assert np.sum(compared) < 0.5 * np.sum(asked)
    got = site.links(answer, sim.truth)
    assert got[0] > exact[0] - 0.02
    assert got[1] > exact[1] - 0.05


def test_sketches_follow_rows_that_move(site):
    rng = np.random.default_rng(3)
    looks = rng.standard_normal((300, 96)).astype(np.float32)
    people = gallery.Gallery(96, room=4)
    people.write(TrackletUpdate("a", n, 0.0, looks[n], 4, 1.0) for n in range(300))
    people.remove(np.arange(0, 300, 3))
    sketches = people._sketches
    fresh = Sketches(96, 300)
    fresh.write(np.arange(len(people)), people.looks)
    np.testing.assert_allclose(sketches._rows[: len(people)], fresh._rows[: len(people)], atol=1e-6)
    for row in (0, 57, 199):
        assert row in sketches.nearest(np.array([row]), len(people), 3)
