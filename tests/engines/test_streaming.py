"""Slots: as many tracklets as there are rows, none touched by another."""

import logging
import threading

import numpy as np
import pytest

from engines import StreamingReid, open_engine
from engines.errors import InputError, SlotsExhausted


@pytest.fixture(scope="module")
def engine(edge_stream):
    return open_engine(edge_stream)


def pictures(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 256, 128, 3), np.uint8)


def test_knows_its_sizes(engine):
    pool = StreamingReid(engine, 3)
    assert (pool.embedding_size, pool.crop_size, pool.counts.capacity) == (768, (256, 128), 3)
    assert pool.step(np.array([], np.int64), pictures(0, 0)).shape == (0, 768)


def test_a_full_pool_refuses_and_counts(engine):
    pool = StreamingReid(engine, 2)
    slots = [pool.open(), pool.open()]
    for _ in range(3):
        with pytest.raises(SlotsExhausted, match="all 2 slots are in use"):
            pool.open()
    assert (pool.counts.open, pool.counts.refused) == (2, 3)
    pool.close(slots[0])
    assert pool.open() == slots[0]


def test_a_slot_used_again_remembers_nothing(engine):
    pool = StreamingReid(engine, 1)
    crops = pictures(1, 3)
    slot = pool.open()
    first = pool.step(np.array([slot]), crops[:1])
    pool.step(np.array([slot]), crops[1:2])
    pool.close(slot)
    again = pool.open()
    assert pool.frames_seen(np.array([again])) == 0
    np.testing.assert_array_equal(pool.step(np.array([again]), crops[:1]), first)


def test_company_and_order_change_nothing(engine):
    """30 tracklets in a pool larger than the engine's batch of 24, in a different order every time."""
    many, alone = StreamingReid(engine, 30), StreamingReid(engine, 1)
    slots = np.array([many.open() for _ in range(30)])
    rng, crops = np.random.default_rng(3), [pictures(10 + t, 30) for t in range(3)]
    for some in crops:
        order = rng.permutation(30)
        embeddings = np.empty((30, 768), np.float32)
        embeddings[order] = many.step(slots[order], some[order])
    for i in (0, 17, 29):
        slot = np.array([alone.open()])
        for some in crops:
            want = alone.step(slot, some[i : i + 1])
        alone.close(int(slot[0]))
        np.testing.assert_allclose(embeddings[i], want[0], atol=1e-5)
    assert (many.frames_seen(slots) == 3).all()


@pytest.mark.parametrize(
    ("slots", "says"),
    [
        ([0, 0], "without repeats"),
        ([1], r"slots \[1\] are not open"),
        ([-1], "are not open"),
        ([9], "are not open"),
    ],
)
def test_wrong_slots_are_refused(engine, slots, says):
    pool = StreamingReid(engine, 2)
    pool.open()
    with pytest.raises(InputError, match=says):
        pool.step(np.array(slots), pictures(0, len(slots)))


def test_an_unsound_row_starts_anew_and_is_reported(engine, caplog):
    pool = StreamingReid(engine, 3)
    slots = np.array([pool.open() for _ in range(3)])
    crops = pictures(5, 3)
    first = pool.step(slots, crops)
    pool._rows._rows["memory"][slots[1]] = (
        np.inf
    )  # as a failing card or a broken network would leave it
    with caplog.at_level(logging.WARNING):
        second = pool.step(slots, crops)
    assert np.isnan(second[1]).all()
    assert np.isfinite(second[[0, 2]]).all()
    assert pool.counts.reset == 1
    assert f"[{slots[1]}]" in caplog.text
    np.testing.assert_array_equal(pool.frames_seen(slots), [2, 0, 2])
    np.testing.assert_allclose(pool.step(slots, crops)[1], first[1], atol=1e-6)


def test_threads_take_turns(engine):
    """Four threads with a tracklet each, against the same one after the other."""
    pool, crops = StreamingReid(engine, 4), [pictures(20 + i, 6) for i in range(4)]
    slots = [pool.open() for _ in range(4)]
    answers: dict[int, np.ndarray] = {}

    def follow(i: int) -> None:
        for crop in crops[i]:
            answers[i] = pool.step(np.array([slots[i]]), crop[None])[0]

    threads = [threading.Thread(target=follow, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = StreamingReid(engine, 1)
    for i in range(4):
        slot = alone.open()
        for crop in crops[i]:
            want = alone.step(np.array([slot]), crop[None])[0]
        alone.close(slot)
        np.testing.assert_allclose(answers[i], want, atol=1e-5)


def test_a_detector_is_not_a_stream(test_data):
    detector = open_engine(test_data / "models" / "yolox_nano.onnx")
    with pytest.raises(InputError, match="not a stream network"):
        StreamingReid(detector, 4)
