"""What gets through between a reader and the loop, and what it costs."""

from itertools import pairwise
from threading import Condition, RLock, Thread

import numpy as np
import pytest

from pipeline.frames import Frame
from pipeline.ingest.mailbox import Latest, Queue

IMAGE = np.zeros((2, 2, 3), np.uint8)


def frame(index: int) -> Frame:
    return Frame("cam", index, float(index), IMAGE)


def test_the_newest_frame_replaces_the_one_before_and_every_loss_is_counted():
    box = Latest(Condition())
    for index in range(5):
        assert box.put(frame(index))
    assert box.peek().index == box.take().index == 4
    assert box.take() is None
    box.put(frame(5))
    assert box.take().index == 5
    assert box.drops == 4


def test_a_frame_waits_through_a_short_absence_but_not_a_long_one():
    box = Latest(Condition(), patience=0.1)
    times = [step * 0.08 for step in range(4)]
    for index, time in enumerate(
        times[:2]
    ):  # the loop was late by one frame: both are there, in order
        box.put(Frame("cam", index, time, IMAGE))
    assert [box.take().index, box.take().index, box.take()] == [0, 1, None]
    assert box.drops == 0
    for index, time in enumerate(times):  # by four: it goes on with the present
        box.put(Frame("cam", index, time, IMAGE))
    assert [box.take().index, box.take()] == [3, None]
    assert box.drops == 3


@pytest.mark.parametrize("step", [0.0, -0.01, -1.0])
def test_a_clock_that_stands_still_or_goes_back_keeps_nothing_waiting(step):
    box = Latest(Condition(), patience=0.1)
    for index in range(1000):
        box.put(Frame("cam", index, index * step, IMAGE))
    assert [box.take().index, box.take()] == [999, None]
    assert box.drops == 999


def test_of_a_burst_the_last_frame_counts():
    box = Latest(Condition(), patience=0.1)
    for index in range(30):
        box.put(Frame("cam", index, index * 0.001, IMAGE))
    assert [box.take().index, box.take()] == [29, None]
    assert box.drops == 29


def test_taken_and_dropped_frames_add_up_under_two_threads():
    changed = Condition()
    box = Latest(changed)
    taken = []

    def consume() -> None:
        while not taken or taken[-1] != 19_999:
            with changed:
                changed.wait_for(box.peek, 5)
                taken.append(box.take().index)

    consumer = Thread(target=consume)
    consumer.start()
    for index in range(20_000):
        box.put(frame(index))
    consumer.join()
    assert all(a < b for a, b in pairwise(taken))
    assert len(taken) + box.drops == 20_000


def test_a_queue_holds_its_reader_back_and_loses_nothing():
    lock = RLock()
    changed = Condition(lock)
    box = Queue(changed, Condition(lock), 3)
    most = 0
    producer = Thread(target=lambda: [box.put(frame(index)) for index in range(2000)])
    producer.start()
    taken = []
    while len(taken) < 2000:
        with changed:
            assert changed.wait_for(box.peek, 5)
            most = max(most, len(box._frames))
            taken.append(box.take().index)
    producer.join()
    assert taken == list(range(2000))
    assert most <= 3
    assert box.drops == 0


@pytest.mark.parametrize("make", [Latest, lambda changed: Queue(changed, changed, 1)])
def test_a_closed_mailbox_takes_nothing_more_but_gives_what_it_has(make):
    box = make(Condition())
    box.put(frame(0))
    refused = []
    waiting = Thread(target=lambda: refused.append(box.put(frame(1))))
    if isinstance(box, Queue):
        waiting.start()  # full: it waits, or will find the box closed
    box.close()
    if isinstance(box, Queue):
        waiting.join(5)
        assert refused == [False]
    assert not box.put(frame(2))
    assert box.take().index == 0
    assert box.take() is None
