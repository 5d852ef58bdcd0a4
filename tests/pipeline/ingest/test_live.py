"""Live cameras over a real RTSP server that is killed, frozen, late, silent, rude or wrong."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import ClassVar
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from pipeline.ingest import CameraState, RestartPolicy, open_sources, parse_address
from pipeline.ingest.video import VideoFeed

PASSWORD = "s3cr@t/ +%ü"


def opened(*urls, options, **more):
    return open_sources([parse_address(url) for url in urls], options=options, **more)


def state(sources, camera):
    return sources.health()[camera].state


def steady(viewer, camera, since, until, fps=25):
    """Whether a camera kept its rate between two moments."""
    arrivals = np.array([at for at in viewer.arrivals[camera] if since <= at <= until])
    assert len(arrivals) >= 0.85 * fps * (until - since) - 1, (camera, len(arrivals), until - since)
    assert np.diff(arrivals).max() < 0.5
    return True


def sound(viewer, camera, connections):
    """Times go forward; no picture comes twice or out of turn within a connection."""
    stamps, times = viewer.stamps[camera], viewer.times[camera]
    assert all(before < after for before, after in pairwise(times))
    assert sum(after <= before for before, after in pairwise(stamps)) <= connections - 1
    assert max(times) <= time.time() + 0.01
    return True


@pytest.fixture
def long_film(films):
    return films.make("long.mp4", 1500)


def test_a_killed_server_is_found_again_and_the_others_keep_their_rate(
    serve, long_film, run, impatient, caplog
):
    caplog.set_level(logging.INFO)
    lost, other = serve({"a": long_film}), serve({"b": long_film, "c": long_film})
    sources = opened(lost.url("a"), other.url("b"), other.url("c"), options=impatient)
    viewer = run(sources)
    viewer.watch(lambda: min(map(len, viewer.stamps.values())) >= 10, 10)
    begin = time.monotonic()
    lost.kill()
    viewer.watch(lambda: state(sources, "cam1") is CameraState.RETRYING, 5)
    assert sources.health()["cam1"].error is not None
    viewer.watch_for(0.5)
    lost.start()
    viewer.watch(viewer.got("cam1", 20), 10)
    end = time.monotonic()
    assert steady(viewer, "cam2", begin, end)
    assert steady(viewer, "cam3", begin, end)
    health = sources.health()
    assert [health[camera].reconnects for camera in sources.cameras] == [1, 0, 0]
    assert state(sources, "cam1") is CameraState.LIVE
    assert sound(viewer, "cam1", 2)
    assert sound(viewer, "cam2", 1)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "lost" in told[0]
    assert "there again" in told[1]


def test_a_frozen_server_is_noticed_given_up_and_found_again(serve, long_film, run, impatient):
    frozen, other = serve({"a": long_film}), serve({"b": long_film})
    sources = opened(frozen.url("a"), other.url("b"), options=impatient)
    viewer = run(sources)
    viewer.watch(lambda: min(map(len, viewer.stamps.values())) >= 10, 10)
    begin = time.monotonic()
    frozen.freeze()
    viewer.watch(lambda: state(sources, "cam1") is CameraState.STALLED, 2)
    viewer.watch(lambda: state(sources, "cam1") is CameraState.RETRYING, 3)
    assert "no picture" in sources.health()["cam1"].error
    frozen.thaw()
    viewer.watch(viewer.got("cam1", 20), 10)
    assert steady(viewer, "cam2", begin, time.monotonic())
    assert sound(viewer, "cam1", 2)


def test_a_short_stall_is_waited_out_without_reconnecting(serve, long_film, run, impatient):
    server = serve({"a": long_film})
    sources = opened(server.url("a"), options=replace(impatient, read_timeout=5.0))
    viewer = run(sources)
    viewer.watch(viewer.got("cam1", 30), 10)
    server.freeze()
    viewer.watch(lambda: state(sources, "cam1") is CameraState.STALLED, 2)
    viewer.watch_for(0.6)  # longer than the library is let alone with a silent connection
    server.thaw()
    viewer.watch(viewer.got("cam1", 30), 5)
    assert sources.health()["cam1"].reconnects == 0
    assert sound(viewer, "cam1", 1)


def test_a_camera_that_is_absent_at_the_start_joins_when_it_appears(
    serve, long_film, run, impatient
):
    present, absent = serve({"a": long_film}), serve({"b": long_film})
    absent.kill()
    sources = opened(present.url("a"), absent.url("b"), options=impatient)
    viewer = run(sources)
    viewer.watch(viewer.got("cam1", 20), 10)
    health = sources.health()["cam2"]
    assert health.state is CameraState.RETRYING
    assert "refuses connections" in health.error
    assert health.frames == health.reconnects == 0
    absent.start()
    viewer.watch(viewer.got("cam2", 10), 10)
    assert sound(viewer, "cam2", 1)


def test_a_decoder_that_cannot_keep_up_skips_to_a_key_picture_and_stays_near_the_present(
    serve, films, impatient, read_stamp
):
    film = films.make("rapid.mp4", 500, fps=125)  # a key picture a second
    address = parse_address(serve({"a": film}).url("a"))
    feed = VideoFeed(address, impatient, None, "camera slow")
    behind, begin, number = [], None, -1
    for picture in feed.pictures():
        if picture is None:
            continue
        number += picture.lost + 1
        assert read_stamp(picture.render().whole()) == number
        begin = begin or time.monotonic() - number / 125
        behind.append(time.monotonic() - begin - number / 125)
        if number > 400:
            break
        time.sleep(0.02)  # this is the slow decoder: 50 a second
    feed.close()
    assert feed.skipped > 100
    assert max(behind) < 64 / 50 + 0.5


def test_a_live_address_that_ends_is_a_disconnect(serve, films, run, impatient):
    server = serve({"a": films.make("brief.mp4", 25)})
    sources = opened(server.url("a"), options=impatient)
    viewer = run(sources)
    viewer.watch(lambda: sources.health()["cam1"].reconnects >= 2, 15)
    assert not sources.finished
    assert sound(viewer, "cam1", 3)


def test_the_size_may_change_in_the_middle_of_a_live_stream(serve, films, run, impatient):
    film = films.join("turn.ts", [(40, (160, 120)), (60, (240, 128))])
    sources = opened(serve({"a": film}).url("a"), options=impatient)
    viewer = run(sources)
    viewer.watch(lambda: sources.health()["cam1"].resolution == (240, 128), 10)
    viewer.watch(viewer.got("cam1", 10), 5)
    assert set(viewer.sizes["cam1"]) == {(160, 120), (240, 128)}
    assert sources.health()["cam1"].reconnects == 0
    assert sound(viewer, "cam1", 1)


@contextmanager
def answering(reply: bytes | None) -> Iterator[str]:
    """A TCP server that sends `reply` to everybody, or accepts and says nothing; its host:port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        guests = []

        def serve() -> None:
            while not over.is_set():
                try:
                    guest, _ = server.accept()
                except TimeoutError:
                    continue
                guests.append(guest)
                if reply is not None:
                    guest.sendall(reply)
                    guest.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        over.set()
        thread.join()
        for guest in guests:
            guest.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_garbage_instead_of_a_stream_is_told_and_harms_nobody(
    serve, long_film, run, impatient, scheme
):
    noise = np.random.default_rng(4).bytes(5000)
    good = serve({"a": long_film})
    with answering(noise) as place:
        sources = opened(f"{scheme}://{place}/x", good.url("a"), options=impatient)
        viewer = run(sources)
        viewer.watch(viewer.got("cam2", 10), 10)
        begin = time.monotonic()
        viewer.watch_for(1.0)
        health = sources.health()["cam1"]
        assert health.state is CameraState.RETRYING
        assert health.error.startswith(f"{scheme}://{place}/x ")
        assert health.frames == 0
        assert steady(viewer, "cam2", begin, time.monotonic())


