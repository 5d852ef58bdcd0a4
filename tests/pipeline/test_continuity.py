"""A track that passes from one person to another: noticed by what its crops say, and told to everybody."""

import sqlite3

import numpy as np
import pytest

from calibration.record import read_record
from engines.engine import TensorSpec
from engines.streaming import FrameAverages, StreamingReid
from pipeline.continuity import Continuity
from pipeline.errors import SettingsError
from pipeline.frames import Detections, EventKind, Frame, IdentityEvent, TrackletUpdate, Tracks
from pipeline.identify import Identifier, IdentifySettings
from pipeline.identify.gallery import Gallery
from pipeline.identify.similarity import Mapping
from pipeline.publish import TrackFiles
from pipeline.publish.record import Recorder
from pipeline.publish.report import Journal
from pipeline.publish.sink import Passed, Sighting
from pipeline.track import Tracker
from pipeline.tracklets import TrackletSettings

NEWEST, SIZE = 3, 64
SLOT = np.array([2])


def looks(who, count, rng, steadiness=2.0):
    """Unit vectors (count, SIZE) of one person: with 2.0 two of them have a cosine of about 0.8."""
    vectors = steadiness * who + rng.standard_normal((count, SIZE)) / np.sqrt(SIZE)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Given:
    """An engine whose answers are known beforehand."""

    max_batch = 1

    def __init__(self, answers):
        self._answers = iter(answers)
        self.inputs = {"crops": TensorSpec("crops", (-1, 8, 4, 3), "uint8")}
        self.outputs = {"embedding": TensorSpec("embedding", (-1, SIZE), "float32")}

    def run(self, inputs):
        return {"embedding": next(self._answers)[None]}


def person(rng):
    return rng.standard_normal(SIZE) / np.sqrt(SIZE)


def watch(vectors, continuity=None):
    """One tracklet's crops, a second apart; (crops seen when a change was noticed, what was known before)."""
    continuity = continuity or Continuity(4, SIZE, Mapping(even=0.5), NEWEST, against=3.0)
    mean = np.cumsum(vectors, axis=0) / np.arange(1, len(vectors) + 1)[:, None]
    for n in range(1, len(vectors) + 1):
        if continuity.note(SLOT, mean[n - 1 : n], np.array([n]), np.array([float(n)]))[0]:
            return n, continuity.before(SLOT[0])
    return None, continuity.now(SLOT[0])


@pytest.mark.parametrize("before", [3, 5, 8, 40, 200])
def test_a_change_is_noticed_within_the_newest_crops_and_dated(before):
    rng = np.random.default_rng(before)
    anna, ben = person(rng), person(rng)
    own = looks(anna, before, rng)
    noticed, known = watch(np.vstack([own, looks(ben, NEWEST + 2, rng)]))
    assert before < noticed <= before + NEWEST
    assert known.frames == before
    assert known.time == before + 0.5, "midway between two crops"
    np.testing.assert_allclose(known.embedding, own[: known.frames].mean(axis=0), atol=1e-6)


def test_somebody_else_in_the_same_clothes_is_noticed_by_what_else_is_known():
    """Such as how tall he is; but a doubt alone does not part a track whose crops agree."""
    rng = np.random.default_rng(4)
    mean = np.cumsum(looks(person(rng), 9, rng), axis=0) / np.arange(1, 10)[:, None]
    for doubt, parts in ((0.0, False), (-3.0, False), (-30.0, True)):
        continuity = Continuity(4, SIZE, Mapping(even=0.5), NEWEST, against=3.0)
        noticed = [
            continuity.note(SLOT, mean[n : n + 1], np.array([n + 1]), np.array([float(n)]), doubt)
            for n in range(9)
        ]
        assert np.any(noticed) == parts


def test_one_person_stays_one():
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert watch(looks(person(rng), 300, rng))[0] is None


def test_two_first_crops_prove_nothing():
    """They may be poor themselves: somebody who is just coming into the picture."""
    rng = np.random.default_rng(1)
    anna, ben = person(rng), person(rng)
    assert watch(np.vstack([looks(ben, 2, rng), looks(anna, 40, rng)]))[0] is None


