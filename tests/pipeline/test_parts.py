"""Runs of weeks: their files begin anew, nobody loses his name over it, and what is past its day goes."""

import http.server
import json
import os
import threading
import time

import av
import cv2
import pytest

from pipeline.cli import main
from pipeline.folder import FileSettings, make_folder, set_aside
from pipeline.mot_text import read_mot
from pipeline.publish.erase import erase
from pipeline.publish.parts import Parts
from pipeline.publish.sink import EverySink
from tests.pipeline.sightings import event, sighting

DAY = 86400.0


class Clock:
    now = 1.8e9 - 1.8e9 % DAY + DAY / 2

    def __call__(self):
        return self.now - time.localtime(self.now).tm_gmtoff


def show(parts, index, people, *events):
    parts.events([event(*told) for told in events])
    parts.sighting(sighting(index, people, time=1e9 + index / 10))
    parts.ended([])


def opened(folder, settings, clock, **options):
    told = []

    def conclude(journal):
        told.append(journal.by_identity())
        (folder / "report.html").touch()

    return Parts(folder, settings, conclude=conclude, clock=clock, **options), told


def pictures(path):
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def test_a_new_day_begins_new_files_in_which_people_keep_their_names(tmp_path):
    clock = Clock()
    parts, told = opened(tmp_path, FileSettings(keep_days=0), clock, video=True)
    show(parts, 0, {1: 5}, ("founded", 5, 1))
    show(parts, 1, {1: 5})
    clock.now += DAY / 2
    show(parts, 2, {1: 5})  # the last news of the old day
    show(parts, 3, {1: 5})
    show(parts, 4, {1: 5, 2: 6}, ("founded", 6, 2))
    clock.now += DAY / 3
    show(parts, 5, {1: 5, 2: 6})
    parts.close()
    old = tmp_path / "earlier" / "1"
    assert [read_mot(p / "tracks" / "hall.txt").frames.tolist() for p in (old, tmp_path)] == [
        [1, 2, 3],
        [4, 5, 5, 6, 6],
    ]
    assert [pictures(p / "hall.mp4") for p in (old, tmp_path)] == [3, 3]
    events = [(p / "events.jsonl").read_text().splitlines() for p in (old, tmp_path)]
    assert [[json.loads(line)["identity"] for line in lines] for lines in events] == [[5], [6]]
    assert (old / "report.html").is_file()
    assert not (tmp_path / "earlier" / "2").exists()
    assert [set(day) for day in told] == [{5}]
    assert set(parts.journal.by_identity()) == {5, 6}, "5 got his name the day before"


def test_what_is_past_its_day_goes_and_nothing_else(tmp_path):
    clock = Clock()
    clock.now = time.time()
    for number, days in ((1, 20), (2, 3), (3, 20), ("mine", 20)):
        part = tmp_path / "earlier" / str(number) / "tracks"
        part.mkdir(parents=True)
        (part / "hall.txt").touch()
        for path in (part / "hall.txt", part, part.parent):
            os.utime(path, (0, clock.now - days * DAY))
    (tmp_path / "earlier" / "3" / "notes.txt").touch()  # somebody works with it
    for settings in (None, FileSettings(keep_days=0)):
        opened(tmp_path, settings, clock, video=False)[0].close()
        assert (tmp_path / "earlier" / "1").is_dir()
    opened(tmp_path, FileSettings(), clock, video=False)[0].close()
    assert sorted(p.name for p in (tmp_path / "earlier").iterdir()) == ["2", "3", "mine"]


def test_a_clock_that_leaps_gets_a_day_to_be_set_right(tmp_path, caplog):
    clock, watch = Clock(), Clock()
    clock.now = time.time()
    part = tmp_path / "earlier" / "1"
    part.mkdir(parents=True)
    (part / "old").touch()
    parts, _ = opened(tmp_path, FileSettings(), clock, video=False, steady=lambda: watch.now)
    clock.now += 20 * DAY
    show(parts, 0, {1: 5})
    assert (part / "old").exists()
    assert [r.getMessage() for r in caplog.records if "clock leapt by 1728000 s" in r.getMessage()]
    clock.now += DAY  # nobody set it right, and the watch slept: so it is
    show(parts, 1, {1: 5})
    parts.close()
    assert not (part / "old").exists()


def test_a_part_that_cannot_begin_is_tried_again_and_what_is_old_makes_room_for_it(
    tmp_path, caplog
):
    """A file stands where the next part's folder would be, as a full disk would be in the way."""
    clock, watch = Clock(), Clock()
    clock.now = time.time()
    parts, _ = opened(tmp_path, FileSettings(), clock, video=False, steady=lambda: watch.now)
    loop = EverySink([parts])
    show(loop, 0, {1: 5}, ("founded", 5, 1))
    (tmp_path / "earlier").touch()
    clock.now += DAY
    watch.now += DAY
    show(loop, 1, {1: 5})
    show(loop, 2, {1: 5})
    assert "Parts" in parts.failures
    assert not loop.failures
    (tmp_path / "earlier").unlink()
    show(loop, 3, {1: 5})
    watch.now += 61
    clock.now += 61
    show(loop, 4, {1: 5})
    show(loop, 5, {1: 5})
    assert not parts.failures
    loop.close()
    frames = [
        read_mot(p / "tracks" / "hall.txt").frames.tolist()
        for p in (tmp_path / "earlier" / "1", tmp_path)
    ]
    assert frames == [[1, 2], [6]], "from the end of the tick on in which it was tried"
    told = [r.getMessage() for r in caplog.records]
    assert sum("no files are written for now" in line for line in told) == 1


