"""The tracker on scenes whose right answer is plain, and on MOT17 against what its peers reach."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation import evaluate
from pipeline.frames import Detections
from pipeline.mot_text import parse, read_truth
from pipeline.track import Tracker, TrackerSettings

DATA = Path(os.environ.get("REID_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))

SIZE = (1920, 1080)


def seen(*people, score=0.9):
    """Detections of 40×100 people whose feet stand at these points."""
    x, y = np.array(people, np.float32).reshape(-1, 2).T
    boxes = np.stack([x - 20, y - 100, x + 20, y], axis=1)
    return Detections(boxes, np.full(len(boxes), score, np.float32))


def at(tracks, x):
    """The id of the track that stands at x."""
    centres = tracks.boxes[:, [0, 2]].mean(axis=1)
    return int(tracks.ids[np.argmin(np.abs(centres - x))])


def test_the_first_look_is_shown_with_its_own_box_and_score():
    detections = seen((100, 300), (400, 300))
    tracks = Tracker(SIZE).update(detections, 5.0)
    np.testing.assert_array_equal(tracks.boxes, detections.boxes)
    np.testing.assert_array_equal(tracks.scores, detections.scores)
    assert tracks.ids.tolist() == [1, 2]
    assert tracks.ages.tolist() == [0, 0]


def test_two_people_who_walk_past_each_other_keep_their_ids():
    tracker, times = Tracker(SIZE), np.arange(0, 4, 0.08)
    for t in times:
        tracks = tracker.update(seen((100 + 100 * t, 300), (500 - 100 * t, 312)), t)
        if t == 0:
            first, second = at(tracks, 100), at(tracks, 500)
    assert at(tracks, 100 + 100 * times[-1]) == first
    assert at(tracks, 500 - 100 * times[-1]) == second
    assert tracks.ages[0] == pytest.approx(times[-1], abs=1e-4)


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.25])
def test_a_frame_rate_that_stutters_breaks_nothing(kept):
    draw = np.random.default_rng(4)
    tracker, ids = Tracker(SIZE), set()
    for t in np.arange(0, 8, 0.04):
        if draw.random() < kept:
            ids |= set(tracker.update(seen((100 + 90 * t, 300), (180 + 90 * t, 300)), t).ids)
    assert ids == {1, 2}


def test_a_very_slow_camera_is_followed_too():
    tracker, ids = Tracker(SIZE), set()
    for t in range(0, 60, 2):
        ids |= set(tracker.update(seen((500 + 8 * np.sin(t), 300), (900, 300)), t).ids)
    assert ids == {1, 2}


def test_a_planter_is_not_shown_for_long_but_whoever_stands_still_is():
    """Both are taken for people at first; one stays doubtful, though a box strays. Then it walks away after all."""
    tracker, shown = Tracker(SIZE), {1: [], 2: []}
    for t in np.arange(0, 12, 0.1):
        sway = 3 * np.sin(5 * t)
        walked = 60 * max(t - 10, 0) + 18 * (abs(t - 7) < 0.01)
        people = seen((300 + sway, 300), (900 + sway + walked, 300))
        people.scores[1] = 0.75 if t < 0.3 else 0.35
        tracks = tracker.update(people, t)
        for track in tracks.ids.tolist():
            shown[track].append(t)
        assert not len(tracks.spare), "nobody's way leads over a planter"
    assert len(shown[1]) == 120
    until = [t for t in shown[2] if t < 10]
    assert until[-1] == pytest.approx(5.2, abs=0.2), "as soon as its mean score has fallen"
    again = [t for t in shown[2] if t > 10]
    assert again[0] == pytest.approx(10.5, abs=0.11)
    assert again[-1] > 11.8


def test_a_planter_of_which_the_detector_becomes_sure_is_somebody():
    tracker = Tracker(SIZE)
    shown = []
    for t in np.arange(0, 16, 0.1):
        doubtful = 0.3 < t < 8
        shown.append(len(tracker.update(seen((300, 300), score=0.3 if doubtful else 0.9), t)))
    assert shown[68:80] == [0] * 12
    assert shown[-60:] == [1] * 60


@pytest.mark.parametrize(("pause", "same"), [(1.0, True), (9.0, True), (11.0, False)])
def test_who_stands_still_while_the_camera_pauses_is_followed_on_but_not_for_ever(pause, same):
    """A patience of one second is about people who are not seen, not about pictures that do not come."""
    tracker = Tracker(SIZE, TrackerSettings(patience=1.2))
    for t in (0.0, 0.1, 0.2):
        (before,) = tracker.update(seen((100, 300)), t).ids
    tracks = tracker.update(seen((100, 300)), 0.2 + pause)
    assert (before in tracks.ids) is same


def test_after_a_quiet_hour_a_newcomer_is_still_a_newcomer():
    tracker = Tracker(SIZE)
    for t in range(3600):
        tracker.update(seen((500, 300)), t)
    tracker.update(seen(), 3600)
    assert tracker.update(seen((900, 500)), 3602).ids.tolist() == [2]


def test_doubtful_detections_continue_a_track_but_found_none():
    tracker = Tracker(SIZE)
    tracker.update(seen((100, 300)), 0.0)
    tracks = tracker.update(seen((102, 300), (400, 300), score=0.3), 0.1)
    assert tracks.ids.tolist() == [1]
    assert tracks.scores[0] == pytest.approx(0.3)
    assert len(tracker.update(seen((104, 300), score=0.05), 0.2)) == 0


def test_what_is_nobody_yet_is_told_apart():
    """Who was seen once, and doubtful boxes where nobody is followed; not those that no one believes in."""
    tracker = Tracker(SIZE)
    tracker.update(seen((100, 300)), 0.0)
    boxes = np.concatenate(
        [seen(place).boxes for place in [(102, 300), (400, 300), (700, 300), (900, 300)]]
    )
    scores = np.array([0.9, 0.6, 0.3, 0.05], np.float32)
    tracks = tracker.update(Detections(boxes, scores), 0.1)
    assert tracks.ids.tolist() == [1]
    np.testing.assert_array_equal(tracks.spare.boxes, boxes[1:3])
    np.testing.assert_array_equal(tracks.spare.scores, scores[1:3])


def test_a_fairly_sure_newcomer_is_shown_from_the_second_look():
    tracker = Tracker(SIZE)
    assert len(tracker.update(seen((100, 300), score=0.6), 0.0)) == 0
    assert tracker.update(seen((101, 300), score=0.6), 0.1).ids.tolist() == [1]


def test_who_walks_behind_a_pillar_comes_out_as_the_same_person():
    tracker = Tracker(SIZE)
    for t in np.arange(0, 5, 0.1):
        hidden = 2.0 < t < 4.0
        tracks = tracker.update(seen(*[] if hidden else [(100 + 60 * t, 300)]), t)
        assert len(tracks) == (0 if hidden else 1)
    assert tracks.ids.tolist() == [1]


@pytest.mark.parametrize(
    "newcomer", [(900, 300), (225, 60)], ids=["far from where the first was", "far up the picture"]
)
def test_who_appears_elsewhere_is_somebody_else(newcomer):
    tracker = Tracker(SIZE)
    tracker.update(seen((1500, 900), (100, 300)), 0.0)
    for t in np.arange(0.1, 2, 0.1):
        tracker.update(seen((1500, 900), (100 + 60 * t, 300)), t)
    assert 3 in tracker.update(seen((1500, 900), newcomer), 3.0).ids


def coloured(*people):
    """Detections at (x, feet) in one colour each: (x, feet, grey)."""
    plain = seen(*[person[:2] for person in people])
    grey = np.array([[person[2]] * 18 for person in people], np.float32)
    return Detections(plain.boxes, plain.scores, grey)


def test_colours_decide_who_returns_where():
    """Two lost tracks, two returns between them: place alone would keep their order."""

    def run(first, second):
        tracker = Tracker(SIZE)
        for t in (0.0, 0.1, 0.2):
            tracker.update(coloured((1500, 900, 0.5), (300, 300, 0.1), (370, 300, 0.9)), t)
        later = coloured((1500, 900, 0.5), (330, 300, first), (342, 300, second))
        tracks = tracker.update(later, 2.2)
        return at(tracks, 330), at(tracks, 342)

    assert run(0.1, 0.9) == (1, 2)
    assert run(0.9, 0.1) == (2, 1)


def test_who_is_hidden_does_not_take_over_the_one_in_front():
    """One walks past another who stands, and hides him: for a second there is one box, which is the walker's."""
    tracker, colours = Tracker(SIZE), {}
    for step in range(41):
        x = 100 + 10 * step
        hidden = abs(x - 300) < 35
        people = [(x, 300, 0.2)] + [] * hidden + [(300, 298, 0.8)] * (not hidden)
        tracks = tracker.update(coloured(*people), step / 12.5)
        for who, box in zip(tracks.ids.tolist(), tracks.boxes, strict=True):
            grey = min(people, key=lambda p: abs(p[0] - box[[0, 2]].mean()))[2]
            colours.setdefault(who, set()).add(grey)
    assert colours == {1: {0.2}, 2: {0.8}}


