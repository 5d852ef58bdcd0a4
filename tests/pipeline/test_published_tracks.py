"""Files of tracks: plain MOT text that holds what is known by now."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.frames import Detections, EventKind, IdentityEvent
from pipeline.publish import TrackFiles
from tests.pipeline.sightings import event, sighting


def rows(folder, camera="hall"):
    return [line.split(",") for line in (folder / f"{camera}.txt").read_text().splitlines()]


def named(folder, camera="hall"):
    """(frame, identity) of each row, sorted."""
    return sorted((int(row[0]), int(row[1])) for row in rows(folder, camera))


def at(index, people):
    """A sighting of people by their left edges: local id → (identity, left)."""
    one = sighting(index, {local: identity for local, (identity, _) in people.items()})
    for box, (_, left) in zip(one.tracks.boxes, people.values(), strict=True):
        box[:] = [left, 80, left + 30, 180]
    return one


def lefts(folder, identity):
    """frame → (left edge, confidence) of one identity."""
    mine = [row for row in rows(folder) if int(row[1]) == identity]
    return {int(row[0]): (float(row[2]), float(row[6])) for row in mine}


def test_a_row_is_exactly_mot_text(tmp_path):
    files = TrackFiles(tmp_path)
    files.sighting(sighting(0, {4: 17}))
    files.close()
    assert (tmp_path / "hall.txt").read_text() == "1,17,10.0,80.0,30.0,100.0,0.750,-1,-1,-1\n"


def test_rows_wait_for_their_identity_and_corrections_hold_from_the_beginning(tmp_path):
    files = TrackFiles(tmp_path)
    files.sighting(sighting(0, {1: 0, 2: 0}))
    files.sighting(sighting(1, {1: 0, 2: 0}))
    assert named(tmp_path) == [], "nobody is known yet"
    files.events([event("founded", 5, 1)])
    files.sighting(sighting(2, {1: 5, 2: 0}))
    files.events([event("corrected", 3, 1, previous=5)])
    files.sighting(sighting(4, {1: 3, 2: 0}))
    files.events([event("joined", 8, 2), event("left", 8, 2)])
    files.ended([("hall", 2)])
    files.close()
    assert named(tmp_path) == [(n, identity) for n in (1, 2, 3, 4, 5) for identity in (3, 8)]
    assert files.unnamed == 0


def test_nobody_is_in_a_frame_twice(tmp_path):
    files = TrackFiles(tmp_path)
    files.sighting(sighting(0, {1: 7, 2: 7, 3: 0}))
    files.sighting(sighting(1, {1: 0, 3: 0}))
    files.events([event("joined", 7, 3), event("joined", 7, 1)])
    files.close()
    assert named(tmp_path) == [(1, 7), (2, 7)]
    assert files.unnamed == 3


def test_rows_wait_within_bounds_and_are_still_unique(tmp_path):
    """Somebody waits for 3000 frames in which somebody else already has the identity he gets."""
    files = TrackFiles(tmp_path)
    for index in range(3000):
        shown = {1: 7} if index % 3 else {1: 7, 2: 0}
        files.sighting(sighting(index, shown, size=(8, 8)))
    files.events([event("joined", 7, 2)])
    files.sighting(sighting(3000, {2: 7}, size=(8, 8)))
    files.close()
    assert named(tmp_path) == [(frame, 7) for frame in range(1, 3002)]
    assert files.unnamed == 1000


def test_a_correction_reaches_the_rows_on_disk_as_far_as_memory_goes(tmp_path):
    files = TrackFiles(tmp_path, reach=40)
    for index in range(100):
        files.sighting(sighting(index, {1: 5, 2: 6}, size=(8, 8)))
    assert len(named(tmp_path)) == 200, "on disk already"
    files.events([event("corrected", 4, 1, previous=5)])
    for index in range(100, 130):
        files.sighting(sighting(index, {2: 6}, size=(8, 8)))
    before = named(tmp_path)
    assert [identity for frame, identity in before if frame <= 60] == [5, 6] * 60
    assert [identity for frame, identity in before if 60 < frame <= 100] == [4, 6] * 40
    files.close()
    lines = rows(tmp_path)
    assert len(lines) == 230
    assert [int(row[0]) for row in lines] == sorted(int(row[0]) for row in lines)


def test_who_was_overlooked_for_a_moment_is_filled_in_without_confidence(tmp_path):
    """Half a second, dropped frames among it; more than three seconds are left open."""
    files = TrackFiles(tmp_path)
    for index, left in ((0, 10.0), (2, None), (3, None), (5, 60.0), (20, None), (36, 200.0)):
        files.sighting(at(index, {} if left is None else {1: (9, left)}))
    files.close()
    assert lefts(tmp_path, 9) == {
        1: (10, 0.75),
        2: (20, 0),
        3: (30, 0),
        4: (40, 0),
        5: (50, 0),
        6: (60, 0.75),
        37: (200, 0.75),
    }


def test_dropped_frames_are_filled_in_whoever_he_turns_out_to_be(tmp_path):
    """A loop that looks at every third frame only, and learns late, twice, and both times anew."""
    files = TrackFiles(tmp_path, reach=91)
    for index in range(0, 151, 3):
        files.sighting(at(index, {1: (0, 10.0 + index)} if index % 60 else {}))
        if index == 75:
            files.events([event("founded", 5, 1)])
        if index == 120:
            files.events([event("corrected", 4, 1, previous=5)])
    files.close()
    numbers = [int(row[0]) for row in rows(tmp_path)]
    assert numbers == [*range(4, 152)], "in order, and nobody twice"
    assert {frame: left for frame, (left, _) in lefts(tmp_path, 4).items()} == {
        number: pytest.approx(9 + number, abs=0.06) for number in range(31, 152)
    }
    assert sorted(lefts(tmp_path, 5)) == [*range(4, 31)], "as far as memory goes"


def test_who_was_hidden_and_came_back_as_another_tracklet_is_filled_in_once_he_is_known(tmp_path):
    """Nobody knows at first who tracklet 2 is; when that is corrected, what was filled in goes again."""
    files = TrackFiles(tmp_path)
    for index in range(60):
        seen = {1: (9, 10.0)} if index < 10 else {}
        seen |= {2: (0, 50.0)} if index >= 30 else {}
        files.sighting(at(index, seen))
    files.ended([("hall", 1)])
    assert 15 not in lefts(tmp_path, 9)
    files.events([event("joined", 9, 2)])
    for index in range(60, 90):
        files.sighting(at(index, {2: (9, 50.0)}))
    filled = lefts(tmp_path, 9)
    assert filled[16] == (pytest.approx(10 + 40 * 6 / 21, abs=0.06), 0)
    assert sorted(filled) == list(range(1, max(filled) + 1))
    files.events([event("corrected", 4, 2, previous=9)])
    files.close()
    assert sorted(lefts(tmp_path, 9)) == list(range(1, 11))
    assert sorted(lefts(tmp_path, 4)) == list(range(31, 91))


def test_who_comes_back_far_away_did_not_walk_there_behind_something(tmp_path):
    files = TrackFiles(tmp_path)
    for index, left in ((0, 10.0), (10, None), (20, 500.0)):
        files.sighting(at(index, {} if left is None else {1: (9, left)}))
    files.close()
    assert sorted(lefts(tmp_path, 9)) == [1, 21]


def with_spare(one, *spare):
    """The same sighting, and boxes that nobody was followed by: their left edges and scores."""
    boxes = np.array([[left, 80, left + 30, 180] for left, _ in spare], np.float32).reshape(-1, 4)
    found = Detections(boxes, np.array([score for _, score in spare], np.float32))
    return replace(one, tracks=replace(one.tracks, spare=found))


def walks(index, known, spare=()):
    """Somebody goes 4 pixels a frame to the right; `known` is his identity, None while he is not followed."""
    left = 10.0 + 4 * index
    seen = {} if known is None else {1: (known, left)}
    return with_spare(at(index, seen), *[(left + aside, score) for aside, score in spare])


def test_doubtful_boxes_on_the_way_to_somebody_are_his_once_he_is_known(tmp_path):
    """Not those that lie elsewhere, nor those that are hardly boxes, nor any beyond a second without one."""
    files = TrackFiles(tmp_path)
    for index in range(40):
        spare = {
            2: [(0, 0.5)],
            12: [(1, 0.45), (60, 0.6)],
            13: [(0, 0.3)],
            14: [(-1, 0.6)],
        }.get(index, [])
        files.sighting(walks(index, None if index < 16 else 0, spare))
    assert lefts(tmp_path, 9) == {}
    files.events([event("founded", 9, 1)])
    files.close()
    found = lefts(tmp_path, 9)
    assert sorted(found) == list(range(13, 41)), "frames count from 1"
    assert found[13] == (pytest.approx(59), pytest.approx(0.45))
    assert found[14] == (pytest.approx(62, abs=0.1), 0), "between two looks, as ever"
    assert found[15] == (pytest.approx(65), pytest.approx(0.6))


def test_doubtful_boxes_fill_a_gap_as_they_lie_and_lead_on_from_whoever_is_gone(tmp_path):
    files = TrackFiles(tmp_path)
    for index in range(30):
        lost = index in (5, 6) or index >= 20
        spare = {5: [(3, 0.5)], 20: [(0, 0.5)], 21: [(0, 0.45)], 22: [(0, 0.2)]}.get(index, [])
        files.sighting(walks(index, None if lost else 9, spare))
    before = lefts(tmp_path, 9)
    files.ended([("hall", 1)])
    files.close()
    found = lefts(tmp_path, 9)
    assert max(before) == 20
    assert max(found) == 22
    assert found[6] == (pytest.approx(33), pytest.approx(0.5))
    assert found[7] == (pytest.approx((33 + 38) / 2, abs=0.1), 0)


def test_a_doubtful_box_is_of_one_person_and_not_of_one_who_is_followed_anyway(tmp_path):
    """Two walk abreast 20 pixels apart; a doubtful box on the first of them, then one for both."""
    files = TrackFiles(tmp_path)
    for index in range(12):
        left = 10.0 + 4 * index
        seen = {1: (7, left)} if index < 4 else {1: (7, left), 2: (0, left + 20)}
        spare = {2: [(left + 3, 0.6)], 3: [(left + 14, 0.6)]}.get(index, [])
        files.sighting(with_spare(at(index, seen), *spare))
    files.events([event("founded", 8, 2)])
    files.ended([("hall", 1), ("hall", 2)])
    files.close()
    assert sorted(lefts(tmp_path, 8)) == list(range(4, 13))
    assert lefts(tmp_path, 7) == {n + 1: (10 + 4 * n, 0.75) for n in range(12)}


def test_who_is_named_when_his_first_frame_has_just_settled_has_the_others(tmp_path):
    files = TrackFiles(tmp_path, reach=4)
    for index in range(5):
        files.sighting(walks(index, 0 if index in (0, 4) else None, [(0, 0.6)] * (index == 3)))
    files.events([event("founded", 9, 1)])
    files.close()
    assert lefts(tmp_path, 9) == {4: (22, 0.6), 5: (26, 0.75)}


def test_what_was_his_in_hindsight_is_forgotten_with_him(tmp_path):
    files = TrackFiles(tmp_path)
    for index in range(30):
        spare = [(0, 0.5)] if index in (3, 4) else []
        files.sighting(walks(index, None if index < 5 else 9, spare))
    assert {4, 5} <= set(lefts(tmp_path, 9))
    files.events([IdentityEvent(EventKind.FORGOTTEN, 9, "", 0, 10.0, 0.0)])
    files.close()
    assert rows(tmp_path) == []


def test_the_forgotten_leave_the_rows_on_disk_and_in_memory(tmp_path):
    files = TrackFiles(tmp_path, reach=30)
    for index in range(100):
        files.sighting(sighting(index, {1: 5, 2: 6, 3: 0}, size=(8, 8)))
    files.events([IdentityEvent(EventKind.FORGOTTEN, 5, "", 0, 10.0, 0.0)])
    assert 5 not in {identity for _, identity in named(tmp_path)}
    for index in range(100, 150):
        files.sighting(sighting(index, {1: 0 if index < 120 else 7, 2: 6, 3: 0}, size=(8, 8)))
    files.close()
    found = named(tmp_path)
    assert [frame for frame, identity in found if identity == 6] == list(range(1, 151))
    assert [frame for frame, identity in found if identity == 7] == list(range(101, 151))
    assert {identity for _, identity in found} == {6, 7}
    assert not (tmp_path / ".txt").exists(), "the event names no camera"


def test_who_is_never_named_is_counted_and_who_sees_nobody_leaves_an_empty_file(tmp_path):
    files = TrackFiles(tmp_path)
    files.sighting(sighting(0, {1: 0}))
    files.sighting(sighting(1, {1: 0}))
    files.sighting(sighting(0, {}, camera="court"))
    files.ended([("hall", 1)])
    files.close()
    assert files.unnamed == 2
    assert (tmp_path / "court.txt").read_text() == (tmp_path / "hall.txt").read_text() == ""


def test_local_ids_of_different_cameras_are_different_people(tmp_path):
    files = TrackFiles(tmp_path)
    files.sighting(sighting(0, {1: 0}))
    files.sighting(sighting(0, {1: 0}, camera="court"))
    files.events([event("founded", 2, 1, camera="court")])
    files.close()
    assert (named(tmp_path), named(tmp_path, "court")) == ([], [(1, 2)])
