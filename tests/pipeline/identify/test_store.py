"""Identities on disk: restarts, sudden death, strangers' files, full disks."""

import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StoreError
from pipeline.frames import TrackletUpdate
from pipeline.identify import GalleryStore, Identifier, IdentifySettings, Site

ROOT = Path(__file__).parents[3]
LOOKS = np.random.default_rng(1).normal(size=(2000, 48)).astype(np.float32)


def show(identifier, tracklets, start=0.0, end=()):
    """Eight frames of some tracklets, {(camera, id): row of LOOKS}; all events."""
    events = []
    for n in range(1, 9):
        now = start + 0.2 * n
        batch = [TrackletUpdate(c, k, now, LOOKS[i], n, 0.5) for (c, k), i in tracklets.items()]
        events += identifier.update(batch, [], now)
    return events + identifier.update([], list(end), start + 2)


def opened(path, **options):
    store = GalleryStore(path, "grl-edge", **options)
    return Identifier(IdentifySettings(), store), store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "identities.db"


def test_a_restart_continues_with_the_same_identities_and_numbers(path):
    identifier, store = opened(path)
    show(identifier, {("a", 1): 0, ("b", 1): 1}, end=[("a", 1)])
    before, found = identifier.list(), identifier.find(LOOKS[0], 2)
    identifier.close()
    identifier.close()

    identifier, store = opened(path)
    assert identifier.find(LOOKS[0], 2) == found
    assert [(p.identity, p.cameras, p.first_seen, p.last_seen) for p in identifier.list()] == [
        (p.identity, p.cameras, p.first_seen, p.last_seen) for p in before
    ]
    assert not any(p.live for p in identifier.list())
    # Local ids begin anew, and mean somebody else now.
    assert identifier.identity_of("a", 1) is None
    show(identifier, {("a", 1): 1, ("b", 1): 0, ("b", 2): 2}, start=100)
    answer = [identifier.identity_of(c, k) for c, k in (("a", 1), ("b", 1), ("b", 2))]
    assert answer == [2, 1, 3]
    store.close()


def test_a_clock_set_back_between_two_runs_separates_nobody(path, caplog):
    """The first run was an hour ahead; a site of which two cameras can never see one person at once."""
    rules = IdentifySettings(site=Site(apart=frozenset({("a", "b")})))
    identifier = Identifier(rules, GalleryStore(path, "grl-edge"))
    show(identifier, {("a", 1): 0, ("b", 1): 1}, start=3600, end=[("a", 1), ("b", 1)])
    identifier.close()
    identifier = Identifier(rules, GalleryStore(path, "grl-edge"))
    show(identifier, {("b", 1): 0, ("a", 1): 1})
    assert [identifier.identity_of("b", 1), identifier.identity_of("a", 1)] == [1, 2]
    identifier.close()
    assert len(caplog.records) == 1
    assert "2 tracklets of an earlier run end up to 3601 s after now" in caplog.text


DOOMED = """
import sys, time, numpy as np
from pathlib import Path
from pipeline.frames import TrackletUpdate
from pipeline.identify import GalleryStore, Identifier, IdentifySettings
looks = np.random.default_rng(1).normal(size=(2000, 48)).astype(np.float32)
identifier = Identifier(IdentifySettings(), GalleryStore(Path(sys.argv[1]), "grl-edge"))
start = time.time()
for i in range(2000):
    for n in (1, 2, 3, 4):
        identifier.update([TrackletUpdate("a", i, i + n / 10, looks[i], n, 0.5)], [], i + n / 10)
    events = identifier.update([], [("a", i)], i + 0.5)
    print(time.time(), i, identifier.identity_of("a", i), flush=True)
    time.sleep(max(0, start + 0.01 * i - time.time()))
"""


