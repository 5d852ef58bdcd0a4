"""Two identities that turn out to be one after a restart: what is said of it, and who is forgotten with whom."""

import fcntl
import json
import shutil
import sqlite3
import threading

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.errors import StoreError
from pipeline.frames import EventKind, Frame, IdentityEvent, TrackletUpdate, Tracks
from pipeline.identify import GalleryStore, Identifier, IdentifySettings
from pipeline.publish import EventLog, Sighting, TrackFiles
from pipeline.publish.record import Recorder

ANNA, BEN, CLEO, DORA = np.eye(16, dtype=np.float32)[:4]
LIKE_ANNA = 0.97 * ANNA + 0.24 * CLEO


def opened(path):
    """A run whose store writes when it is told to, and which judges nobody anew before somebody asks."""
    store = GalleryStore(path, "grl-edge", interval=3600)
    return Identifier(IdentifySettings(again=1e9), store), store


def show(identifier, looks, start, frames):
    """Some tracklets, {(camera, local id): look}, at 5 frames a second; all events."""
    events = []
    for n in frames:
        now = start + 0.2 * n
        batch = [TrackletUpdate(*key, now, look, n, 0.5) for key, look in looks.items()]
        events += identifier.update(batch, [], now)
    return events


@pytest.fixture
def path(tmp_path):
    """What a run leaves that was killed: 1 is Anna, and so is 2, but the run did not live to judge that."""
    path = tmp_path / "run" / "identities.db"
    run, _ = opened(path)
    show(run, {("a", 1): ANNA}, 0.0, range(1, 9))
    run.update([], [("a", 1)], 2.0)
    strangers = [("b", 1), ("c", 1)]
    show(run, dict.fromkeys(strangers, BEN), 10.0, range(1, 9))
    show(run, dict.fromkeys(strangers, LIKE_ANNA), 10.0, range(9, 16))
    assert [run.identity_of(*key) for key in strangers] == [2, 2]
    run.close()
    return path


def merged(path):
    """A second run in which a newcomer shows that 1 and 2 are one. Its own tracklet 1 at b is somebody else."""
    run, store = opened(path)
    assert [person.identity for person in run.list()] == [1, 2]
    events = show(run, {("b", 1): DORA}, 100.0, range(1, 9))
    assert run.identity_of("b", 1) == 3
    events += show(run, {("d", 1): LIKE_ANNA, ("b", 1): DORA}, 102.0, range(9, 25))
    assert [person.identity for person in run.list()] == [1, 3]
    return run, store, events


def known(path):
    """Identities, and the cameras that saw them."""
    run, _ = opened(path)
    run.close()
    return {person.identity: person.cameras for person in run.list()}


def test_nothing_is_said_of_an_earlier_runs_tracklets(path):
    """Their local ids mean others now: here ("b", 1) is Dora, and whoever listens would take her for Anna."""
    run, _, events = merged(path)
    said = {(event.camera, event.local_id): event.identity for event in events}
    assert said == {("b", 1): 3, ("d", 1): 1}
    assert run.identity_of("b", 1) == 3
    run.close()
    assert known(path) == {1: ("a", "b", "c", "d"), 3: ("b",)}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("ends", [False, True])
def test_a_live_run_forgets_all_numbers_of_a_person(path, number, ends):
    """Also if on disk they are still two when somebody asks, and if the run ends before it can say so."""
    run, store, _ = merged(path)
    visit = GalleryStore(path, owner=False)
    assert visit.names(number) == {number}
    assert visit.forget(number)
    if not ends:
        store.flush()
        told = [e.identity for e in run.update([], [], 110.0) if e.kind is EventKind.FORGOTTEN]
        assert told == [1, 2]
        assert [person.identity for person in run.list()] == [3]
    run.close()
    assert visit.names(number) == {1, 2}, "whoever asked can ask who else that was"
    visit.close()
    assert known(path) == {3: ("b",)}


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_can_forget_by_itself(path, number):
    run, _, _ = merged(path)
    assert run.forget(number)
    assert not run.forget(number)
    assert [person.identity for person in run.list()] == [3]
    run.close()
    assert known(path) == {3: ("b",)}


def test_who_merges_between_the_request_and_its_answer_is_forgotten_too(path):
    """The writer may take note of a request in the middle of a tick."""
    _, store = opened(path)
    visit = GalleryStore(path, owner=False)
    visit.forget(2)
    visit.close()
    store.flush()
    store.merge([(2, 1)])
    assert store.forgotten() == {1, 2}
    store.close()
    assert known(path) == {}


