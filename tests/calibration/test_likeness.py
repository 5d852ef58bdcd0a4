"""What is learned without labels, against a crowd whose truth is known."""

import importlib.util
import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import norm

from calibration.__main__ import main
from calibration.commands.threshold import how_young
from calibration.errors import RefusedError, TooLittleError
from calibration.likeness import GRID, density, fit_best, learn, learn_labelled, normal
from calibration.looks import Looks, cosines, fisher
from calibration.rates import thresholds
from calibration.strangers import surely
from pipeline.settings import EmbedderSettings

spec = importlib.util.spec_from_file_location("crowd", Path(__file__).with_name("crowd.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
crowd = module.crowd


ONE_EACH = ((0,), (1,), (2,), (3,))


def only(looks: Looks, kept: np.ndarray) -> Looks:
    """Those tracklets alone."""
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    pairs = place[np.array(looks.together)]
    some = {name: getattr(looks, name)[kept] for name in ("camera", "first", "last", "frames")}
    return replace(
        looks,
        tracklet=np.arange(kept.sum()),
        embeddings=looks.embeddings[kept],
        together=tuple(pairs[:, (pairs >= 0).all(axis=0)]),
        **some,
    )


def test_the_share_and_the_law_of_hand_overs_are_recovered():
    """Best of 10 candidates, of whom in 40 % of cases one is the same person: drawn from known laws."""
    rng = np.random.default_rng(1)
    best = rng.normal(0.3, 0.2, (1500, 10))
    there = rng.random(1500) < 0.4
    best[there, 0] = rng.normal(1.3, 0.3, there.sum())
    share, mean, spread = fit_best(best.max(axis=1), np.full(1500, 10), normal(0.3, 0.2))
    assert share == pytest.approx(0.4, abs=0.03)
    assert mean == pytest.approx(1.3, abs=0.05)
    assert spread == pytest.approx(0.3, abs=0.04)


def test_the_realised_rate_of_false_matches_is_near_the_wanted_one():
    """Wanted on one crowd, counted on strangers of another crowd with other people, across cameras."""
    looks, _ = crowd(300, seed=2, hours=0.25)
    others, who = crowd(300, seed=3, hours=0.25)
    one, other = np.triu_indices(len(others), 1)
    strangers = (who[one] != who[other]) & (others.camera[one] != others.camera[other])
    cosine = cosines(others.embeddings, one[strangers], other[strangers])
    found = [t for t in thresholds(looks, surely(looks), (1e-2, 1e-3)) if t.frames is None]
    assert [t.rate for t in found] == [1e-2, 1e-3]
    for t in found:
        assert t.rate / 2 <= (cosine > t.cosine).mean() <= 2 * t.rate
        assert t.low <= t.cosine <= t.high


def test_strangers_are_taken_from_cameras_that_share_no_ground():
    """Cameras 0 and 3 see the same people at the same time; of the others, nobody is in two at once."""
    looks, who = crowd(300, seed=10, hours=0.25, doubled=True)
    found = surely(looks)
    assert (who[found.one] != who[found.other]).all()
    cameras = [frozenset(pair) for pair in looks.camera[np.c_[found.one, found.other]].tolist()]
    assert set(cameras) == {
        frozenset(p) for p in ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3), *ONE_EACH)
    }
    across = np.array([len(pair) == 2 for pair in cameras])
    assert across.sum() > 2000
    assert not found.moved[across].any()
    alike = found.alike(looks)
    assert np.median(alike[~across]) == pytest.approx(np.median(alike[across]), abs=0.03)


def test_where_all_cameras_share_ground_people_side_by_side_are_strangers():
    looks, _ = crowd(300, seed=10, hours=0.25, doubled=True)
    kept = np.isin(looks.camera, (0, 3))
    some = only(looks, kept)
    found = surely(some)
    assert len(found) == len(some.together[0]) > 200
    assert (some.camera[found.one] == some.camera[found.other]).all()


