"""Somebody who is forgotten leaves the record for calibration too. Read back with plain SQLite, and byte by byte."""

import shutil
import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.errors import OutputError
from pipeline.folder import set_aside
from pipeline.frames import EventKind, Frame, IdentityEvent, TrackletUpdate, Tracks
from pipeline.identify import GalleryStore, Identifier, IdentifySettings
from pipeline.publish.record import Recorder
from pipeline.publish.record_file import erase_person
from pipeline.publish.sink import Sighting

IMAGE = np.zeros((90, 160, 3), np.uint8)


def look_of(local):
    """Bytes that are found nowhere else: numbers that half floats hold exactly."""
    return np.array([local, 1031, 1033, 1039, 1049], np.float32)


def tick(recorder, index, people, *events, ended=()):
    """One tick of the live loop, in its order. `people`: local id → identity, 0 while nobody knows."""
    now = 1000.0 + index
    recorder.updates([TrackletUpdate("hall", n, now, look_of(n), index + 1, 1.0) for n in people])
    recorder.events(
        [IdentityEvent(EventKind(kind), who, "hall" if n else "", n, now, 0.0, previous)
         for kind, who, n, previous in events]
    )  # fmt: skip
    boxes = np.array([[n, 20, n + 20, 80] for n in people], np.float32).reshape(-1, 4)
    ones = np.ones(len(people), np.float32)
    tracks = Tracks(np.array(list(people), np.int64), boxes, ones, ones)
    frame = Frame("hall", index, now, IMAGE)
    recorder.sighting(Sighting(frame, tracks, np.array(list(people.values()), np.int64)))
    recorder.ended(list(ended))


def recorded(path, people, seconds=3):
    recorder = Recorder(path, "a-network")
    for index in range(seconds):
        tick(recorder, index, people)
    recorder.close()


def held(path):
    """Local ids of which there are boxes, and of which there are looks: by what the rows say, not by the keys."""
    with sqlite3.connect(path) as db:
        boxes = {int(x0) for (x0,) in db.execute("SELECT x0 FROM boxes")}
        looks = {
            int(np.frombuffer(blob, "<f2")[0])
            for (blob,) in db.execute("SELECT embedding FROM looks")
        }
    db.close()
    return boxes, looks


def in_bytes(path, local):
    """Whether the look of a tracklet is anywhere in the file or the log beside it."""
    look = look_of(local).astype("<f2").tobytes()
    return any(look in part.read_bytes() for part in path.parent.glob(path.name + "*"))


def test_a_disk_that_is_full_for_a_moment_costs_the_record_nothing(tmp_path):
    path = tmp_path / "record.db"
    recorder = Recorder(path, "a-network")
    tick(recorder, 0, {1: 5})
    (pages,) = recorder._db.execute("PRAGMA page_count").fetchone()
    recorder._db.execute(f"PRAGMA max_page_count = {pages}")
    crowd = dict.fromkeys(range(1, 400), 0)
    for index in range(1, 12):
        tick(recorder, index, crowd)
    assert held(path)[0] < set(crowd)
    recorder._db.execute("PRAGMA max_page_count = 1000000")
    tick(recorder, 20, crowd)
    recorder.close()
    assert held(path)[0] == set(crowd)
    with closing(sqlite3.connect(path)) as db:
        times = {time for (time,) in db.execute("SELECT time FROM boxes WHERE x0 = 399")}
    assert min(times) == 1001.0, "from when the disk was full"


@pytest.fixture
def run(tmp_path):
    """A folder in which two runs recorded: 1 is local 11 and then 21, 2 is local 12, and of 13 nobody knows."""
    run = tmp_path / "run"
    run.mkdir()
    store = GalleryStore(run / "identities.db", "a-network", 5)
    store.reserve(3)
    store.close()
    recorded(run / "record.db", {11: 1, 12: 2, 13: 0})
    recorded(run / "record.db", {21: 1})
    return run


# ---- while it records -----------------------------------------------------------------------------


