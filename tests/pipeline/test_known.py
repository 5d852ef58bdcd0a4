"""Who is known: found by a picture, listed, and forgotten wherever something of them was written."""

import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import zlib
from contextlib import closing
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.cli import main
from pipeline.errors import FeedError
from pipeline.folder import expired_parts, latest_run, set_aside
from pipeline.frames import TrackletUpdate
from pipeline.identify import GalleryStore, Identifier, IdentifySettings
from pipeline.ingest.folder import FolderFeed
from pipeline.mot_text import read_mot
from pipeline.publish.erase import erase

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


@pytest.fixture
def run(finished, tmp_path):
    """A finished run that may be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def portrait(finished, people, tmp_path):
    """Somebody in the hall as a picture of the whole scene, with the box and the number of the run's own tracks."""
    tracks = read_mot(finished / "tracks" / "hall.txt")
    best = int(np.argmax(tracks.boxes[:, 3] - tracks.boxes[:, 1]))
    with av.open(str(people)) as film:
        frames = [frame.to_ndarray(format="bgr24") for frame in film.decode(video=0)]
    image = frames[tracks.frames[best] - 1]
    left, top, right, bottom = np.clip(tracks.boxes[best], 0, (768, 432) * 2).astype(int).tolist()
    cv2.imwrite(str(tmp_path / "scene.png"), image)
    cv2.imwrite(str(tmp_path / "crop.png"), image[top:bottom, left:right])
    box = f"{left},{top},{right - left},{bottom - top}"
    return tmp_path / "scene.png", box, tmp_path / "crop.png", int(tracks.ids[best])


