"""Whole runs: a real detector and a real embedder on real footage, real signals, and everything that may go wrong."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.cli import main
from pipeline.mot_text import read_mot
from pipeline.settings import load_settings
from pipeline.terminal import lateness

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


def frames_in(video):
    with av.open(str(video)) as film:
        return sum(1 for _ in film.decode(video=0))


# ---- a run as it should be ------------------------------------------------------------------------


def test_a_run_leaves_what_was_promised(finished):
    names = {"hall", "<b>[i]"}
    summary = json.loads((finished / "summary.json").read_text())
    assert set(summary["cameras"]) == names
    for name in names:
        camera = summary["cameras"][name]
        assert (camera["state"], camera["frames"], camera["drops"]) == ("ended", 60, 0)
        assert frames_in(finished / f"{name}.mp4") == 60
    assert summary["frames"] == 120
    assert summary["failed_outputs"] == {}
    assert summary["latency_seconds"] == {}, "nothing was live"
    assert summary["slots"]["capacity"] == 32
    assert summary["slots"]["open"] == 0
    assert set(summary["stage_seconds"]) >= {"detect", "track", "embed", "identify", "publish"}
    report = (finished / "report.html").read_text()
    assert "http" not in report
    assert "<b>" not in report
    assert "&lt;b&gt;[i]" in report


def test_nothing_is_left_to_compile_once_frames_come(site, people, tmp_path):
    """In a process of its own, and with floors."""
    known = tmp_path / "site.toml"
    floor = "size = [768, 432]\nfloor = [8, 0, -3072, 0, 0, 1500, 0, 1, -100]\nerror = 0.3\n"
    grounds = (f"[[ground]]\ncamera = '{name}'\n{floor}" for name in ("hall", "<b>[i]"))
    known.write_text(site.read_text() + "".join(grounds))
    code = """
import sys
from numba.core.caching import Cache
from pipeline.cli import main
from pipeline.live import LiveLoop
late, load, run = [], Cache.load_overload, LiveLoop.run
def noted(self, *what):
    late.append(self._name)
    return load(self, *what)
def begun(self, *how, **more):
    Cache.load_overload = noted
    run(self, *how, **more)