def test_colours_may_come_and_go():
    tracker = Tracker(SIZE)
    for step, some in enumerate((seen((100, 300)), coloured((100, 300, 0.5)), seen((100, 300)))):
        assert tracker.update(some, step / 10).ids.tolist() == [1]


def test_ids_are_never_used_again_and_nothing_grows():
    draw = np.random.default_rng(5)
    tracker, highest, alive = Tracker(SIZE, TrackerSettings(most=50)), 0, set()
    for frame in range(400):
        people = draw.uniform([0, 100], [5000, 3000], (80, 2))
        ids = set(tracker.update(seen(*people), frame * 2.0).ids.tolist())
        assert len(ids) == 50
        assert all(i > highest for i in ids - alive)
        alive |= ids
        highest = max(highest, *ids)
        assert len(tracker) <= 50


def test_a_clock_that_jumps_back_loses_nobody():
    tracker = Tracker(SIZE)
    tracker.update(seen((100, 300)), 1_000_000.0)
    tracker.update(seen((102, 300)), 1_000_000.1)
    assert tracker.update(seen((104, 300)), 50.0).ids.tolist() == [1]
    tracks = tracker.update(seen((106, 300)), 50.1)
    assert tracks.ids.tolist() == [1]
    assert tracks.ages[0] == pytest.approx(0.2, abs=1e-4)