def test_without_labels_the_mapping_is_much_as_with_them():
    looks, who = crowd(300, seed=4, hours=0.25)
    free, labelled = learn(looks).ratio(), learn_labelled(looks, who).ratio()
    even = [GRID[np.searchsorted(ratio, 0.0)] for ratio in (free, labelled)]
    assert even[0] == pytest.approx(even[1], abs=0.12)
    assert (np.diff(free) >= 0).all()


def test_no_likeness_is_worth_more_than_the_pairs_bear_out():
    looks, _ = crowd(150, seed=5, hours=0.15)
    learned = learn(looks)
    assert learned.ratio().max() <= np.log(learned.pairs + 1) + 0.1


def test_a_density_is_that_of_its_sample():
    values = density(np.random.default_rng(6).normal(0.5, 0.2, 20_000))
    assert np.cumsum(values)[np.searchsorted(GRID, 0.7)] == pytest.approx(norm.cdf(1.0), abs=0.01)


def test_too_little_is_said_in_numbers():
    looks, who = crowd(12, seed=7)
    with pytest.raises(TooLittleError, match=r"\d+ pairs of people seen together, 200 are needed"):
        learn(looks)
    with pytest.raises(TooLittleError, match="0 pairs of one person in two cameras, 20 are needed"):
        learn_labelled(looks, np.arange(len(who)))


def test_a_network_that_tells_nobody_apart_is_refused():
    looks, _ = crowd(150, seed=8, noise=50.0, hours=0.15)
    with pytest.raises(RefusedError, match="use another network"):
        learn(looks)


def test_fishers_scale_is_that_of_the_textbook():
    assert fisher(np.array([0.5]))[0] == pytest.approx(0.5 * np.log(3))


@pytest.mark.parametrize(("network", "young"), [("grl-edge", 0.1), ("somebody-else-s", 0.0)])
def test_what_is_known_of_one_network_is_not_said_of_another(network, young):
    assert how_young(Namespace(site=None, embedder=None), network) == pytest.approx(young)


def test_people_sorted_by_hand_give_the_mapping_too(tmp_path, capsys):
    """Forty people of two cameras, each in colours of their own: equal colours must be worth more than others."""
    rng = np.random.default_rng(9)
    for person in range(40):
        blocks = rng.integers(0, 256, (4, 2, 3)).repeat(16, axis=0).repeat(16, axis=1)
        for camera in (1, 2):
            for frame in range(3):
                noise = rng.normal(0, 12, (64, 32, 3))
                name = f"{person:04d}C{camera}T0001F{frame:03d}.png"
                (tmp_path / "people" / f"{person:04d}").mkdir(parents=True, exist_ok=True)
                picture = np.clip(blocks + noise, 0, 255).astype(np.uint8)
                cv2.imwrite(str(tmp_path / "people" / f"{person:04d}" / name), picture)
    network, site = EmbedderSettings().package, tmp_path / "site.toml"
    words = ["threshold", str(tmp_path / "people"), "--embedder", str(network)]
    assert main([*words, "--site", str(site), "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["labelled"]
    assert outcome["tracklets"] == 80
    assert outcome["handovers"] == 39  # person 0000 is nobody, in this layout
    assert outcome["pairs_of_strangers"] == 2 * 39 * 38 / 2
    assert {t["frames"] for t in outcome["thresholds"]} == {1, 2, None}
    assert "[match]" in site.read_text()
    nats = [nats for _, nats in outcome["curve"]]
    assert nats[0] < -2 < 2 < nats[-1]
    assert main([*words, "--truth", str(tmp_path)]) == 2
    assert main(["threshold", str(tmp_path), "--embedder", str(tmp_path / "none.onnx")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["threshold", str(tmp_path / "empty"), "--embedder", str(network)]) != 0
    assert capsys.readouterr().err.count("error: ") == 3
