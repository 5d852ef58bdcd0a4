"""Which frames, pairs and pixels reach the network."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from trainer.data.dataset import Tracklet
from trainer.data.loading import TrainingBatches, ahead
from trainer.data.sampling import PairSampler, dense_clips, even_frames, evenly_run, one_per_chunk
from trainer.data.transforms import NONE, Augmentation, augment, read_clip
from trainer.errors import ImageError


def test_test_frames_are_the_reference_s(golden):
    reference = json.loads((golden / "sampling_reference.json").read_text())
    for frames, drawn in reference.items():
        assert even_frames(int(frames)).tolist() == drawn["even"]
        assert dense_clips(int(frames)).tolist() == drawn["dense"]


@pytest.mark.parametrize("frames", [1, 3, 8, 13, 100])
def test_training_draws_one_frame_from_each_eighth(frames):
    rng = np.random.default_rng(0)
    drawn = np.stack([one_per_chunk(frames, rng) for _ in range(400)])
    edges = np.arange(9) * frames / 8
    assert (drawn >= np.floor(edges[:-1])).all()
    assert (drawn <= np.maximum(np.ceil(edges[1:]) - 1, np.floor(edges[:-1]))).all()
    assert set(drawn.ravel().tolist()) == set(range(frames))


@pytest.mark.parametrize("frames", [1, 5, 8, 30])
def test_a_run_of_frames_keeps_one_stride(frames):
    rng = np.random.default_rng(0)
    runs = np.stack([evenly_run(frames, rng) for _ in range(200)])
    assert (runs >= 0).all()
    assert (runs < frames).all()
    if frames >= 8:
        assert (np.diff(runs, 2, axis=1) == 0).all()
        assert {1, frames // 8} <= set(np.diff(runs, axis=1).ravel().tolist())


@pytest.fixture
def people() -> list[Tracklet]:
    return [
        Tracklet((f"{i}",), identity, camera)
        for i, (identity, camera) in enumerate(
            (identity, camera) for identity in range(20) for camera in (1, 1, 2, 3)
        )
    ]


def test_pairs_join_one_person_across_cameras(people):
    batches = PairSampler(people, pairs=8, seed=5).epoch(2)
    assert batches.shape == (10, 16)
    identity = np.array([t.identity for t in people])[batches].reshape(-1, 8, 2)
    camera = np.array([t.camera for t in people])[batches].reshape(-1, 8, 2)
    assert (identity[..., 0] == identity[..., 1]).all()
    assert (camera[..., 0] != camera[..., 1]).all()
    assert sorted(batches[:, ::2].ravel().tolist()) == list(range(80))
    distinct = [len(set(row)) for row in identity[..., 0].tolist()]
    assert distinct[:8] == [8] * 8


def test_epochs_differ_and_repeat_by_seed(people):
    sampler = PairSampler(people, pairs=8, seed=5)
    assert (sampler.epoch(1) == PairSampler(people, 8, 5).epoch(1)).all()
    assert (sampler.epoch(1) != sampler.epoch(2)).any()


def test_people_who_look_alike_are_in_one_batch(people):
    """Twenty people in five families of four; 0…19 are the identities and their places alike."""
    alike = np.array([[4 * (i // 4) + (i + n) % 4 for n in (1, 2, 3)] for i in range(20)])
    sampler = PairSampler(people, pairs=8, seed=5, alike=alike)
    batches = sampler.epoch(2)
    assert sorted(batches[:, ::2].ravel().tolist()) == list(range(80)), "everybody as often as ever"
    identity = np.array([t.identity for t in people])[batches[:, ::2]]
    assert all(len(set(row)) == 8 for row in identity[:8].tolist())
    families = [len(set(row)) for row in (identity // 4).tolist()]
    assert families[:8] == [2] * 8
    assert (batches == PairSampler(people, 8, 5, alike).epoch(2)).all()
    assert (batches[:3] != sampler.epoch(3)[:3]).any()


def test_a_set_smaller_than_a_batch_fills_it(people):
    assert PairSampler(people[:8], pairs=8, seed=0).epoch(0).shape == (1, 16)


@pytest.fixture
def pictured(tmp_path, people) -> list[Tracklet]:
    rng = np.random.default_rng(1)
    for tracklet in people:
        cv2.imwrite(str(tmp_path / f"{tracklet.paths[0]}.png"), rng.integers(0, 256, (16, 8, 3)))
    return [Tracklet((f"{tmp_path}/{t.paths[0]}.png",), t.identity, t.camera) for t in people]


def test_processes_share_the_batches_of_one(pictured):
    def epoch(rank=0, world=1, start=0, threads=2):
        sampler = PairSampler(pictured, pairs=4, seed=9)
        how = Augmentation(contrast=0.2, erase=0.5)
        loader = TrainingBatches(sampler, how, (16, 8), 4, threads, rank=rank, world=world)
        return list(loader.epoch(1, start))

    whole, first, second = epoch(), epoch(0, 2), epoch(1, 2, threads=1)
    for one, a, b in zip(whole, first, second, strict=True):
        assert one.clips.shape == (8, 4, 16, 8, 3)
        assert (one.clips == np.concatenate([a.clips, b.clips])).all()
        assert (one.labels == np.concatenate([a.labels, b.labels])).all()
        assert (one.labels[::2] == one.labels[1::2]).all()
    resumed = epoch(start=7)
    assert all((a.clips == b.clips).all() for a, b in zip(whole[7:], resumed, strict=True))


def test_results_made_ahead_keep_their_order_and_their_errors():
    def reciprocal(n: int) -> float:
        return 1 / n

    assert list(ahead(reciprocal, [1, 2, 4], threads=3, waiting=2)) == [1, 0.5, 0.25]
    with pytest.raises(ZeroDivisionError):
        list(ahead(reciprocal, [1, 0, 4], threads=2, waiting=2))


def test_pictures_are_read_as_bgr_at_the_network_s_size(tmp_path):
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((10, 10, 3), (0, 0, 255), np.uint8))
    clip = read_clip([str(path)] * 2, 32, 16)
    assert clip.shape == (2, 32, 16, 3)
    assert (clip == (0, 0, 255)).all()


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"bad\.jpg is not a picture"):
        read_clip([str(tmp_path / "bad.jpg")])
    with pytest.raises(ImageError, match=r"gone\.jpg cannot be read: No such file"):
        read_clip([str(tmp_path / "gone.jpg")])


@pytest.fixture
def still() -> np.ndarray:
    """Four equal frames, so that a change differs between frames only if it is not consistent."""
    return np.repeat(np.random.default_rng(2).integers(0, 256, (1, 32, 16, 3), np.uint8), 4, 0)


@pytest.mark.parametrize("seed", range(8))
def test_every_frame_of_a_clip_changes_alike(still, seed):
    how = Augmentation(pad=4, contrast=0.3, brightness=0.2, tint=0.2, erase=1.0)
    changed = augment(still, how, np.random.default_rng(seed))
    assert (changed == changed[:1]).all()
    assert (changed != still).any()


def test_each_change_does_what_its_name_says(still):
    rng = np.random.default_rng
    assert (augment(still, NONE, rng(0)) == still).all()
    assert (augment(still, Augmentation(flip=1.0, pad=0), rng(0)) == still[:, :, ::-1]).all()
    moved = augment(still, Augmentation(flip=0.0, pad=4), rng(1))
    padded = np.pad(still[0], ((4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (32, 16, 3)).reshape(-1, 32, 16, 3)
    assert (windows == moved[0]).all((1, 2, 3)).any()
    erased = augment(still, Augmentation(flip=0.0, pad=0, erase=1.0), rng(2))
    share = (erased[0] != still[0]).any(-1).mean()
    assert 0.01 < share < 0.35
    lighter = augment(np.full_like(still, 128), Augmentation(0.0, 0, brightness=0.3), rng(3))
    assert lighter.std() == 0
    assert lighter[0, 0, 0, 0] != 128


def test_people_far_away_lose_what_is_fine_and_keep_what_is_coarse():
    noise = np.random.default_rng(4).integers(0, 256, (2, 192, 96, 3)).astype(np.uint8)
    how = Augmentation(flip=0.0, pad=0, distant=1.0)
    for seed in range(6):
        far = augment(noise, how, np.random.default_rng(seed))
        assert far.shape == noise.shape
        assert far.std() < 0.7 * noise.std()
        assert abs(far.mean() - noise.mean()) < 4
    usual = Augmentation(flip=0.0, pad=0, contrast=0.2)
    near = augment(noise, replace(usual, distant=1e-9), np.random.default_rng(1))
    assert (near == augment(noise, usual, np.random.default_rng(1))).all()
