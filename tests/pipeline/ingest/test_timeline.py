"""Capture times under clocks that misbehave. Time passes only when a test says so."""

import numpy as np
import pytest

from pipeline.ingest.pace import RateLimit
from pipeline.ingest.timeline import Clock, FileTimeline, LiveTimeline


class Hands:
    """A wall clock and a steady clock that a test moves."""

    def __init__(self):
        self.wall, self.steady = 1_000_000.0, 50.0

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def hands():
    return Hands()


def test_the_clock_does_not_follow_a_jump_of_the_wall_clock_but_tells_it(hands):
    clock = hands.clock()
    hands.passes(5)
    hands.wall -= 3600
    assert clock.now() == 1_000_005
    assert clock.jumped() == -3600


def test_frames_keep_their_own_distances_however_unevenly_they_arrive(hands):
    timeline = LiveTimeline(hands.clock())
    random = np.random.default_rng(3)
    delays = np.concatenate([[0], random.uniform(0, 0.5, 200)])  # s under way
    times, last = [], 0.0
    for number, delay in enumerate(delays):
        arrival = max(number * 0.04 + delay, last)
        hands.passes(arrival - last)
        last = arrival
        times.append(timeline.time(777.0 + number * 0.04))
    expected = 1_000_000 + 0.04 * np.arange(201)
    assert np.abs(np.array(times) - expected).max() < last * 5e-4 + 1e-6  # the allowed creep


def test_a_backlog_at_connecting_is_not_stamped_into_the_future(hands):
    timeline = LiveTimeline(hands.clock())
    burst = [timeline.time(number * 0.04) for number in range(25)]  # a second of film at once
    assert np.all(np.diff(burst) > 0)
    assert burst[-1] < 1_000_000 + 0.1
    hands.passes(0.04)
    assert timeline.time(25 * 0.04) == pytest.approx(1_000_000.04, abs=0.01)


@pytest.mark.parametrize("jump", [-3600.0, -(2**33) / 90_000, -0.5, 45.0, 1e6])
def test_jumps_and_wraps_of_the_stamps_leave_the_times_in_step_with_the_clock(hands, jump):
    timeline, times, shift = LiveTimeline(hands.clock()), [], 0.0
    for number in range(100):
        shift += jump if number == 50 else 0.0
        times.append(timeline.time(100_000.0 + number * 0.04 + shift))
        hands.passes(0.04)
    assert np.diff(times) == pytest.approx(0.04, abs=1e-3)


def test_a_frame_without_a_stamp_and_a_reconnection_go_on_forward(hands):
    timeline = LiveTimeline(hands.clock())
    times = [timeline.time(None)]
    for pts in (0.04, 0.08):
        hands.passes(0.04)
        times.append(timeline.time(pts))
    hands.passes(10)
    timeline.reconnected()
    times.append(timeline.time(None))
    hands.passes(0.04)
    times.append(timeline.time(0.04))
    assert np.diff(times) == pytest.approx([0.04, 0.04, 10, 0.04], abs=1e-3)


def test_a_stream_held_up_and_then_flushed_keeps_its_true_times(hands):
    timeline = LiveTimeline(hands.clock())
    timeline.time(0.0)
    hands.passes(5)
    held = [timeline.time(0.04 * number) for number in range(1, 126)]
    assert held[0] == pytest.approx(1_000_000.04, abs=0.01)
    assert held[-1] == pytest.approx(1_000_005, abs=0.01)


@pytest.mark.parametrize("drift", [-1e-4, 1e-4])
def test_a_camera_whose_clock_drifts_stays_in_step_for_a_week(hands, drift):
    timeline = LiveTimeline(hands.clock())
    behind = []
    for number in range(60 * 24 * 7):  # a frame a minute is enough
        hands.passes(60)
        time = timeline.time(number * 60 * (1 + drift))
        behind.append(hands.wall - time)
    assert min(behind) >= 0
    assert max(behind) < 0.05


def test_a_file_starts_at_zero_and_goes_forward_by_its_stamps():
    timeline = FileTimeline()
    stamps = [90.0, 90.04, 90.5, None, 90.58, 3.0, 3.04, None]
    offsets = [timeline.offset(pts, 0.04) for pts in stamps]
    assert offsets == pytest.approx([0, 0.04, 0.5, 0.54, 0.58, 0.62, 0.66, 0.70])


def test_a_file_without_any_stamps_goes_by_its_nominal_rate():
    timeline = FileTimeline()
    assert [timeline.offset(None, 0.1) for _ in range(4)] == pytest.approx([0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("fps", "rate", "kept"), [(25, 12.5, 125), (25, 10, 100), (30, 25, 250), (10, 25, 100)]
)
def test_a_maximum_rate_is_met_evenly_from_jittery_frames(fps, rate, kept):
    random = np.random.default_rng(5)
    times = np.arange(10 * fps) / fps + random.uniform(-0.004, 0.004, 10 * fps)
    limit = RateLimit(rate)
    taken = [time for time in times if limit.admits(time)]
    assert len(taken) == pytest.approx(kept, abs=2)
    assert np.diff(taken).max() < 2 / fps + 1 / rate
