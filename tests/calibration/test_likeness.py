"""What is learned without labels, against a crowd whose truth is known."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from calibration.errors import RefusedError, TooLittleError
from calibration.likeness import GRID, density, fit_best, learn, learn_labelled, normal
from calibration.looks import cosines, fisher
from calibration.rates import thresholds

spec = importlib.util.spec_from_file_location("crowd", Path(__file__).with_name("crowd.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
crowd = module.crowd


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
    found = [t for t in thresholds(looks, learn(looks).moved, (1e-2, 1e-3)) if t.frames is None]
    assert [t.rate for t in found] == [1e-2, 1e-3]
    for t in found:
        assert t.rate / 2 <= (cosine > t.cosine).mean() <= 2 * t.rate
        assert t.low <= t.cosine <= t.high


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