def test_kill_9_loses_at_most_the_last_second_and_no_number_is_given_again(path):
    process = subprocess.Popen(
        [sys.executable, "-c", DOOMED, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    said = []
    for line in process.stdout:
        said.append(line.split())
        if float(said[-1][0]) - float(said[0][0]) > 2.5:
            break
    process.send_signal(signal.SIGKILL)
    killed = time.time()
    said += [line.split() for line in process.stdout.read().splitlines()]
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL

    identifier, store = opened(path)
    kept = {p.identity for p in identifier.list()}
    assert len(said) > 50
    old = [(int(i), int(number)) for at, i, number in said if killed - float(at) > 1.0]
    assert old
    assert {number for _, number in old} <= kept
    for i, number in old[:: len(old) // 10]:
        assert identifier.find(LOOKS[i], 1)[0].identity == number
    show(identifier, {("a", 1): 1999}, start=1e4)
    assert identifier.identity_of("a", 1) > max(int(number) for *_, number in said)
    store.close()


def test_forgotten_is_gone_from_memory_and_from_every_byte_on_disk(path):
    identifier, store = opened(path, interval=0.02)
    show(identifier, {("a", 1): 0, ("b", 1): 1}, end=[("a", 1), ("b", 1)])
    store.flush()
    trace = (LOOKS[0] / np.linalg.norm(LOOKS[0])).astype("<f4").tobytes()[:64]

    def on_disk():
        return any(trace in file.read_bytes() for file in path.parent.iterdir())

    assert on_disk()
    visit = GalleryStore(path, owner=False)  # another process, while the live one runs
    assert visit.forget(1)
    assert not visit.forget(1)
    assert not visit.forget(77)
    visit.close()
    assert not on_disk()
    deadline = time.monotonic() + 5
    while identifier.find(LOOKS[0], 1)[0].identity == 1 and time.monotonic() < deadline:
        identifier.update([], [], 3.0)
    assert [p.identity for p in identifier.list()] == [2]
    show(identifier, {("a", 2): 0}, start=10)
    assert identifier.identity_of("a", 2) == 3
    store.close()
    assert {p.identity for p in opened(path)[0].list()} == {2, 3}


def test_what_is_too_old_leaves_the_disk_too(path):
    store = GalleryStore(path, "grl-edge")
    identifier = Identifier(IdentifySettings(retention=50), store)
    show(identifier, {("a", 1): 0}, end=[("a", 1)])
    store.flush()
    show(identifier, {("a", 2): 1}, start=100)
    identifier.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT identity, local_id FROM tracklets").fetchall() == [(2, 2)]
    db.close()


def foreign(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE cakes (name TEXT)")
    db.close()


def text(path):
    path.write_text("not a database, just a long enough text " * 50)


def newer(path):
    opened(path)[1].close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def damaged(path):
    identifier, store = opened(path)
    show(identifier, {("a", i): i for i in range(60)})
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def other_network(path):
    store = GalleryStore(path, "grl-r50")
    show(Identifier(IdentifySettings(), store), {("a", 1): 0})
    store.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (foreign, "not one of identities"),
        (text, "not a file of identities, or is damaged"),
        (newer, "newer version .schema 99"),
        (damaged, "damaged"),
        (other_network, "the network 'grl-r50'.*'grl-edge'"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_sentence(path, make, says):
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=says) as error:
        opened(path)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


def test_embeddings_of_another_length_are_refused(path):
    identifier, store = opened(path)
    show(identifier, {("a", 1): 0})
    store.close()
    with pytest.raises(StoreError, match=r"with 48 values.*with 64"):
        GalleryStore(path, "grl-edge", 64)


def test_there_is_one_live_run_at_a_time(path):
    store = opened(path)[1]
    with pytest.raises(StoreError, match="in use by another live run"):
        opened(path)
    store.close()
    opened(path)[1].close()
    with pytest.raises(StoreError, match="there are no identities at"):
        GalleryStore(path.parent / "none.db", owner=False)
    with pytest.raises(StoreError, match="cannot be opened"):
        GalleryStore(Path("/proc/none/x.db"))


def test_a_number_is_not_given_again_though_none_could_be_reserved(path):
    identifier, store = opened(path, interval=3600)
    with closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
        store._db.execute("PRAGMA busy_timeout = 10")
        show(identifier, {("a", 1): 0})
    store.flush()
    first = identifier.identity_of("a", 1)
    # What kill -9 leaves: the file as it is now.
    copy = path.with_name("left.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    store.close()
    again = GalleryStore(copy, "grl-edge")
    assert again.next_identity > first
    again.close()


def test_somebody_is_known_by_each_of_his_names(path):
    identifier, store = opened(path, interval=3600)
    show(identifier, {("a", 1): 0})
    identity = identifier.identity_of("a", 1)
    store.merge([(identity + 5, identity)])
    store.flush()
    with closing(GalleryStore(path, owner=False)) as visit:
        assert visit.knows(identity)
        assert visit.knows(identity + 5)
        assert not visit.knows(identity + 6)
    store.close()


def test_a_full_disk_is_counted_and_the_loop_goes_on_in_memory(path, caplog):
    identifier, store = opened(path, interval=3600)
    show(identifier, {("a", 1): 0})
    store.flush()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (path.stat().st_size + 4096, hard)
    )  # no file may grow
    try:
        show(identifier, {("b", i): i for i in range(1, 400)}, start=10)
        store.flush()
        store.flush()
        identifier.update([], [], 13.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert identifier.counts.unsaved >= 2
    assert len(caplog.records) == 1  # said once, not twice a second
    assert "going on in memory" in caplog.text
    assert len(identifier.list()) == 400
    # Space again: what could not be saved is saved.
    store.close()
    identifier, store = opened(path)
    assert len(identifier.list()) == 400
    show(identifier, {("a", 1): 777}, start=100)
    assert identifier.identity_of("a", 1) == 401
    store.close()