def listed(run, capfd):
    assert main(["list", str(run), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


# ---- find -----------------------------------------------------------------------------------------


def test_a_person_is_found_by_a_picture(finished, networks, portrait, capfd):
    scene, box, crop, identity = portrait
    embedder = ["--embedder", str(networks["embedder"])]
    answers = []
    database = ["--database", str(finished / "identities.db")]
    for where in (
        [str(finished), "--image", str(crop)],
        [*database, "--image", str(scene), "--box", box],
    ):
        assert main(["find", *where, *embedder, "--json"]) == 0
        answers.append(json.loads(capfd.readouterr().out))
    assert answers[0] == answers[1], "the box is where the crop was taken"
    first, *others = answers[0]
    assert first["identity"] == identity
    assert first["score"] > 0
    assert all(first["similarity"] > other["similarity"] for other in others)
    known = {person["identity"]: person for person in listed(finished, capfd)}
    assert first["last_seen"] == known[identity]["last_seen"]
    assert first["last_camera"] in ("hall", "<b>[i]")


def test_what_cannot_be_found_is_refused(refused, finished, networks, portrait, tmp_path):
    scene, _, crop, _ = portrait
    embedder = ["--embedder", networks["embedder"]]
    (tmp_path / "noise.jpg").write_bytes(b"no picture" * 99)
    (tmp_path / "empty.jpg").touch()
    for image in ("noise.jpg", "empty.jpg"):
        told = refused("find", finished, "--image", tmp_path / image, *embedder)
        assert "is not a picture" in told
    assert "cannot read" in refused("find", finished, "--image", tmp_path / "none.png", *embedder)
    told = refused("find", finished, "--image", scene, "--box", "700,0,100,100", *embedder)
    assert "not within 768×432" in told
    GalleryStore(tmp_path / "new.db").close()
    nobody = ["--database", tmp_path / "new.db"]
    assert "knows nobody" in refused("find", *nobody, "--image", crop, *embedder)
    assert "not both" in refused("find", finished, *nobody, "--image", crop, *embedder)


def test_another_embedder_is_refused_by_name_and_by_weights(
    refused, finished, networks, portrait, tmp_path
):
    crop = portrait[2]
    told = refused("find", finished, "--image", crop)  # with the one that is shipped
    assert "holds embeddings of the network 'person-reidentification-retail-0288'" in told
    assert "'grl-edge'" in told
    other = shutil.copyfile(networks["embedder"], tmp_path / networks["embedder"].name)
    weights = bytearray(networks["embedder"].with_suffix(".bin").read_bytes())
    weights[1000] ^= 1
    other.with_suffix(".bin").write_bytes(weights)
    told = refused("find", finished, "--image", crop, "--embedder", other)
    assert "other weights" in told


# ---- list and forget ------------------------------------------------------------------------------


def test_identities_are_listed_forgotten_and_stay_forgotten(run, capfd):
    before = [person["identity"] for person in listed(run, capfd)]
    assert before
    assert main(["list", str(run)]) == 0
    table = capfd.readouterr().out
    assert sum("hall" in line for line in table.splitlines()) == len(before), "a line for each"
    assert main(["forget", str(run), str(before[0])]) == 0
    assert "stay as they were counted" in capfd.readouterr().err
    assert [person["identity"] for person in listed(run, capfd)] == before[1:]
    assert main(["forget", str(run), str(before[0])]) == 2
    assert f"knows no identity {before[0]}" in capfd.readouterr().err


def test_of_the_forgotten_nothing_is_left_in_the_folder(run, events_of, capfd):
    before = events_of(run)
    identity = next(e["identity"] for e in before if e["kind"] == "founded")
    others = [e for e in before if identity not in (e["identity"], e["previous"])]
    rows = {p.name: p.read_text().splitlines() for p in (run / "tracks").iterdir()}
    assert any(row.split(",")[1] == str(identity) for row in rows["hall.txt"])
    assert f">{identity}</text>" in (run / "report.html").read_text()
    earlier = run / "earlier" / "1"  # what the run before it left is searched too
    (earlier / "tracks").mkdir(parents=True)
    (earlier / "tracks" / "yard.txt").write_text(f"1,{identity},0,0,9,9,1,-1,-1,-1\n")

    assert main(["forget", str(run), str(identity)]) == 0
    told = capfd.readouterr().err
    assert "videos cannot be rewritten" in told
    assert "not looked into" not in told
    assert str(run / "hall.mp4") in told
    assert events_of(run) == others, "and nothing of anybody else is gone"
    for name, kept in rows.items():
        assert (run / "tracks" / name).read_text().splitlines() == [
            row for row in kept if row.split(",")[1] != str(identity)
        ]
    assert (earlier / "tracks" / "yard.txt").read_text() == ""
    report = (run / "report.html").read_text()
    assert f">{identity}</text>" not in report
    assert f"<title>{identity} at" not in report
    assert report.rstrip().endswith("</html>")
    assert list(run.rglob(".*")) == [], "no draft is left behind"


def test_a_correction_to_somebody_forgotten_goes_and_one_away_from_them_stays_without_them(
    tmp_path,
):
    """Tracklet 1 was held to be 5 and is 7; tracklet 2 was held to be 7 and is 5."""

    def line(kind, identity, local, previous=None):
        event = {"kind": kind, "identity": identity, "camera": "a", "local_id": local}
        return json.dumps(event | {"previous": previous}) + "\n"

    first = [line("founded", 5, 1), line("corrected", 7, 1, 5), line("left", 7, 1)]
    second = [line("founded", 7, 2), line("corrected", 5, 2, 7), line("left", 5, 2)]
    (tmp_path / "events.jsonl").write_text("".join(first + second))
    assert erase(tmp_path, {7}).events == 5
    left = line("corrected", 5, 2, None) + line("left", 5, 2)
    assert (tmp_path / "events.jsonl").read_text() == left


def test_the_latest_run_is_the_one_that_is_written_to(tmp_path, monkeypatch):
    """A live run writes into the log beside its file: one that has ended since must not be taken for it."""
    monkeypatch.chdir(tmp_path)

    def told(folder, local):
        look = np.eye(8, dtype=np.float32)[local]
        stores[folder].update([TrackletUpdate("hall", local, 1e9, look, 8, 1.0)], [], 1e9)
        stores[folder].close() if folder == "ended" else time.sleep(1.2)

    stores = {}
    for folder in ("live", "ended"):
        (tmp_path / "runs" / folder).mkdir(parents=True)
        store = GalleryStore(tmp_path / "runs" / folder / "identities.db", "n", 8)
        stores[folder] = Identifier(IdentifySettings(), store)
    told("live", 1)
    told("ended", 1)
    told("live", 2)
    assert latest_run() == Path("runs/live")
    stores["live"].close()


@pytest.mark.parametrize("number", ["0", "-1", "99999999999999999999", "x"])
def test_nobody_cannot_be_forgotten(run, number, capfd):
    before = (run / "record.db").read_bytes() if (run / "record.db").exists() else b""
    with pytest.raises(SystemExit) as ended:
        main(["forget", str(run), number])
    assert ended.value.code == 2
    assert "Traceback" not in capfd.readouterr().err
    after = (run / "record.db").read_bytes() if (run / "record.db").exists() else b""
    assert before == after


@pytest.mark.parametrize(
    "words",
    [
        ["run_pipeline.py", "list", "RUN", "--json"],
        ["-m", "engines", "inspect", "models/grl-edge", "--json"],
        ["-m", "calibration", "collect", "--purge", "RUN", "--json"],
    ],
    ids=lambda words: words[-2],
)
def test_an_answer_that_nobody_reads_is_no_trouble(run, words):
    command = [sys.executable, *(str(run) if word == "RUN" else word for word in words)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as asked:
        asked.stdout.close()
        assert asked.stderr.read() == b""
        assert asked.wait(PATIENCE) == 141


def test_what_a_live_run_could_not_take_out_is_said(run):
    tracks = read_mot(run / "tracks" / "hall.txt")
    assert erase(run, {10**6}, live=True).failures == ()
    said = erase(run, {int(tracks.ids[0])}, live=True).failures
    assert any("hall.txt still shows them" in failure for failure in said)


def test_a_live_run_takes_it_too(networks, test_data, tmp_path, words_for, events_of, cut):
    clip = cut(test_data / "clips" / "people-detection.264", tmp_path / "long.mp4", 200, 600)
    output = tmp_path / "run"
    command = [
        sys.executable,
        "run_pipeline.py",
        str(clip),
        *words_for(networks),
        "--no-video",
        "--record",
    ]
    process = subprocess.Popen(
        [*command, "--output", str(output)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    events = output / "events.jsonl"
    deadline = time.monotonic() + PATIENCE
    while not (events.is_file() and events.stat().st_size) and time.monotonic() < deadline:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    identity = events_of(output)[0]["identity"]
    nobody = main(["forget", str(output), str(identity + 200)])
    forgotten = main(["forget", str(output), str(identity)])
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert (nobody, forgotten, process.returncode) == (2, 0, 0), told
    assert [e["kind"] for e in events_of(output) if e["identity"] == identity] == ["forgotten"]
    assert all(e["previous"] != identity for e in events_of(output))
    tracks = read_mot(output / "tracks" / "long.txt")
    assert identity not in tracks.ids
    with sqlite3.connect(output / "record.db") as db:
        names = {name for (name,) in db.execute("SELECT identity FROM tracklets")}
        orphans = db.execute(
            "SELECT count(*) FROM boxes WHERE tracklet NOT IN (SELECT number FROM tracklets)"
        ).fetchone()
    db.close()
    assert identity not in names
    assert orphans == (0,)
    assert names & set(tracks.ids.tolist()), "and it was recording"
    assert len(tracks.ids), "whoever is still in view is somebody new"
    assert f">{identity}</text>" not in (output / "report.html").read_text()


def part_of(run, *people, rows=1):
    """What an earlier day of this run left of some people."""
    part = run / "earlier" / "1"
    (part / "tracks").mkdir(parents=True)
    event = {"kind": "founded", "camera": "hall", "time": 1.0, "score": 0.0, "previous": None}
    (part / "events.jsonl").write_text(
        "".join(json.dumps({**event, "identity": n, "local_id": n}) + "\n" for n in people)
    )
    lines = (
        f"{f},{n},1.0,1.0,9.0,9.0,0.900,-1,-1,-1\n" for f in range(1, rows + 1) for n in people
    )
    (part / "tracks" / "hall.txt").write_text("".join(lines))
    (part / "report.html").write_text("<html>\n</html>\n")
    return part


def test_whom_a_live_run_has_let_go_of_is_erased_from_the_days_before(tmp_path, capfd):
    part = part_of(tmp_path, 17)
    with closing(GalleryStore(tmp_path / "identities.db", "net", 4)) as store:
        store.reserve(100)
        store.flush()
        (tmp_path / "events.jsonl").touch()
        assert main(["forget", str(tmp_path), "17"]) == 0
        assert main(["forget", str(tmp_path), "17"]) == 2
    assert "identity 17 is forgotten (1 events, 1 rows" in capfd.readouterr().err
    assert (part / "events.jsonl").read_text() == (part / "tracks" / "hall.txt").read_text() == ""


def test_what_a_live_run_does_not_answer_for_is_erased_all_the_same(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("pipeline.known._PATIENCE", 0.2)
    part = part_of(tmp_path, 1)
    store = GalleryStore(tmp_path / "identities.db", "net", 8)
    with closing(Identifier(IdentifySettings(), store)) as identifier:
        look = np.eye(8, dtype=np.float32)[0]
        identifier.update([TrackletUpdate("hall", 1, 1e9, look, 8, 1.0)], [], 1e9)
        store.flush()
        assert main(["forget", str(tmp_path), "1"]) == 2  # nobody turns the loop
    assert "repeat this when that run has ended" in capfd.readouterr().err
    assert (part / "events.jsonl").read_text() == ""


def test_two_may_be_forgotten_at_once(tmp_path, capfd):
    part = part_of(tmp_path, 17, 18, 19, rows=60_000)
    with closing(GalleryStore(tmp_path / "identities.db", "net", 4)) as store:
        store.reserve(100)
        store.flush()
        answers: list[int] = []
        several = [
            threading.Thread(target=lambda n=n: answers.append(main(["forget", str(tmp_path), n])))
            for n in ("17", "18")
        ]
        for one in several:
            one.start()
        for one in several:
            one.join()
    assert answers == [0, 0]
    rows = (part / "tracks" / "hall.txt").read_text().splitlines()
    assert len(rows) == 60_000
    assert {row.split(",")[1] for row in rows} == {"19"}


def test_forgetting_somebody_keeps_no_day_for_longer(tmp_path):
    now, day = time.time(), 86400
    part = part_of(tmp_path, 17, 18)
    for path in (*part.rglob("*"), part):
        os.utime(path, (now - 13 * day, now - 13 * day))
    assert erase(part, {17}).rows == 1
    assert expired_parts(tmp_path, now - 13.5 * day) == []
    assert expired_parts(tmp_path, now - 12.5 * day) == [part]


def test_files_that_move_on_meanwhile_are_no_failure(tmp_path):
    part = part_of(tmp_path, 17)
    (part / "tracks" / "court.txt").symlink_to("gone")
    assert erase(part, {18}, live=True).failures == ()
    assert erase(part, {17}).failures == ()


def test_a_picture_that_says_it_is_larger_than_any_is_none(tmp_path, run, capfd):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    vast = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0"))
    (tmp_path / "2.png").write_bytes(vast + chunk(b"IEND", b""))
    assert main(["find", str(run), "--image", str(tmp_path / "2.png")]) == 2
    assert "is not a picture that can be read" in capfd.readouterr().err
    small = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    for name in "13":
        (tmp_path / f"{name}.png").write_bytes(small)
    shown = []
    with pytest.raises(FeedError, match=r"1 of 3 pictures in .* the first is 2.png"):
        shown.extend(FolderFeed(tmp_path, 25).pictures())
    assert len(shown) == 2


def test_a_database_of_before_weights_were_noted_is_still_good(tmp_path):
    """Schema 1 as the first version wrote it; the first run that owns it notes its own weights."""
    path = tmp_path / "identities.db"
    GalleryStore(path, "grl-edge", 48).close()
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE network DROP COLUMN digest")
        db.execute("INSERT INTO network VALUES ('grl-edge', 48)")
        db.execute("DROP TABLE merged")
        db.execute("DROP TABLE rulers")
        for column in ("stature", "measured"):
            db.execute(f"ALTER TABLE tracklets DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
    db.close()
    Identifier(IdentifySettings(), GalleryStore(path, "grl-edge", digest="a" * 64)).close()
    from pipeline.errors import StoreError

    with pytest.raises(StoreError, match=r"other weights of .grl-edge. .aaaaaaaaaaaa, not bbbb"):
        GalleryStore(path, "grl-edge", digest="b" * 64, owner=False)


# ---- a second run ---------------------------------------------------------------------------------


def test_a_second_run_into_the_same_folder_loses_nothing_of_the_first(
    run, site, networks, events_of, capfd
):
    wanted = ("events.jsonl", "report.html", "summary.json", "hall.mp4", "tracks/hall.txt")
    first = {name: (run / name).read_bytes() for name in wanted}
    old = {event["identity"] for event in events_of(run)}
    words = ["--site", str(site), "--as-fast-as-possible", "--no-video", "--output", str(run)]
    assert main(words) == 0
    assert str(run / "earlier" / "1") in capfd.readouterr().err
    assert {name: (run / "earlier" / "1" / name).read_bytes() for name in wanted} == first
    assert json.loads((run / "summary.json").read_text())["earlier"] == ["earlier/1"]
    new = {event["identity"] for event in events_of(run) if event["kind"] == "founded"}
    assert not new & old, "identities go on"
    capfd.readouterr()
    assert {person["identity"] for person in listed(run, capfd)} >= new
    assert not (run / "hall.mp4").exists()
    assert set_aside(run) == ["earlier/1", "earlier/2"]
    assert set_aside(run) == ["earlier/1", "earlier/2"], "there was nothing to move"


def test_an_input_is_not_set_aside(networks, people, tmp_path, words_for):
    film = shutil.copyfile(people, tmp_path / "hall.mp4")
    words = [*words_for(networks), "--output", str(tmp_path), "--as-fast-as-possible", "--no-video"]
    for _ in range(2):
        assert main([str(film), *map(str, words)]) == 0
    assert film.exists()
    assert (tmp_path / "earlier" / "1" / "tracks" / "hall.txt").stat().st_size


def test_an_input_is_never_written_over(refused, networks, people, tmp_path, words_for):
    film = shutil.copyfile(people, tmp_path / "hall.mp4")
    before = film.read_bytes()
    told = refused(film, *words_for(networks), "--output", tmp_path)
    assert "would take its place" in told
    assert film.read_bytes() == before