def test_the_forgotten_leave_the_file_and_what_waits_for_it(tmp_path):
    path = tmp_path / "record.db"
    recorder = Recorder(path, "a-network")
    tick(recorder, 0, {1: 5, 2: 6})  # is written
    tick(recorder, 1, {1: 5, 2: 6, 3: 5})  # waits
    assert in_bytes(path, 1)
    tick(recorder, 1.5, {2: 6}, ("forgotten", 5, 0, None))
    assert held(path) == ({2}, {2})
    assert not in_bytes(path, 1)
    recorder.close()
    assert held(path) == ({2}, {2}), "and closing brings nothing back"
    assert not in_bytes(path, 1)
    assert not in_bytes(path, 3)


def test_whoever_is_forgotten_in_view_is_recorded_as_somebody_new(tmp_path):
    """The new identity is founded in the tick that forgets the old one, and forgotten in turn."""
    path = tmp_path / "record.db"
    recorder = Recorder(path, "a-network")
    tick(recorder, 0, {1: 5})
    tick(recorder, 1, {1: 9}, ("forgotten", 5, 0, None), ("founded", 9, 1, None))
    recorder.close()
    assert held(path) == ({1}, set())
    recorder = Recorder(path, "a-network")
    tick(recorder, 0, {2: 0}, ("forgotten", 9, 0, None))
    recorder.close()
    assert held(path) == ({2}, {2}), "a run forgets what runs before it recorded"


def test_whoever_reads_or_writes_beside_it_keeps_no_loop_waiting_and_loses_nothing(tmp_path):
    path = tmp_path / "record.db"
    recorder = Recorder(path, "a-network")
    tick(recorder, 0, {1: 5, 2: 6})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM boxes").fetchall()
        begun = time.perf_counter()
        tick(recorder, 10, {2: 6}, ("forgotten", 5, 0, None))
        assert time.perf_counter() - begun < 1
        assert held(path) == ({2}, {2})
        assert in_bytes(path, 1), "in the log, which is being read"
        with pytest.raises(OutputError, match="is being read"):
            erase_person(path, {5})
        other.execute("COMMIT")
        tick(recorder, 20, {2: 6})
        assert not in_bytes(path, 1)
        other.execute("BEGIN IMMEDIATE")
        begun = time.perf_counter()
        for index in (30, 40, 50):
            tick(recorder, index, {3: 7})
        tick(recorder, 60, {4: 8}, ("forgotten", 6, 0, None))
        assert time.perf_counter() - begun < 2
        assert held(path) == ({2}, {2})
        other.execute("COMMIT")
    tick(recorder, 70, {4: 8})
    assert held(path) == ({3, 4}, {3, 4})
    recorder.close()
    with closing(sqlite3.connect(path)) as db:
        times = db.execute("SELECT time FROM boxes ORDER BY time").fetchall()
    assert times == [(1000.0 + index,) for index in (30, 40, 50, 60, 70)]


def test_a_record_whose_maker_was_killed_at_once_goes_on(tmp_path):
    path = tmp_path / "record.db"
    Recorder(path, "a-network").close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM about")
    recorded(path, {1: 5})
    assert held(path) == ({1}, {1})


def test_a_correction_decides_whose_rows_they_are_also_after_the_end(tmp_path):
    """Tracklet 1 was held to be 5 and is 7; tracklet 2 the other way round. Both are over by then."""
    path = tmp_path / "record.db"
    recorder = Recorder(path, "a-network")
    tick(recorder, 0, {1: 5, 2: 7})
    tick(recorder, 5, {}, ended=[("hall", 1), ("hall", 2)])
    tick(recorder, 9, {}, ("corrected", 7, 1, 5), ("corrected", 5, 2, 7))
    tick(recorder, 15, {}, ("forgotten", 7, 0, None))
    recorder.close()
    assert held(path) == ({2}, {2})


# ---- by command -----------------------------------------------------------------------------------