def test_a_slot_that_begins_anew_is_not_held_against_its_last_tenant():
    rng = np.random.default_rng(2)
    continuity = Continuity(4, SIZE, Mapping(even=0.5), NEWEST, against=3.0)
    for _ in range(2):
        assert watch(looks(person(rng), 9, rng), continuity)[0] is None


def test_a_renewed_track_goes_on_under_an_id_of_its_own():
    tracker, box = Tracker((640, 360)), np.array([[100, 100, 140, 200]], np.float32)
    seen = [tracker.update(detections(box + 2 * n), n / 10).ids.tolist() for n in range(5)]
    assert seen[1:] == [[1]] * 4
    assert tracker.renew(1) == 2
    again = tracker.update(detections(box + 10), 0.5)
    assert again.ids.tolist() == [2]
    assert again.ages[0] == pytest.approx(0.1), "it began when it was renewed"
    assert tracker.renew(1) is None
    other = tracker.update(detections(np.vstack([box + 12, box + 300])), 0.6)
    assert 1 not in other.ids.tolist()


def detections(boxes):
    return Detections(boxes, np.full(len(boxes), 0.9, np.float32))


def test_who_is_taken_back_was_not_in_two_places():
    """Anna's track passed to Ben while Anna was seen beside him: without the passing she could not be Anna."""
    anna, ben = np.eye(16, dtype=np.float32)[:2]
    identifier = Identifier(IdentifySettings())

    def tell(now, *updates, ended=()):
        return identifier.update([TrackletUpdate(*u) for u in updates], list(ended), now)

    for n in range(1, 9):
        tell(n / 2, ("hall", 1, n / 2, anna, n, 1.0))
    mixed = (8 * anna + 8 * ben) / 16
    for n in range(9, 17):  # the track is on Ben, and Anna is beside him
        tell(n / 2, ("hall", 1, n / 2, mixed, n, 1.0), ("hall", 5, n / 2, anna, n - 8, 1.0))
    assert identifier.identity_of("hall", 5) != identifier.identity_of("hall", 1)
    back = TrackletUpdate("hall", 1, 4.2, anna, 8, 1.0, takes_back=True)
    identifier.update([back], [("hall", 1)], 8.1)
    for n in range(17, 33):
        tell(n / 2, ("hall", 5, n / 2, anna, n - 8, 1.0))
    assert identifier.identity_of("hall", 5) == identifier.identity_of("hall", 1) == 1


def test_what_is_taken_back_stays_so_in_whatever_order_it_is_told():
    anna, mixed = np.eye(16, dtype=np.float32)[0], np.ones(16, np.float32)
    people = Gallery(16)
    late = TrackletUpdate("hall", 1, 8.0, mixed, 12, 1.0)
    (row,) = people.write([TrackletUpdate("hall", 1, 4.0, anna, 8, 1.0, takes_back=True), late])
    assert people.table["frames"][row] == 8
    assert people.table["last"][row] == 4.0
    np.testing.assert_array_equal(people.looks[row], anna)


def test_a_number_of_crops_below_one_is_refused():
    with pytest.raises(SettingsError, match="newest is a number of crops, 1 or more, not 0"):
        TrackletSettings(newest=0)


def sighting(index, people):
    """`people`: local id → identity; boxes are where the local id says."""
    boxes = np.array([[10 * n, 20, 10 * n + 30, 80] for n in people], np.float32)
    ones = np.ones(len(people), np.float32)
    tracks = Tracks(np.array(list(people), np.int64), boxes.reshape(-1, 4), ones, ones)
    frame = Frame("hall", index, 1000.0 + index, np.zeros((90, 160, 3), np.uint8))
    return Sighting(frame, tracks, np.array(list(people.values()), np.int64))


def pass_on(sink):
    """Track 7 is identity 3 for nine frames, of which the last four turn out to be of identity 4."""
    for index in (0, 1, 2, 3, 4, 6, 7, 8, 9):
        sink.sighting(sighting(index, {7: 3}))
    sink.passed([Passed("hall", 7, 1005.5, 8)])
    sink.ended([("hall", 7)])
    for index in range(10, 13):
        sink.sighting(sighting(index, {8: 4}))


def test_tracks_bear_the_new_name_from_the_passing_on(tmp_path):
    files = TrackFiles(tmp_path)
    pass_on(files)
    files.close()
    rows = [line.split(",")[:2] for line in (tmp_path / "hall.txt").read_text().splitlines()]
    assert [(int(f), int(i)) for f, i in rows] == [
        (frame, 3 if frame < 6 else 4) for frame in range(1, 14) if frame != 6
    ]
    assert files.unnamed == 0


