"""How embeddings give way when a loop cannot keep up: a simulated loop whose costs are known."""

from pipeline.effort import Effort

INTERVAL, DETECTING, CROP = 0.08, 0.03, 0.01


def ticks(effort, count, wanted, interval=INTERVAL):
    """Newest frame wins: a tick that takes longer than an interval drops what came meanwhile.

    Returns crops of each tick and how many intervals passed without their frames being looked at.
    """
    crops, dropped, now, taken = [], 0, 0.0, -1
    for _ in range(count):
        due = max(taken + 1, int(now / interval + 1e-9))
        dropped += due - taken - 1
        taken = due
        waited = max(0.0, due * interval - now)
        crops.append(min(wanted, effort.budget))
        worked = DETECTING + CROP * crops[-1]
        now += waited + worked
        effort.note(waited, worked, crops[-1], 1)
    return crops, dropped


def test_a_loop_that_keeps_up_embeds_all_it_may():
    crops, dropped = ticks(Effort(16), 300, wanted=4)
    assert set(crops) == {4}
    assert dropped == 0


def test_crops_give_way_before_frames_and_come_back():
    """Ten crops a tick make 130 ms of work in each 80 ms: at most five fit."""
    effort = Effort(16)
    _, early = ticks(effort, 60, wanted=10)
    assert early > 0, "it takes a moment to find out"
    crops, dropped = ticks(effort, 600, wanted=10)
    assert dropped <= 6, "of 600"
    assert 3 <= sum(crops) / len(crops) <= 5
    ticks(effort, 200, wanted=1)
    assert effort.budget == 16


def test_one_crop_a_tick_remains_however_late_the_loop_is():
    effort = Effort(16)
    crops, dropped = ticks(effort, 400, wanted=10, interval=0.01)
    assert crops[-1] == effort.budget == 1
    assert dropped > 400


def test_where_pictures_take_long_a_tick_takes_fewer():
    effort = Effort(16)
    for _ in range(100):
        effort.note(0.04, 0.04, 4, pictures=4)
    assert effort.pictures == 10
    for _ in range(100):
        effort.note(0.0, 0.23, 4, pictures=4)
    assert effort.pictures == 2
    effort.note(0.1, 0.0, 0, pictures=0)  # nothing came
    assert effort.pictures == 2