def test_the_command_erases_from_the_record_of_all_runs(run, capfd):
    """Also from a record that was moved to `earlier` by hand."""
    (run / "earlier" / "3").mkdir(parents=True)
    shutil.copy(run / "record.db", run / "earlier" / "3")
    assert main(["forget", str(run), "1"]) == 0
    boxes_and_looks = 2 * 2 * (3 + 3)  # of three ticks, in two runs, in two files
    assert f"{boxes_and_looks} of the record)" in capfd.readouterr().err
    for folder in (run, run / "earlier" / "3"):
        assert held(folder / "record.db") == ({12, 13}, {12, 13})
        assert not in_bytes(folder / "record.db", 11)
        assert not in_bytes(folder / "record.db", 21)
    assert main(["forget", str(run), "1"]) == 2
    assert "knows no identity 1" in capfd.readouterr().err


def test_a_record_stays_when_earlier_files_step_aside(run):
    (run / "events.jsonl").write_text("{}\n")
    assert set_aside(run) == ["earlier/1"]
    assert (run / "record.db").is_file()
    assert not (run / "earlier" / "1" / "record.db").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no database at all, but long enough to be looked into" * 99, "not a database"),
        (b"", "not a record of a run"),
    ],
)
def test_a_damaged_record_stops_nothing_else_and_is_one_sentence(
    run, content, reason, refused, capfd
):
    (run / "tracks").mkdir()
    (run / "tracks" / "hall.txt").write_text("1,1,0,0,9,9,1,-1,-1,-1\n")
    (run / "earlier" / "1").mkdir(parents=True)
    (run / "earlier" / "1" / "record.db").write_bytes(content)
    assert main(["forget", str(run), "1"]) == 2
    assert (run / "tracks" / "hall.txt").read_text() == ""
    assert held(run / "record.db") == ({12, 13}, {12, 13})
    capfd.readouterr()
    told = refused("forget", run, 1)
    assert f"{run / 'earlier' / '1' / 'record.db'} may still hold identity 1" in told
    assert reason in told
    assert "delete it or move it away" in told
    (run / "earlier" / "1" / "record.db").unlink()
    assert "knows no identity 1" in refused("forget", run, 1), "then all is well"


def test_a_record_that_somebody_else_is_writing_is_said_to_be_locked(run, refused, monkeypatch):
    monkeypatch.setattr("pipeline.publish.record_file._PATIENCE", 0.05)
    other = sqlite3.connect(run / "record.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    told = refused("forget", run, 1)
    assert f"{run / 'record.db'} may still hold identity 1: database is locked" in told
    other.execute("ROLLBACK")
    other.close()
    assert main(["forget", str(run), "1"]) == 0
    assert held(run / "record.db") == ({12, 13}, {12, 13})


def test_a_run_that_was_killed_leaves_a_record_that_can_be_erased_from(tmp_path, run):
    """What it had committed is in the log beside the file, which nobody folded in."""
    recorder = Recorder(run / "record.db", "a-network")
    tick(recorder, 0, {31: 1, 32: 2})
    killed = tmp_path / "killed"
    shutil.copytree(run, killed)
    recorder.close()
    assert (killed / "record.db-wal").stat().st_size > 0
    assert main(["forget", str(killed), "1"]) == 0
    assert held(killed / "record.db") == ({12, 13, 32}, {12, 13, 32})
    assert not in_bytes(killed / "record.db", 31)


def test_without_a_folder_it_says_what_was_not_looked_into(run, capfd):
    store = GalleryStore(run / "identities.db", "a-network", 5)
    identifier = Identifier(IdentifySettings(settled_frames=1), store)
    founded = identifier.update([TrackletUpdate("hall", 1, 1.0, look_of(1), 9, 1.0)], [], 1.0)
    identifier.close()
    assert main(["forget", "--database", str(run / "identities.db"), str(founded[0].identity)]) == 0
    assert "what runs have written was not looked into" in capfd.readouterr().err
    assert held(run / "record.db") == ({11, 12, 13, 21}, {11, 12, 13, 21})
