"""How a reader keeps after a camera, with feeds that follow a script and a clock that a test moves."""

import logging
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from threading import Condition, Event

import numpy as np
import pytest

from pipeline.errors import FeedError
from pipeline.ingest import CameraState, IngestOptions, RestartPolicy, parse_address
from pipeline.ingest.feed import Picture
from pipeline.ingest.mailbox import Latest
from pipeline.ingest.pace import StartLine
from pipeline.ingest.reader import CameraReader
from pipeline.ingest.timeline import Clock

IMAGE = np.zeros((4, 6, 3), np.uint8)
DISPLAY = "rtsp://***@cam/1"


class Script:
    """Feeds for one camera. Each step: "picture", "silence" (0.1 s), "refused", seconds that pass."""

    def __init__(self, *sessions: list[str | float], hangs: int = 0) -> None:
        self.sessions = list(sessions)
        self.hangs = hangs
        self.now = 0.0
        self.opened = self.open = self.most_open = 0
        self.delays: list[float] = []
        self.states: list[CameraState] = []
        self.reader: CameraReader | None = None

    def clock(self) -> Clock:
        return Clock(lambda: 5000.0 + self.now, lambda: self.now)

    def feed(self) -> "ScriptedFeed":
        self.opened += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return ScriptedFeed(self, self.sessions[self.opened - 1])

    def pause(self, stop: Event, seconds: float) -> bool:
        """Takes no time, and stops when the script is over."""
        self.delays.append(seconds)
        self.now += seconds
        return self.opened == len(self.sessions)

    def play(self, **options) -> CameraReader:
        ended = Event()
        self.reader = CameraReader(
            "cam1",
            parse_address("rtsp://admin:hunter22@cam/1"),
            Latest(Condition()),
            self.feed,
            options=IngestOptions(**options),
            clock=self.clock(),
            on_end=ended.set,
            random=Random(1),
            pause=self.pause,
        )
        self.reader.start()
        assert ended.wait(10)
        assert self.reader.join(1)
        return self.reader


class ScriptedFeed:
    finite = False
    interval = 0.04
    damaged = 0
    skipped = 0

    def __init__(self, script: Script, steps: list[str | float]) -> None:
        self._script, self._steps = script, steps
        self._hangs = script.hangs
        self._closed = False
        self.connected = False

    def pictures(self) -> Iterator[Picture | None]:
        script = self._script
        for step in self._steps:
            if step == "refused":
                raise FeedError(f"{DISPLAY} refuses connections.")
            if step == "connected":
                self.connected = True
            elif step == "picture":
                self.connected = True
                script.now += 0.04
                yield Picture(script.now, lambda: IMAGE)
            elif step == "silence":
                script.now += 0.1
                yield None
            else:
                script.now += float(step)
            script.states.append(script.reader.health().state)

    def close(self) -> bool:
        if self._hangs:
            self._hangs -= 1
            return False
        if not self._closed:
            self._closed = True
            self._script.open -= 1
        return True


def test_delays_double_up_to_a_limit_spread_by_chance_and_never_end():
    policy, random = RestartPolicy(first=0.5, longest=30.0, jitter=0.5), Random(2)
    for failures, full in [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (8, 30), (10**9, 30)]:
        delays = [policy.delay(failures, random) for _ in range(500)]
        assert full / 2 <= min(delays) < full * 0.55
        assert full * 0.95 < max(delays) <= full


def test_an_absent_camera_is_tried_ever_more_rarely_and_told_once(caplog):
    script = Script(*[["refused"]] * 12)
    reader = script.play(restart=RestartPolicy(jitter=0.0))
    assert script.delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]
    assert reader.health().error == f"{DISPLAY} refuses connections."
    assert [record.getMessage() for record in caplog.records] == [
        f"cam1 is lost, trying again: {DISPLAY} refuses connections."
    ]


def test_a_machine_that_is_out_of_threads_loses_no_camera():
    class Exhausted(Script):
        def feed(self):
            if self.opened < 2:
                self.opened += 1
                raise RuntimeError("can't start new thread for hunter22")
            return super().feed()

    script = Exhausted([], [], ["picture", 11.0])
    health = script.play(restart=RestartPolicy(jitter=0.0)).health()
    assert script.delays[:2] == [0.5, 1]
    assert health.frames == 1
    refusing = Exhausted([], [])
    told = refusing.play().health().error
    assert "can't start new thread" in told
    assert "hunter22" not in told