def test_a_part_that_cannot_begin_leaves_no_thread_waiting(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    clock, watch = Clock(), Clock()
    parts, _ = opened(tmp_path, FileSettings(), clock, video=True, steady=lambda: watch.now)
    before = threading.active_count()
    monkeypatch.setattr("pipeline.publish.parts.EventLog", full)
    clock.now += DAY
    for _ in range(5):
        show(parts, 0, {1: 5})
        watch.now += 61
    assert "No space left" in parts.failures["Parts"]
    assert threading.active_count() < before, "that of the day before has ended"
    parts.close()


def test_a_day_whose_events_were_moved_away_is_set_aside_all_the_same(tmp_path):
    clock = Clock()
    parts, _ = opened(tmp_path, FileSettings(keep_days=0), clock, video=True)
    show(parts, 0, {1: 5}, ("founded", 5, 1))
    (tmp_path / "events.jsonl").unlink()
    clock.now += DAY
    show(parts, 1, {1: 5})
    show(parts, 2, {1: 5})
    parts.close()
    old = tmp_path / "earlier" / "1"
    assert [pictures(p / "hall.mp4") for p in (old, tmp_path)] == [2, 1]
    assert read_mot(old / "tracks" / "hall.txt").frames.tolist() == [1, 2]


def test_a_video_goes_with_its_day_though_tracks_failed_before_it_began(tmp_path):
    parts, _ = opened(tmp_path, FileSettings(), Clock(), video=True)
    (tmp_path / "tracks" / "hall.txt").mkdir()
    show(parts, 0, {1: 5}, ("founded", 5, 1))
    assert "TrackFiles" in parts.failures
    parts.sighting(sighting(1, {1: 5}, time=1e9 + 0.1, camera="court"))
    parts.close()
    assert pictures(tmp_path / "court.mp4") == 1
    assert tmp_path / "court.mp4" in erase(tmp_path, {5}).videos
    set_aside(tmp_path)
    assert sorted(p.name for p in (tmp_path / "earlier" / "1").glob("*.mp4")) == [
        "court.mp4",
        "hall.mp4",
    ]


def test_what_somebody_who_was_killed_left_half_written_goes(tmp_path):
    make_folder(tmp_path)
    left = [".events.jsonl.part", "tracks/.hall.txt.part"]
    for name in left:
        (tmp_path / name).write_text("1,17,")
    set_aside(tmp_path)
    assert not [name for name in left if (tmp_path / name).exists()]


def test_a_run_that_ends_by_itself_is_one_part(tmp_path):
    clock = Clock()
    parts, told = opened(tmp_path, None, clock, video=False)
    for index in range(5):
        show(parts, index, {1: 5})
        clock.now += DAY
    parts.close()
    assert told == []
    assert len(read_mot(tmp_path / "tracks" / "hall.txt").frames) == 5


@pytest.fixture
def camera(people):
    """Pushes the film again and again, as cameras do over HTTP."""
    with av.open(str(people)) as film:
        frames = [frame.to_ndarray(format="bgr24") for frame in film.decode(video=0)]
    jpegs = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]

    class Camera(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for index in range(10_000):
                jpeg = jpegs[index % len(jpegs)]
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return
                time.sleep(0.1)

        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/live"
        server.shutdown()


def test_a_live_run_leaves_whole_parts(camera, networks, words_for, tmp_path):
    site = tmp_path / "site.toml"
    site.write_text(
        f'[[camera]]\nname = "hall"\naddress = "{camera}"\n[files]\npart_hours = 0.001\n'
    )
    run = tmp_path / "run"
    words = ["--site", str(site), *words_for(networks), "--output", str(run), "--duration", "10"]
    assert main(words) == 0
    folders = [*sorted((run / "earlier").iterdir()), run]
    assert len(folders) in (3, 4, 5)
    last = 0
    for part in folders:
        if part == run and not (part / "hall.mp4").exists():
            continue  # it began in the last moment, and no frame came any more
        frames = read_mot(part / "tracks" / "hall.txt").frames
        assert last < frames.min(initial=last + 1), "each goes on where the one before it ended"
        last = frames.max(initial=last)
        summary = json.loads((part / "summary.json").read_text())
        assert summary["failed_outputs"] == {}
        assert summary["identities"] > 0 or part == folders[0], "only the first may end so soon"
        assert "<title>Throughline: a run</title>" in (part / "report.html").read_text()
        with av.open(str(part / "hall.mp4")) as video:
            assert video.streams.video[0].width == 768
