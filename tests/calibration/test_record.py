"""What a run records is what calibration reads; what is no record is said in one sentence."""

import sqlite3

import numpy as np
import pytest

from calibration.__main__ import main
from calibration.errors import RecordError
from calibration.looks import looks_of
from calibration.record import read_record
from pipeline.errors import OutputError
from pipeline.frames import Frame, TrackletUpdate, Tracks
from pipeline.publish.record import Recorder
from pipeline.publish.record_file import KEEP, erase_expired
from pipeline.publish.sink import Sighting

IMAGE = np.zeros((90, 160, 3), np.uint8)


def recorded(path, seconds=4.0, rate=20):
    """One person in one camera; the embedding after n frames is (n, 1), so that each is known."""
    recorder = Recorder(path, "a-network")
    for index in range(int(seconds * rate)):
        time, frames = 1000.0 + index / rate, index // 4 + 1
        look = np.array([frames, 1], np.float32)
        recorder.updates([TrackletUpdate("hall", 7, time, look, frames, 1.0, since=999.0)])
        box = np.array([[10 + index, 20, 30 + index, 80]], np.float32)
        tracks = Tracks(np.array([7]), box, np.array([0.9], np.float32), np.zeros(1, np.float32))
        recorder.sighting(Sighting(Frame("hall", index, time, IMAGE), tracks, np.array([1])))
    recorder.ended([("hall", 7)])
    recorder.close()
    return path


def one_at(time, index, *, identity=0, box=(10, 20, 30, 80), scale=1):
    """Tracklet 7 of the hall in one picture."""
    image = np.zeros((90 * scale, 160 * scale, 3), np.uint8)
    ones = np.ones(1, np.float32)
    tracks = Tracks(np.array([7]), np.array([box], np.float32), ones, ones)
    return Sighting(Frame("hall", index, time, image), tracks, np.array([identity]))


def test_boxes_and_looks_come_back(tmp_path):
    record = read_record(recorded(tmp_path / "record.db").parent)
    assert (record.network, record.cameras, record.sizes.tolist()) == (
        "a-network",
        ("hall",),
        [[160, 90]],
    )
    assert record.looks["frames"].tolist() == [1, 2, 4, 8, 16, 20]
    np.testing.assert_array_equal(record.embeddings[:, 0], record.looks["frames"])
    assert record.tracklets["first"].tolist() == [999.0]
    assert record.tracklets["last"][0] == pytest.approx(1003.95, abs=0.2)
    assert 18 <= len(record.boxes) <= 21  # five a second, for four seconds
    index = record.boxes["frame"]
    np.testing.assert_array_equal(
        record.feet(), np.column_stack([20 + index, np.full(len(index), 80)])
    )
    assert looks_of(record).early[4][1][0] == pytest.approx(np.array([4, 1]) / np.sqrt(17))


def test_a_record_past_its_date_is_erased(tmp_path):
    path = recorded(tmp_path / "record.db", seconds=1)
    assert not erase_expired(path)
    look = np.array([4, 1], "<f2").tobytes()
    assert look in path.read_bytes()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE tracklets SET noted = noted - 15 * 86400")
    db.close()
    assert KEEP == 14 * 86400
    with pytest.raises(RecordError, match="past its date and is erased"):
        read_record(path)
    assert look not in path.read_bytes()


def test_runs_into_one_folder_go_on_with_one_record_and_never_meet(tmp_path):
    """The second run reads the same film, so its times are those of the first; its local ids begin anew."""
    path = recorded(recorded(tmp_path / "record.db"))
    record = read_record(path)
    alone = read_record(recorded(tmp_path / "alone.db"))
    assert record.cameras == ("hall",)
    assert record.tracklets["run"].tolist() == [1, 2]
    assert record.tracklets["local_id"].tolist() == [7, 7]
    first, second = record.tracklets
    assert second["first"] - first["last"] >= 3600, "nobody walks from one run into the other"
    assert record.seconds == pytest.approx(2 * alone.seconds)
    for name in ("boxes", "looks"):
        both, one = getattr(record, name), getattr(alone, name)
        assert both["tracklet"].tolist() == [0] * len(one) + [1] * len(one)
        shift = second["first"] - first["first"]
        np.testing.assert_allclose(both["time"], [*one["time"], *(one["time"] + shift)])
    np.testing.assert_array_equal(record.embeddings[:, 0], record.looks["frames"])