def test_everything_stops_at_once_while_cameras_do_not_answer(impatient, run):
    patient = replace(impatient, connect_timeout=3.0)
    with answering(None) as silent:
        urls = [f"{scheme}://{silent}/x" for scheme in ("rtsp", "rtsps", "http", "https")]
        sources = opened(*urls, options=patient)
        run(sources)
        assert sources.wait(0.3) == []
        assert {state(sources, camera) for camera in sources.cameras} == {CameraState.CONNECTING}
        begin = time.monotonic()
        assert sources.stop(timeout=1.0)
        assert time.monotonic() - begin < 0.5
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {f"camera {camera}" for camera in sources.cameras}


def test_everything_stops_at_once_while_a_camera_is_frozen_or_waited_for(
    serve, long_film, impatient, run
):
    server = serve({"a": long_film})
    options = replace(impatient, read_timeout=5.0, restart=RestartPolicy(first=60.0, longest=60.0))
    sources = opened(server.url("a"), "rtsp://127.0.0.1:9/refused", options=options)
    viewer = run(sources)
    viewer.watch(viewer.got("cam1", 5), 10)
    server.freeze()
    viewer.watch(lambda: state(sources, "cam1") is CameraState.STALLED, 2)
    begin = time.monotonic()
    assert sources.stop(timeout=1.0)
    assert time.monotonic() - begin < 0.5
    while any(thread.name.startswith("camera cam1") for thread in threading.enumerate()):
        assert time.monotonic() - begin < 1.0  # and the library's half ends as well
        time.sleep(0.01)