def test_a_good_connection_makes_the_next_failure_the_first_and_a_brief_one_does_not():
    good, brief = ["picture", 11.0], ["picture", 9.0]
    script = Script(["refused"], ["refused"], brief, good, ["refused"], brief)
    reader = script.play(restart=RestartPolicy(jitter=0.0))
    assert script.delays == [0.5, 1, 2, 0.5, 1, 2]
    assert reader.health().reconnects == 2
    assert reader.health().frames == 3


def test_time_spent_on_connecting_does_not_make_a_connection_good():
    script = Script(*[[60.0, "refused"]] * 3)
    script.play(restart=RestartPolicy(jitter=0.0))
    assert script.delays == [0.5, 1, 2]


def test_a_camera_that_comes_and_goes_does_not_fill_the_log(caplog):
    caplog.set_level(logging.INFO)
    Script(*[["picture"]] * 50, ["picture", 11.0], ["picture"]).play()
    told = [record.getMessage().split(":")[0] for record in caplog.records]
    assert told == [
        "cam1 is lost, trying again",
        "cam1 is there again",
        "cam1 is lost, trying again",
        "cam1 is there again",
    ]


def test_a_silent_camera_is_stalled_then_given_up():
    script = Script(["picture", *["silence"] * 100])
    reader = script.play(stall_after=1.0, read_timeout=3.0)
    assert reader.health().error == f"{DISPLAY} sent no picture for 3 s."
    changes = [before for before, after in pairwise(script.states) if before != after]
    assert [*changes, script.states[-1]] == [CameraState.LIVE, CameraState.STALLED]
    assert script.states.count(CameraState.LIVE) == pytest.approx(11, abs=1)
    assert len(script.states) == pytest.approx(31, abs=1)


@pytest.mark.parametrize(
    ("steps", "says"),
    [([], "did not answer within 4 s"), (["connected"], "sent no picture for 3 s")],
)
def test_a_camera_that_never_gives_a_picture_is_given_up(steps, says):
    script = Script([*steps, *["silence"] * 100])
    reader = script.play(connect_timeout=4.0, read_timeout=3.0)
    assert says in reader.health().error
    assert set(script.states) == {CameraState.CONNECTING}


def test_a_connection_that_hangs_is_not_joined_by_another():
    script = Script(["refused"], ["refused"], ["refused"], hangs=3)
    script.play()
    assert script.opened == 3
    assert script.most_open == 1


class SlowFilm:
    """Ten seconds of film at 25 pictures a second, each of which takes 0.1 s to make."""

    finite = connected = True
    interval = 0.04
    damaged = skipped = 0

    def __init__(self) -> None:
        self.now = 0.0
        self.lags: list[float] = []

    def pictures(self) -> Iterator[Picture]:
        for number in range(250):
            yield Picture(number * 0.04, lambda due=number * 0.04: self.render(due))

    def render(self, due: float) -> np.ndarray:
        self.now += 0.1
        self.lags.append(self.now - due)
        return IMAGE

    def close(self) -> bool:
        return True


def test_a_film_that_cannot_be_made_in_real_time_leaves_frames_out_and_stays_near_the_present():
    film, ended = SlowFilm(), Event()
    clock = Clock(lambda: 5000.0 + film.now, lambda: film.now)
    reader = CameraReader(
        "cam1",
        parse_address("synthetic:mall/cam1"),
        Latest(Condition()),
        lambda: film,
        options=IngestOptions(),
        clock=clock,
        start_line=StartLine(1, clock, None),
        on_end=ended.set,
    )
    reader.start()
    assert ended.wait(10)
    health = reader.health()
    assert health.frames == len(film.lags) == pytest.approx(10 / 0.1, abs=5)
    assert health.frames + health.drops - reader.mailbox.drops == 250
    assert (
        max(film.lags) < 0.5 + 0.1 + 0.1
    )  # the tolerance, this picture, the first before the start
    assert film.now == pytest.approx(10, abs=0.8)