LiveLoop.run = begun
print(main(sys.argv[1:]), late)
"""
    words = ["--site", str(known), "--as-fast-as-possible", "--output", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_tracks_and_events_tell_the_same(finished, events_of):
    """People are in the clip: yolox_nano finds two or three in it, each for about 40 frames."""
    events = events_of(finished)
    founded = {e["identity"] for e in events if e["kind"] == "founded"}
    tracks = read_mot(
        finished / "tracks" / "hall.txt"
    )  # refuses the same identity twice in a frame
    assert len(tracks.frames) > 50
    assert 1 <= tracks.frames.min() <= tracks.frames.max() <= 60
    assert set(tracks.ids.tolist()) <= founded
    assert len(founded) >= 2
    assert (tracks.boxes[:, 2:] > tracks.boxes[:, :2]).all()
    ends = [(e["camera"], e["local_id"]) for e in events if e["kind"] == "left"]
    assert len(ends) == len(set(ends))
    assert set(ends) == {(e["camera"], e["local_id"]) for e in events}
    assert json.loads((finished / "summary.json").read_text())["identities"] == len(founded)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_good_order(
    number, networks, test_data, tmp_path, words_for, events_of, cut
):
    """Sent to a run in real time as soon as it has told of somebody."""
    clip = cut(test_data / "clips" / "people-detection.264", tmp_path / "long.mp4", 200, 500)
    output = tmp_path / "run"
    command = [sys.executable, "run_pipeline.py", str(clip), *words_for(networks)]
    process = subprocess.Popen(
        [*command, "--output", str(output)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    deadline = time.monotonic() + PATIENCE
    events = output / "events.jsonl"
    while not (events.is_file() and events.stat().st_size) and time.monotonic() < deadline:
        with pytest.raises(subprocess.TimeoutExpired):  # it must not end by itself
            process.wait(0.05)
    process.send_signal(number)
    sent = time.monotonic()
    printed, told = process.communicate(timeout=PATIENCE)
    took = time.monotonic() - sent
    assert process.returncode == 0, told
    crowded = os.getloadavg()[0] / (os.cpu_count() or 1)  # by other tests, among others
    assert took < 2.0 * max(1.0, crowded)
    assert printed == ""
    assert "Traceback" not in told
    summary = json.loads((output / "summary.json").read_text())
    kinds = [event["kind"] for event in events_of(output)]
    assert kinds.count("left") >= 1
    assert summary["events"]["left"] == kinds.count("left")
    assert 0 < summary["frames"] < 300, "in the middle"
    assert frames_in(output / "long.mp4") == summary["frames"]
    assert len(read_mot(output / "tracks" / "long.txt").frames) > 0
    assert (output / "report.html").read_text().rstrip().endswith("</html>")
    assert 0 < summary["latency_seconds"]["p95"] < 10


def test_what_a_camera_is_told_to_leave_out_is_left_out(networks, people, tmp_path):
    """60 frames at 25 a second, looked at 5 times a second; two stand still, one of them in a zone to ignore."""
    from pipeline.frames import Detections
    from pipeline.run import RunOptions, run
    from pipeline.settings import CameraSettings, EmbedderSettings, Settings

    boxes = np.array([[100, 100, 160, 260], [500, 100, 560, 260]], np.float32)
    indices = []

    def detect(frames):
        indices.extend(frame.index for frame in frames)
        return [Detections(boxes, np.array([0.9, 0.9], np.float32)) for _ in frames]

    half = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
    camera = CameraSettings(str(people), "hall", max_rate=5, ignore=(half,))
    settings = Settings((camera,), embedder=EmbedderSettings(str(networks["embedder"]), slots=4))
    options = RunOptions(tmp_path / "run", every_frame=True, video=False)
    summary = run(settings, options, detect=detect)
    assert indices == list(range(0, 60, 5))
    assert (summary["frames"], summary["cameras"]["hall"]["drops"]) == (12, 0)
    tracks = read_mot(tmp_path / "run" / "tracks" / "hall.txt")
    assert len(tracks.frames) > 5
    assert (tracks.boxes[:, 0] == 100).all()


def test_what_comes_while_a_run_ends_is_not_dropped(networks, test_data, cut, tmp_path):
    """The last look takes a second, and 25 frames come meanwhile; when it begins, the run has been told to end."""
    from pipeline.frames import NOBODY
    from pipeline.run import RunOptions, run
    from pipeline.settings import CameraSettings, EmbedderSettings, Settings

    film = cut(test_data / "clips" / "people-detection.264", tmp_path / "hall.mp4", 200, 300)
    looked, told = [], []

    def detect(frames):
        looked.extend(frames)
        if told:
            time.sleep(1.0)
        elif len(looked) > 20:
            told.append(True)
        return [NOBODY for _ in frames]

    embedder = EmbedderSettings(str(networks["embedder"]), slots=4)
    settings = Settings((CameraSettings(str(film), "hall"),), embedder=embedder)
    options = RunOptions(tmp_path / "run", video=False)
    summary = run(settings, options, detect=detect, stop=lambda: bool(told))
    assert summary["cameras"]["hall"]["drops"] == 0
    assert 20 < summary["frames"] < 30
    assert summary["cameras"]["hall"]["frames"] - summary["frames"] <= 4, "what waited"


# ---- passwords ------------------------------------------------------------------------------------


def test_a_password_is_nowhere(networks, tmp_path, capfd, words_for):
    output = tmp_path / "run"
    addresses = ["rtsp://user:s3cretword@127.0.0.1:9/x", "http://127.0.0.1:9/v?token=s3cretword"]
    command = [sys.executable, "run_pipeline.py", *addresses, *words_for(networks)]
    command += ["--duration", "2", "--output", str(output), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, "no camera gave a single picture"
    summary = json.loads(done.stdout)
    assert summary["cameras"]["cam1"]["state"] in ("retrying", "connecting")
    assert "127.0.0.1:9" in summary["cameras"]["cam1"]["address"]
    assert "s3cret" not in done.stdout + done.stderr
    files = [path for path in output.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"summary.json", "report.html", "events.jsonl"}
    assert [path for path in files if b"s3cret" in path.read_bytes()] == []


# ---- bad input ------------------------------------------------------------------------------------


def test_no_camera_is_refused(refused, tmp_path):
    assert "there is no camera" in refused("--output", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_site_with_an_unknown_option_is_refused_with_its_brackets(refused, tmp_path):
    (tmp_path / "site.toml").write_text('[[camera]]\nadress = "hall.mp4"\n')
    assert "site.toml, [[camera]] has no 'adress'" in refused("--site", tmp_path / "site.toml")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("rtsp://", "no valid host name"),
        ("rtsp://camera:port/x", "malformed host or port"),
        ("ftp://camera/x", "of the kind ftp, which cannot be read"),
        ("nowhere[/].mp4", "There is no file or folder nowhere[/].mp4"),
    ],
)
def test_a_bad_address_is_refused_before_networks_load(refused, tmp_path, address, told):
    words = [address, "--detector", tmp_path / "none.onnx", "--output", tmp_path / "run"]
    assert told in refused(*words)


def test_wrong_networks_are_refused(refused, networks, people, tmp_path):
    detector, embedder = networks["detector"], networks["embedder"]
    (tmp_path / "noise.onnx").write_bytes(b"no network at all" * 99)
    (tmp_path / "empty").mkdir()
    output = ["--output", tmp_path / "run"]
    for words, told in [
        (["--detector", embedder, "--embedder", embedder], "is not a detector"),
        (["--detector", detector, "--embedder", detector], "is a detector, not an embedder"),
        (["--detector", tmp_path / "none.onnx"], "none.onnx"),
        (["--detector", tmp_path / "noise.onnx"], "noise.onnx"),
        (["--detector", tmp_path / "empty"], "empty"),
    ]:
        assert told in refused(people, *words, *output)
    assert not (tmp_path / "run").exists()


def test_an_unwritable_output_is_refused(refused, networks, people, tmp_path, words_for):
    (tmp_path / "file").write_text("in the way")
    said = refused(people, *words_for(networks), "--output", tmp_path / "file" / "run")
    assert "cannot write into" in said
    (tmp_path / "run" / "tracks").mkdir(parents=True)
    (tmp_path / "run" / "events.jsonl").mkdir()
    assert "cannot write into" in refused(
        people, *words_for(networks), "--output", tmp_path / "run"
    )


def test_names_that_cannot_be_files_are_refused(refused, people, tmp_path):
    for name, told in [
        ("../x", "cannot be called '../x'"),
        ("a/b", "cannot be called 'a/b'"),
        ("é" * 101, "200 bytes is as long as that may be"),
    ]:
        path = tmp_path / "site.toml"
        path.write_text(f'[[camera]]\nname = "{name}"\naddress = "{people}"\n')
        assert told in refused("--site", path)
    longest = "é" * 100
    path.write_text(f'[[camera]]\nname = "{longest}"\naddress = "{people}"\n')
    assert load_settings(path).names(["cam1"]) == [longest]
    path.write_text(f'[[camera]]\nname = "a"\naddress = "{people}"\n' * 2)
    assert "two cameras are called 'a'" in refused("--site", path)


def test_durations_and_unknown_options_are_refused(capfd):
    for words in (["x.mp4", "--duration", "-1"], ["x.mp4", "--duration", "nan"], ["--nonsense"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
    assert "Traceback" not in capfd.readouterr().err


def test_a_run_that_is_not_there(refused, tmp_path):
    assert "no identities" in refused("list", tmp_path / "none")
    assert "no identities" in refused("forget", tmp_path / "none", "1")


def test_a_run_in_which_no_camera_came_is_an_error(networks, tmp_path, capfd, words_for):
    words = ["rtsp://127.0.0.1:9/none", *words_for(networks), "--output", tmp_path / "run"]
    assert main([*map(str, words), "--duration", "1", "--no-video"]) == 2
    assert "no camera gave a single picture" in capfd.readouterr().err


def test_a_film_that_is_none_ends_in_an_error(networks, tmp_path, capfd, words_for):
    (tmp_path / "noise.mp4").write_bytes(b"no film at all" * 999)
    words = [tmp_path / "noise.mp4", *words_for(networks), "--output", tmp_path / "run"]
    assert main(list(map(str, words))) == 2
    told = capfd.readouterr().err
    assert "camera noise: " in told
    assert "error: no camera gave a single picture" in told
    assert "Traceback" not in told


def test_an_output_that_fails_takes_no_other_with_it(networks, people, tmp_path, capfd, words_for):
    """The video's place is taken by a folder."""
    output = tmp_path / "run"
    (output / "people.mp4").mkdir(parents=True)
    words = [str(people), *words_for(networks), "--as-fast-as-possible", "--output", str(output)]
    assert main(words) == 2
    told = capfd.readouterr().err
    assert "Traceback" not in told
    assert "not everything could be written (AnnotatedVideos: " in told
    assert json.loads((output / "summary.json").read_text())["frames"] == 60
    assert len(read_mot(output / "tracks" / "people.txt").frames) > 50