@pytest.fixture
def guarded(serve, films):
    """A server that wants a login."""
    return serve({"a": films.make("brief.mp4", 25)}, login=("admin", PASSWORD))


def test_no_password_is_ever_told(guarded, run, impatient, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    right = guarded.url("a", f"admin:{quote(PASSWORD, safe='')}@")
    wrong = guarded.url("a", "admin:wr0ng-secret@") + "?token=tok3n-secret"
    gone = "rtsp://admin:g0ne-secret@127.0.0.1:9/x?auth=tok3n-secret"
    with answering(b"HTTP/1.0 200 OK\r\n\r\n") as place:
        rude = f"http://admin:rud3-secret@{place}/x?sig=tok3n-secret"
        sources = opened(right, wrong, gone, rude, options=impatient)
        viewer = run(sources)
        viewer.watch(viewer.got("cam1", 10), 10)  # the odd password opens the door
        viewer.watch(
            lambda: all(state(sources, f"cam{n}") is CameraState.RETRYING for n in (2, 3, 4)), 10
        )
        health = sources.health()
        assert "refuses this user name and password" in health["cam2"].error
        sources.stop()
    shown = repr(health) + caplog.text + "".join(capfd.readouterr())
    shown += repr([parse_address(url) for url in (right, wrong, gone, rude)])
    shown += "".join(thread.name for thread in threading.enumerate())
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "s3cr", "-secret", "admin"):
        assert secret not in shown


@pytest.fixture
def breaking(monkeypatch):
    monkeypatch.setattr("pipeline.ingest.source.VideoFeed", Breaking)


@pytest.mark.usefixtures("breaking")
def test_a_defect_in_one_feed_is_told_and_retried_and_the_others_go_on(
    films, run, impatient, caplog
):
    film = films.make("short.mp4", 25)
    sources = opened("rtsp://admin:hunter22@127.0.0.1:9/bad", str(film), options=impatient)
    viewer = run(sources)
    viewer.watch(viewer.got("short", 25), 10)
    health = sources.health()["cam1"]
    assert health.state is CameraState.RETRYING
    assert "ZeroDivisionError" in health.error
    assert "hunter22" not in caplog.text + health.error