def test_stays_in_the_report_end_and_begin_at_the_passing():
    journal = Journal()
    journal.events([IdentityEvent(EventKind.FOUNDED, 3, "hall", 7, 1000.0, 1.0)])
    pass_on(journal)
    journal.events([IdentityEvent(EventKind.FOUNDED, 4, "hall", 8, 1012.0, 1.0)])
    stays = {who: [(s.start, s.end) for s in some] for who, some in journal.by_identity().items()}
    assert stays == {3: [(1000.0, 1005.5)], 4: [(1005.5, 1012.0)]}


def test_the_record_for_calibration_parts_them_too(tmp_path):
    recorder = Recorder(tmp_path / "record.db", "a-network")
    for n in range(1, 11):
        look = np.array([n, 1], np.float32)
        recorder.updates([TrackletUpdate("hall", 7, 999.0 + n, look, n, 1.0)])
    recorder.updates(
        [TrackletUpdate("hall", 7, 1005.5, np.ones(2, np.float32), 6, 1.0, takes_back=True)]
    )
    pass_on(recorder)
    recorder.close()
    record = read_record(tmp_path)
    of = record.tracklets["local_id"][record.boxes["tracklet"]]
    assert of[np.argsort(record.boxes["frame"])].tolist() == [7] * 5 + [8] * 7
    assert record.looks["frames"].tolist() == [1, 2, 4, 6], "what eight crops said is gone"


def test_a_passing_within_a_gap_leaves_no_row_between_two_people(tmp_path):
    """7 is overlooked in frames 6 and 7, which are filled in; it passed to another person in between."""
    files = TrackFiles(tmp_path, reach=12)
    for index in range(10):
        files.sighting(sighting(index, {1: 1} if index in (5, 6) else {1: 1, 7: 3}))
    files.passed([Passed("hall", 7, 1005.5, 8)])
    files.ended([("hall", 7)])
    for index in range(10, 20):  # the first frames settle…
        files.sighting(sighting(index, {1: 1, 8: 4}))
    files.events(
        [IdentityEvent(EventKind.CORRECTED, 2, "hall", 1, 1019.0, 1.0, 1)]
    )  # …and more is rewritten
    files.close()
    rows = [line.split(",")[:2] for line in (tmp_path / "hall.txt").read_text().splitlines()]
    found = {who: [int(f) for f, i in rows if int(i) == who] for who in (3, 4)}
    assert found == {3: [1, 2, 3, 4, 5], 4: list(range(8, 21))}
    assert files._cameras["hall"]._tracklets == {}


def test_a_long_stay_does_not_hide_a_change():
    """Other people's networks too: the mean of their single looks forgets as a stream does."""
    rng = np.random.default_rng(5)
    anna, ben = person(rng), person(rng)
    vectors = np.vstack([looks(anna, 600, rng), looks(ben, 6, rng)])
    pool = StreamingReid(FrameAverages(Given(vectors)), 4)
    continuity = Continuity(4, SIZE, Mapping(even=0.5), NEWEST, against=3.0)
    slot = np.array([pool.open()])
    changed = [
        continuity.note(
            slot, pool.step(slot, np.zeros((1, 8, 4, 3), np.uint8)), pool.frames_seen(slot), slot
        )[0]
        for _ in vectors
    ]
    assert 600 <= np.flatnonzero(changed)[0] <= 602


def test_ticks_without_a_passing_write_nothing_to_the_record(tmp_path):
    recorder = Recorder(tmp_path / "record.db", "a-network")
    recorder.sighting(sighting(0, {7: 3}))
    recorder.ended([])  # the first look is written at once, later ones every two seconds
    for index in range(1, 3):
        recorder.sighting(sighting(index / 10, {7: 3}))
        recorder.passed([])
        recorder.ended([])
    with sqlite3.connect(tmp_path / "record.db") as db:
        before = db.execute("SELECT count(*) FROM boxes").fetchone()
    db.close()
    recorder.close()
    assert before == (1,)
    assert len(read_record(tmp_path).boxes) == 2, "the other was kept back, for its spacing"