def test_rows_are_kept_for_two_weeks_each_also_while_a_run_goes_on(tmp_path):
    """One tracklet that never ends, over three weeks, by the clock of the test."""
    day = {"now": 0.0}
    recorder = Recorder(tmp_path / "record.db", "a-network", clock=lambda: 86400 * day["now"])
    for index in range(21):
        day["now"] = float(index)
        recorder.sighting(one_at(86400.0 * index, index, identity=4))
        recorder.ended([])
    with sqlite3.connect(tmp_path / "record.db") as db:
        times = [t for (t,) in db.execute("SELECT time FROM boxes ORDER BY time")]
        names = [n for (n,) in db.execute("SELECT identity FROM tracklets")]
    db.close()
    recorder.close()
    assert min(times) >= 86400 * (20 - 14)
    assert max(times) == 86400 * 20
    assert names == [4], "who begins anew keeps the name"


def test_boxes_are_kept_in_one_size_of_picture(tmp_path):
    """A box in the middle of the picture stays there when the camera doubles its resolution."""
    recorder = Recorder(tmp_path / "record.db", "a-network")
    recorder.sighting(one_at(1.0, 0, box=(40, 20, 80, 60)))
    recorder.close()
    recorder = Recorder(tmp_path / "record.db", "a-network")
    recorder.sighting(one_at(9.0, 0, box=(80, 40, 160, 120), scale=2))
    recorder.close()
    record = read_record(tmp_path)
    assert record.sizes.tolist() == [[160, 90]]
    assert record.boxes["box"].tolist() == [[40, 20, 80, 60]] * 2


def test_a_record_of_other_weights_is_not_gone_on_with(tmp_path):
    path = tmp_path / "record.db"
    Recorder(path, "a-network", "aa").close()
    for network in (("another", "aa"), ("a-network", "bb")):
        with pytest.raises(OutputError, match="embeddings are of other weights, of 'a-network'"):
            Recorder(path, *network)
    Recorder(path, "a-network", "aa").close()


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be looked into"])
def test_what_is_no_record_is_one_line_and_exit_code_2(tmp_path, content, capsys):
    path = tmp_path / "record.db"
    path.write_bytes(content)
    assert main(["threshold", str(path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1


def test_too_little_data_has_an_exit_code_of_its_own(tmp_path, capsys):
    recorded(tmp_path / "record.db", seconds=1)
    assert main(["travel", str(tmp_path)]) == 3
    assert "1 tracklets with embeddings, 60 are needed" in capsys.readouterr().err


def test_two_people_are_those_whom_pictures_show_side_by_side(tmp_path):
    """1 and 2 stand beside each other; 3 takes turns with 1 on one person; 4 walks past behind 2; 5 is seen twice."""
    recorder = Recorder(tmp_path / "record.db", "a-network")
    ones = np.ones(4, np.float32)
    for index in range(20):
        time = 1000.0 + index / 5
        shown = {1 if index % 2 else 3: 10, 2: 60, 4: 140 - 6 * index, 5: 100}
        if index >= 2:
            del shown[5]
        recorder.updates(
            [TrackletUpdate("hall", n, time, ones, index + 1, 1.0, since=1000.0) for n in shown]
        )
        boxes = np.array([[x, 20, x + 20, 80] for x in shown.values()], np.float32)
        tracks = Tracks(np.array(list(shown)), boxes, ones[: len(shown)], ones[: len(shown)])
        frame = Frame("hall", index, time, IMAGE)
        recorder.sighting(Sighting(frame, tracks, np.zeros(len(shown), np.int64)))
    recorder.close()
    record = read_record(tmp_path)
    looks = looks_of(record)
    local = record.tracklets["local_id"][looks.tracklet]
    pairs = {tuple(sorted((local[a], local[b]))) for a, b in zip(*looks.together, strict=True)}
    assert pairs == {(1, 2), (2, 3), (1, 4), (3, 4)}


def test_of_a_long_record_the_latest_tracklets_are_looked_at(tmp_path):
    """Comparing all with all would not fit into memory: ids begin here in the reverse order of their times."""
    recorder = Recorder(tmp_path / "record.db", "a-network")
    ones = np.ones(4, np.float32)
    for number in range(9):
        time = 1000.0 - 20 * number
        update = TrackletUpdate("hall", number + 1, time, ones * number, 4, 1.0, since=time - 5)
        recorder.updates([update])
        box = np.array([[10, 20, 30, 80]], np.float32)
        tracks = Tracks(np.array([number + 1]), box, ones[:1], ones[:1])
        recorder.sighting(Sighting(Frame("hall", number, time, IMAGE), tracks, np.zeros(1, int)))
    recorder.close()
    record = read_record(tmp_path)
    looks = looks_of(record, most=3)
    assert sorted(record.tracklets["local_id"][looks.tracklet]) == [1, 2, 3]
    assert len(looks_of(record, most=9)) == len(looks_of(record)) == 9