def test_names_are_followed_from_run_to_run_and_their_number_is_bounded(path):
    for pairs in ([(8, 6), (6, 4)], [(5, 4), (9, 7)], [(4, 2)]):
        store = GalleryStore(path, "grl-edge")
        store.merge(pairs)
        store.close()
    store = GalleryStore(path, "grl-edge")
    assert [store.names(n) for n in (8, 2, 7, 3)] == [{2, 4, 5, 6, 8}] * 2 + [{7, 9}, {3}]
    store.merge([(n, n - 1) for n in range(11, 200_010, 2)])
    assert store.names(8) == {8}
    assert store.names(200_009) == {200_008, 200_009}
    store.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM merged").fetchone() == (100_000,)
    db.close()


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_a_file_of_before_goes_on(path, schema):
    """Schema 1 noted no weights, schema 2 no pairs, schema 3 not how tall anybody is."""
    with sqlite3.connect(path) as db:
        for column in ("stature", "measured"):
            db.execute(f"ALTER TABLE tracklets DROP COLUMN {column}")
        db.execute("DROP TABLE rulers")
        if schema < 3:
            db.execute("DROP TABLE merged")
        if schema == 1:
            db.execute("ALTER TABLE network DROP COLUMN digest")
        db.execute(f"PRAGMA user_version = {schema}")
    db.close()
    merged(path)[0].close()
    store = GalleryStore(path, "grl-edge")
    assert store.names(1) == {1, 2}
    table, _, _ = store.load()
    assert len(table), "what `merged` writes reads as it was written, wherever the columns are"
    assert not table["measured"].any()
    store.close()


def as_schema_3(path):
    with sqlite3.connect(path) as db:
        for column in ("stature", "measured"):
            db.execute(f"ALTER TABLE tracklets DROP COLUMN {column}")
        db.execute("DROP TABLE rulers")
        db.execute("PRAGMA user_version = 3")
    db.close()


def test_a_file_of_before_is_upgraded_once_whoever_comes(path):
    as_schema_3(path)
    found = []

    def visit():
        store = GalleryStore(path, owner=False)
        found.append(len(store.load()[0]))
        store.close()

    visits = [threading.Thread(target=visit) for _ in range(6)]
    for thread in visits:
        thread.start()
    for thread in visits:
        thread.join()
    assert found == [3] * 6


def test_a_visit_leaves_a_file_alone_that_an_older_version_writes(path, monkeypatch):
    """That could not write into a newer one."""
    monkeypatch.setattr("pipeline.identify.store_file._TURNS", 2)
    as_schema_3(path)
    with path.with_name(path.name + ".owner").open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"live run of an older version: end that first"):
            GalleryStore(path, owner=False)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
    db.close()


def published(run):
    """What the run before leaves, as sinks write it: 2 was tracklet 1 at b, and 9 was tracklet 2."""
    earlier = run / "earlier" / "1"
    earlier.mkdir(parents=True)
    said = [IdentityEvent(EventKind.FOUNDED, who, "b", n, 10.0, 0.0) for who, n in ((2, 1), (9, 2))]
    boxes, ones = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32), np.ones(2, np.float32)
    frame = Frame("b", 0, 10.0, np.zeros((9, 16, 3), np.uint8))
    sighting = Sighting(frame, Tracks(np.array([1, 2]), boxes, ones, ones), np.array([2, 9]))
    log, tracks = EventLog(earlier / "events.jsonl"), TrackFiles(earlier / "tracks")
    for sink in (log, tracks, Recorder(run / "record.db", "grl-edge")):
        sink.events(said)
        sink.sighting(sighting)
        sink.close()


def names_in(run):
    """Whose events, tracks and recorded boxes of the run before there are."""
    lines = (run / "earlier" / "1" / "events.jsonl").read_text().splitlines()
    rows = (run / "earlier" / "1" / "tracks" / "b.txt").read_text().splitlines()
    with sqlite3.connect(run / "record.db") as db:
        boxes = db.execute("SELECT identity FROM tracklets JOIN boxes ON tracklet = number")
        recorded = {name for (name,) in boxes}
    db.close()
    events, tracks = (
        (json.loads(line)["identity"] for line in lines),
        (r.split(",")[1] for r in rows),
    )
    return set(events), set(map(int, tracks)), recorded


@pytest.mark.parametrize("number", [1, 2])
def test_the_command_reaches_what_was_written_of_either_number(path, number, capfd):
    """Nothing but these two numbers, one of which nobody in the gallery bears any more, tells who it was."""
    run = path.parent
    merged(path)[0].close()
    published(run)
    assert names_in(run) == ({2, 9}, {2, 9}, {2, 9})
    copy = shutil.copytree(run / "earlier" / "1", run.with_name("copy"))
    assert main(["forget", str(run), str(number)]) == 0
    assert f"identity {number} (also known as {3 - number}) is forgotten" in capfd.readouterr().err
    assert names_in(run) == ({9}, {9}, {9})
    assert known(path) == {3: ("b",)}
    shutil.copytree(copy, run / "earlier" / "1", dirs_exist_ok=True)
    assert main(["forget", str(run), str(number)]) == 0
    assert names_in(run) == ({9}, {9}, {9}), "it can be repeated"