def test_boxes_that_are_none_are_left_out():
    good = seen((100, 300), (200, 300), (300, 300), (400, 300))
    boxes, scores = good.boxes.copy(), good.scores.copy()
    boxes[0, 1], scores[1] = np.nan, np.nan
    boxes[2, 2] = boxes[2, 0]
    tracks = Tracker(SIZE).update(Detections(boxes, scores), 0.0)
    np.testing.assert_array_equal(tracks.boxes, good.boxes[3:])


def test_nothing_is_left_to_compile_after_the_warm_up():
    """In a process of its own, where no other test has compiled anything."""
    code = """
import numpy as np
from pipeline.frames import Detections
from pipeline.track import Tracker, motion, warm_up
from pipeline.track.tracker import are_boxes, follow
kernels = [motion.begin, are_boxes, follow]
warm_up()
before = [len(kernel.signatures) for kernel in kernels]
draw, tracker = np.random.default_rng(8), Tracker((500, 500))
for frame in range(50):
    corner = draw.uniform(0, 400, (20, 2))
    boxes = np.hstack([corner, corner + [30, 80]]).astype(np.float32)
    tracker.update(Detections(boxes, draw.random(20).astype(np.float32)), frame / 10)
print(before, [len(kernel.signatures) for kernel in kernels])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[1, 1, 1] [1, 1, 1]", done.stderr


@pytest.mark.parametrize(
    ("name", "size", "fps", "frames", "hota", "idf1"),
    [
        ("MOT17-05-FRCNN", (640, 480), 14, 837, 0.461, 0.583),
        ("MOT17-09-FRCNN", (1920, 1080), 30, 525, 0.517, 0.633),
    ],
)
def test_mot17_is_tracked_better_than_by_any_peer(name, size, fps, frames, hota, idf1):
    """Expected: above the best default of any peer, as measured with the same detections."""
    folder = DATA / "mot" / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set REID_TEST_DATA")
    found = np.loadtxt(folder / "det" / "det.txt", delimiter=",", dtype=np.float32)
    tracker, rows = Tracker(size), []
    for frame in range(1, frames + 1):
        mine = found[found[:, 0] == frame]
        boxes = np.hstack([mine[:, 2:4], mine[:, 2:4] + mine[:, 4:6]])
        tracks = tracker.update(Detections(boxes, mine[:, 6]), frame / fps)
        sizes = tracks.boxes[:, 2:] - tracks.boxes[:, :2]
        numbers = np.full(len(tracks), frame)
        rows.append(np.column_stack([numbers, tracks.ids, tracks.boxes[:, :2], sizes]))
    truth = read_truth(folder / "gt" / "gt.txt", min_visibility=0)
    score = evaluate({name: parse(np.concatenate(rows))}, {name: truth}).overall
    assert score.hota > hota
    assert score.idf1 > idf1
