"""The loop itself, over cameras that are lists of frames and a detector that is a list of boxes."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest

from engines.engine import TensorSpec
from engines.streaming import FrameAverages, StreamingReid
from pipeline.frames import Detections, EventKind, Frame
from pipeline.identify import GalleryStore, Identifier, IdentifySettings
from pipeline.live import STAGES, LiveLoop
from pipeline.publish import TrackFiles
from pipeline.tracklets import Tracklets

RED, BLUE = (20, 20, 220), (220, 20, 20)


class MeanColour:
    """Embeds crops as their mean colour, less grey."""

    max_batch = 8

    def __init__(self):
        self.inputs = {"crops": TensorSpec("crops", (-1, 64, 32, 3), "uint8")}
        self.outputs = {"embedding": TensorSpec("embedding", (-1, 3), "float32")}

    def run(self, inputs):
        colours = inputs["crops"].reshape(len(inputs["crops"]), -1, 3).mean(axis=1)
        return {"embedding": (colours - 110).astype(np.float32)}

    def state_rows(self, capacity):
        raise NotImplementedError

    def close(self):
        pass


class Script:
    """Ticks laid down beforehand."""

    def __init__(self, ticks):
        self._ticks, self.given = list(ticks), 0

    def wait(self, timeout, most=None):
        self.given += 1
        return self._ticks[self.given - 1] if self.given <= len(self._ticks) else []

    @property
    def finished(self):
        return self.given >= len(self._ticks)


class Recorder:
    """A sink that keeps what it is told."""

    def __init__(self):
        self.sightings, self.told, self.parted, self.over, self.closed = [], [], [], [], 0

    def sighting(self, sighting):
        self.sightings.append(sighting)

    def events(self, events):
        self.told += events

    def passed(self, tracks):
        self.parted += tracks

    def ended(self, tracklets):
        self.over += tracklets

    def close(self):
        self.closed += 1


class Failing(Recorder):
    """Cannot take the second sighting."""

    def sighting(self, sighting):
        super().sighting(sighting)
        if len(self.sightings) == 2:
            raise OSError(28, "No space left on device")


def picture(index, camera="hall", people=((RED, 100),), size=(640, 360), time=None):
    """People as coloured blocks, each a third of the picture high."""
    width, height = size
    image = np.full((height, width, 3), 110, np.uint8)
    for colour, left in people:
        image[height // 3 : 2 * height // 3, left : left + width // 16] = colour
    return Frame(camera, index, 1000 + index / 10 if time is None else time, image)


def find(frames):
    """Boxes around everything that is not grey."""
    return [boxes_of(frame.image) for frame in frames]


def boxes_of(image):
    height, width = image.shape[:2]
    row = (image[height // 2] != 110).any(axis=1)
    starts = np.flatnonzero(np.diff(row.astype(int), prepend=0) == 1)
    boxes = [[x, height // 3, x + width // 16, 2 * height // 3] for x in starts]
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(boxes), 0.9, np.float32))


def loop_over(
    ticks, *sinks, cameras=("hall", "court"), detect=find, identities=None, ahead=0, hands=1
):
    pool = StreamingReid(FrameAverages(MeanColour()), 16)
    identities = identities or Identifier(IdentifySettings())
    tracklets = Tracklets(pool, cameras)
    script = Script(ticks)
    return LiveLoop(script, detect, tracklets, identities, sinks, ahead=ahead, hands=hands), pool


def test_one_tick_takes_every_camera_in_one_batch_and_one_person_is_one_identity():
    batches, sink = [], Recorder()

    def detect(frames):
        batches.append([frame.camera for frame in frames])
        return find(frames)

    # one in red walks through the hall and, later, the court; one in blue stays in the court
    ticks = [[picture(n), picture(n, "court", [(BLUE, 300)])] for n in range(40)]
    ticks += [
        [picture(n, people=()), picture(n, "court", [(BLUE, 300), (RED, 500)])]
        for n in range(60, 100)
    ]
    loop, _ = loop_over(ticks, sink, detect=detect)
    loop.run()
    loop.finish()
    assert batches == [["hall", "court"]] * 80
    assert (loop.meter.ticks, loop.meter.frames) == (80, 160)
    assert set(loop.meter.seconds) == set(STAGES)
    latest = {
        (s.frame.camera, tuple(s.frame.image[180, int(box[0]) + 5])): identity
        for s in sink.sightings
        for box, identity in zip(s.tracks.boxes, s.identities.tolist(), strict=True)
    }
    assert latest["hall", RED] == latest["court", RED] > 0
    assert latest["court", BLUE] > 0
    assert latest["court", BLUE] != latest["court", RED]
    kinds = [event.kind for event in sink.told]
    assert kinds.count(EventKind.FOUNDED) == 2
    assert kinds.count(EventKind.LEFT) == 3


def test_a_tick_without_frames_does_nothing():
    sink = Recorder()
    loop, _ = loop_over([[], [picture(0)], []], sink)
    assert [loop.tick(), loop.tick(), loop.tick()] == [0, 1, 0]
    assert len(sink.sightings) == 1
    assert loop.meter.ticks == 1


def test_somebody_is_forgotten_also_while_no_camera_shows_anything(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.live._IDLE", 0.0)
    sink = Recorder()
    path = tmp_path / "identities.db"
    with closing(Identifier(IdentifySettings(), GalleryStore(path, "colours", 3))) as identities:
        loop, _ = loop_over([[picture(n)] for n in range(40)], sink, identities=identities)
        for _ in range(40):
            loop.tick()
        (founded,) = (event for event in sink.told if event.kind is EventKind.FOUNDED)
        with closing(GalleryStore(path, owner=False)) as visit:
            visit.forget(founded.identity)
        deadline = time.monotonic() + 10
        while sink.told[-1].kind is not EventKind.FORGOTTEN and time.monotonic() < deadline:
            assert loop.tick(0.01) == 0
            time.sleep(0.02)
        assert (sink.told[-1].kind, sink.told[-1].identity) == (EventKind.FORGOTTEN, 1)
        assert identities.count == 0
        loop.finish()


def test_a_camera_that_changes_its_resolution_uses_no_local_id_again():
    sink = Recorder()
    ticks = [[picture(n)] for n in range(10)]
    ticks += [[picture(n, people=[(RED, 800)], size=(1280, 720))] for n in range(10, 20)]
    ticks += [[picture(n, people=[(RED, 10)], size=(320, 180))] for n in range(20, 40)]
    loop, _ = loop_over(ticks, sink)
    loop.run()
    loop.finish()
    by_size = {}
    for shown in sink.sightings:
        by_size.setdefault(shown.frame.image.shape, []).extend(shown.tracks.ids.tolist())
    assert all(len(ids) >= 8 for ids in by_size.values()), by_size
    firsts = [ids[0] for ids in by_size.values()]
    assert firsts == sorted(firsts)
    assert len(sink.sightings) == 40


def test_a_failing_sink_stops_neither_the_loop_nor_the_others(caplog):
    before, failing, after = Recorder(), Failing(), Recorder()
    loop, pool = loop_over([[picture(n)] for n in range(30)], before, failing, after)
    loop.run()
    loop.finish()
    for sink in (before, after):
        assert len(sink.sightings) == 30
        assert sink.over == [("hall", 1)]
        assert [event.kind for event in sink.told] == [EventKind.FOUNDED, EventKind.LEFT]
        assert sink.closed == 1
    assert (len(failing.sightings), failing.closed) == (2, 1)
    assert loop.failures == {"Failing": "[Errno 28] No space left on device"}
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1
    assert pool.counts.open == 0


class Nobody:
    """Knows nobody, and remembers what time it was told; fails at the end if asked to."""

    def __init__(self, fails=False):
        self.times, self._fails = [], fails

    def update(self, updates, ended, now):
        self.times.append(now)
        if ended and self._fails:
            raise RuntimeError("the gallery is gone")
        return []

    def identity_of(self, camera, local_id):
        return None


def test_sinks_are_closed_even_when_identities_fail_at_the_end():
    sink = Recorder()
    loop, _ = loop_over([[picture(0)]], sink, identities=Nobody(fails=True))
    loop.run()
    with pytest.raises(RuntimeError, match="the gallery is gone"):
        loop.finish()
    assert sink.closed == 1


def test_the_end_is_told_in_capture_time():
    """A film of long ago ends long ago: otherwise a clock would seem to leap."""
    nobody = Nobody()
    loop, _ = loop_over([[picture(n)] for n in range(20)], identities=nobody)
    loop.run()
    loop.finish()
    assert nobody.times == [1000 + n / 10 for n in range(20)] + [1001.9]


def test_stop_ends_the_loop_between_ticks():
    sink = Recorder()
    loop, _ = loop_over([[picture(n)] for n in range(1000)], sink)
    loop.run(stop=lambda: len(sink.sightings) >= 7)
    assert len(sink.sightings) == 7


def test_latency_is_from_capture_to_the_end_of_the_tick():
    pool = StreamingReid(FrameAverages(MeanColour()), 4)
    ticks = [[picture(n, time=1000.0 + n)] for n in range(100)]
    now = iter([1000.0 + n + (0.2 if n < 90 else 2.0) for n in range(100)])
    loop = LiveLoop(
        Script(ticks),
        find,
        Tracklets(pool, ["hall"]),
        Identifier(IdentifySettings()),
        [],
        clock=lambda: next(now),
    )
    loop.run()
    latency = loop.meter.latency()
    assert latency["p50"] == pytest.approx(0.2, rel=0.01)  # as fine as the histogram
    assert latency["p95"] == latency["p99"] == pytest.approx(2.0, rel=0.01)


def test_a_track_that_passes_to_somebody_else_becomes_two_people(tmp_path):
    """The box goes on without a gap, and from frame 60 on it holds somebody in blue."""
    sink, files = Recorder(), TrackFiles(tmp_path)
    ticks = [[picture(n, people=[(RED if n < 60 else BLUE, 100 + n)])] for n in range(120)]
    loop, pool = loop_over(ticks, sink, files)
    loop.run()
    loop.finish()
    (passed,) = sink.parted
    assert (passed.camera, passed.local_id, passed.goes_on_as) == ("hall", 1, 2)
    assert abs(passed.since - 1006) <= 0.5, "crops are a second apart by then"
    assert sink.over == [("hall", 1), ("hall", 2)]
    assert [(e.kind, e.identity) for e in sink.told] == [
        (EventKind.FOUNDED, 1),
        (EventKind.LEFT, 1),
        (EventKind.FOUNDED, 2),
        (EventKind.LEFT, 2),
    ]
    who = dict(line.split(",")[:2] for line in (tmp_path / "hall.txt").read_text().splitlines())
    assert {who[str(n)] for n in range(1, 56)} == {"1"}
    assert {who[str(n)] for n in range(66, 121)} == {"2"}
    assert pool.counts.open == 0


def strolls(count):
    """Two people in two cameras; every fifth tick lacks one of them, and one comes with nobody in sight."""
    return [
        [picture(n, people=[(RED, 100 + 4 * n)] if n != 7 else [])]
        + ([picture(n, "court", [(BLUE, 300 - 3 * n)])] if n % 5 else [])
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("ahead", "hands"), [(1, 1), (2, 1), (3, 1), (8, 1), (1, 2), (4, 2), (4, 3)]
)
def test_looking_ahead_changes_nothing_but_who_does_it_and_how_many_at_once(ahead, hands):
    told = []
    for far in (0, ahead):
        batches, threads, sink = [], set(), Recorder()

        def detect(frames, batches=batches, threads=threads):
            batches.append(len(frames))
            threads.add(threading.get_ident())
            if frames[0].index % 4 == 0:
                time.sleep(0.01)  # whoever looks at the next ones is done first
            return find(frames)

        loop, _ = loop_over(strolls(30), sink, detect=detect, ahead=far, hands=hands)
        loop.run()
        loop.finish()
        seen = [(s.frame.camera, s.frame.index, s.tracks.ids.tolist()) for s in sink.sightings]
        told.append((seen, sink.told, sink.over))
        assert loop.meter.ticks == 30
    assert told[0] == told[1]
    assert sum(batches) == len(told[0][0]) == 54
    assert max(batches) <= max(ahead, 1) + 1, "nobody knows how many frames the next tick has"
    assert (len(batches) < 30) is (ahead > 1)
    assert threading.get_ident() not in threads
    assert 1 <= len(threads) <= hands


def test_two_hands_look_at_the_same_time():
    both = threading.Barrier(2)

    def detect(frames):
        both.wait(5)
        return find(frames)

    loop, _ = loop_over(strolls(30), detect=detect, ahead=1, hands=2)
    loop.run()
    loop.finish()
    assert loop.meter.frames == 54


def test_the_next_frames_are_looked_at_while_the_last_ones_are_followed():
    looking = threading.Event()

    def detect(frames):
        if frames[0].index == 1:
            looking.set()
        return find(frames)

    class Slow(Recorder):
        def sighting(self, sighting):
            super().sighting(sighting)
            self.waited = sighting.frame.index > 0 or looking.wait(5)

    sink = Slow()
    loop, _ = loop_over(strolls(3), sink, detect=detect, ahead=1)
    loop.tick()
    assert sink.waited
    loop.run()
    assert [s.frame.index for s in sink.sightings] == [0, 1, 1, 2, 2]
    loop.finish()


@pytest.mark.parametrize("hands", [1, 2])
def test_what_was_looked_at_ahead_is_not_lost_when_it_is_stopped(hands):
    sink = Recorder()
    loop, _ = loop_over(strolls(30), sink, ahead=4, hands=hands)
    loop.run(stop=lambda: len(sink.sightings) >= 10)
    loop.finish()
    shown = [(s.frame.camera, s.frame.index) for s in sink.sightings]
    given = [(f.camera, f.index) for tick in strolls(30) for f in tick]
    assert 10 < len(shown) < 30
    assert shown == given[: len(shown)]
    assert sink.closed == 1


@pytest.mark.parametrize("hands", [1, 2])
def test_an_error_in_what_is_looked_at_ahead_reaches_the_caller(hands):
    def detect(frames):
        if any(frame.index == 12 for frame in frames):
            raise ValueError("no picture")
        return find(frames)

    sink = Recorder()
    loop, _ = loop_over(strolls(30), sink, detect=detect, ahead=2, hands=hands)
    with pytest.raises(ValueError, match="no picture"):
        loop.run()
    loop.finish()
    assert sink.closed == 1
    assert max(s.frame.index for s in sink.sightings) == 11
