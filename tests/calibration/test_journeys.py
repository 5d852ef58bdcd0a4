"""Ways and travel times, against a crowd that walks by known laws."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from calibration.journeys import Journeys
from pipeline.identify import Mapping

spec = importlib.util.spec_from_file_location("crowd", Path(__file__).with_name("crowd.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


def test_true_ways_are_found_with_their_times_and_no_others_between_neighbours():
    looks, _ = module.crowd(150, seed=9, hours=0.5)
    journeys = Journeys(3, Mapping(even=0.85, slope=60.0))
    journeys.update(looks)
    ways = {(way.origin, way.target): way for way in journeys.ways()}
    for pair, (median, spread) in module.TRUE_WAYS.items():
        assert ways[pair].median == pytest.approx(median, rel=0.15)
        assert np.log(ways[pair].spread / spread) == pytest.approx(0, abs=0.5)
    assert all(company.apart for company in journeys.company())


def test_a_likeness_that_says_nothing_gives_no_way():
    looks, _ = module.crowd(150, seed=10, hours=0.5)
    shuffled = np.random.default_rng(0).permutation(looks.embeddings)
    blind = type(looks)(
        looks.tracklet, looks.camera, looks.first, looks.last, looks.frames, shuffled, looks.early
    )
    journeys = Journeys(3, Mapping(even=0.85, slope=60.0))
    journeys.update(blind)
    assert journeys.ways() == []