def test_a_film_behind_http_plays_once_in_real_time_and_ends(films, run, impatient):
    film = films.make("calm.mp4", 10, fps=10)
    handler = partial(Quiet, directory=str(film.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{film.name}"
        sources = opened(url, options=impatient)
        viewer = run(sources)
        viewer.watch(lambda: sources.finished, 10)
        server.shutdown()
        thread.join()
    assert viewer.stamps["cam1"] == list(range(10))
    assert sources.health()["cam1"].state is CameraState.ENDED
    assert viewer.arrivals["cam1"][-1] - viewer.arrivals["cam1"][0] == pytest.approx(
        24 / 25, abs=0.2
    )


@contextmanager
def pushed(pictures, pace=0.04):
    """The address of a server that pushes pictures, one in `pace` seconds."""
    Pushing.pictures, Pushing.pace, Pushing.over = pictures, pace, threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Pushing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/video"
        Pushing.over.set()
        server.shutdown()
        thread.join()


def jpegs(stamped, count):
    return [cv2.imencode(".jpg", stamped(n, 160, 120))[1].tobytes() for n in range(count)]


def test_pictures_pushed_over_http_are_live_and_their_silence_is_noticed(stamped, run, impatient):
    with pushed(jpegs(stamped, 40)) as url:
        sources = opened(url, options=impatient)
        viewer = run(sources)
        viewer.watch(lambda: state(sources, "cam1") is CameraState.RETRYING, 10)
        assert len(viewer.stamps["cam1"]) >= 20
        viewer.watch(viewer.got("cam1", 10), 10)
        assert sources.stop()
    assert sound(viewer, "cam1", 2)
    assert np.median(np.diff(viewer.times["cam1"])) == pytest.approx(0.04, abs=0.01)


def test_slow_pictures_pushed_over_http_keep_their_own_time(stamped, run, impatient):
    """FFmpeg gives all of them times as if there were 25 a second."""
    with pushed(jpegs(stamped, 40), pace=0.12) as url:
        sources = opened(url, options=impatient)
        viewer = run(sources)
        viewer.watch(viewer.got("cam1", 15), 10)
        assert sources.stop()
    times = viewer.times["cam1"]
    assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(0.12, abs=0.03)


def test_packets_that_are_no_pictures_any_more_are_a_silence(stamped, run, impatient):
    torn = [picture[:200] + bytes(800) for picture in jpegs(stamped, 1) * 200]
    with pushed(jpegs(stamped, 10) + torn) as url:
        sources = opened(url, options=impatient)
        viewer = run(sources)
        viewer.watch(lambda: state(sources, "cam1") is CameraState.RETRYING, 10)
        health = sources.health()["cam1"]
        assert health.damaged > 10
        assert "sent no picture for" in health.error
        assert sources.stop()


def test_a_camera_may_send_over_udp(serve, long_film, run, impatient):
    server = serve({"a": long_film})
    sources = opened(server.url("a"), options=replace(impatient, transport="udp"))
    viewer = run(sources)
    viewer.watch(viewer.got("cam1", 25), 10)
    assert sound(viewer, "cam1", 1)


class Pushing(SimpleHTTPRequestHandler):
    """Pushes JPEG pictures like many cameras do, and then falls silent."""

    pictures: ClassVar[list[bytes]]
    pace: ClassVar[float]
    over: ClassVar[threading.Event]

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        with suppress(OSError):
            for picture in self.pictures:
                head = (
                    f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                )
                self.wfile.write(head.encode() + picture + b"\r\n")
                if self.over.wait(self.pace):
                    return
        self.over.wait(20)

    def log_message(self, *_):
        pass


class Breaking(VideoFeed):
    """A feed with a defect, for the address that says `bad`."""

    def pictures(self):
        if self._address.display.endswith("bad"):
            raise ZeroDivisionError(f"while reading {self._address.location}")
        yield from super().pictures()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_):
        pass