def frames_until_cut(path):
    """How many pictures can be shown of a file that may end anywhere."""
    shown = 0
    with suppress(av.error.InvalidDataError), av.open(str(path)) as file:
        for _ in file.decode(video=0):
            shown += 1
    return shown


def test_a_full_disk_is_told_and_what_was_written_is_sound(
    networks, people, tmp_path, words_for, events_of
):
    """A file system of 360 kB, on which the video meets its end first and everything else after it."""
    full, kept = tmp_path / "full", tmp_path / "kept"
    full.mkdir()
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs a user namespace to mount a small file system in")
    shutil.copy(people, again := tmp_path / "again.mp4")
    words = [str(people), str(again), *words_for(networks), "--as-fast-as-possible"]
    words += ["--output", str(full)]
    script = (
        'mount -t tmpfs -o size=360k none "$1" && { shift 2; "$@"; code=$?; }; '
        'cp -r "$FULL" "$KEPT"; exit $code'
    )
    done = subprocess.run(
        [
            "unshare",
            "-rm",
            "sh",
            "-c",
            script,
            "sh",
            str(full),
            "--",
            sys.executable,
            "run_pipeline.py",
            *words,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "FULL": str(full), "KEPT": str(kept)},
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert "not everything could be written (" in told[0]
    assert "AnnotatedVideos: " in told[0]
    assert "No space left on device" in told[0]
    assert 0 < sum(frames_until_cut(kept / f"{name}.mp4") for name in ("people", "again")) < 120
    events_of(kept)  # whole lines of JSON
    read_mot(kept / "tracks" / "people.txt")
    with sqlite3.connect(kept / "identities.db") as db:
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    db.close()
    for name, end in (("summary.json", "}\n"), ("report.html", "</html>\n")):
        if (kept / name).exists():
            assert (kept / name).read_text().endswith(end)
    assert list(kept.rglob(".*")) == []


def test_a_folder_in_use_is_refused_and_left_as_it_is(
    refused, finished, networks, people, words_for
):
    from pipeline.identify import GalleryStore

    store = GalleryStore(finished / "identities.db", "person-reidentification-retail-0288")
    before = (finished / "events.jsonl").read_bytes()
    assert before
    refused(people, *words_for(networks), "--output", finished)
    store.close()
    assert (finished / "events.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("looked_at", "drops", "says"), [(1990, 10, None), (800, 1200, "1200 of 2000 frames")]
)
def test_a_run_that_could_not_keep_up_says_so(looked_at, drops, says):
    cameras = {"hall": {"drops": drops - drops // 2}, "court": {"drops": drops // 2}}
    told = lateness({"frames": looked_at, "cameras": cameras})
    assert told is None if says is None else says in told
