"""What a run records is what calibration reads; what is no record is said in one sentence."""

import sqlite3

import numpy as np
import pytest

from calibration.__main__ import main
from calibration.errors import RecordError
from calibration.looks import looks_of
from calibration.record import read_record
from pipeline.frames import Frame, TrackletUpdate, Tracks
from pipeline.publish.record import KEEP, Recorder, erase_if_expired
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
    assert not erase_if_expired(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE about SET expires = begun - 1")
    db.close()
    assert KEEP == 14 * 86400
    with pytest.raises(RecordError, match="past its date and is erased"):
        read_record(path)
    assert not path.exists()


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
