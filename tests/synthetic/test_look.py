"""Identities: a pure function of seed and number, in groups that a colour histogram cannot part."""

import colorsys

import numpy as np

from synthetic.look import GROUP, look_of
from synthetic.palette import cloth


def test_seeds_share_no_identity_and_repeat_themselves():
    looks = {(seed, k): look_of(seed, k) for seed in (1, 2, 3) for k in range(150)}
    assert len(set(looks.values())) == len(looks)
    assert all(look_of(seed, k) == look for (seed, k), look in looks.items())


def test_a_group_wears_the_same_and_differs_in_little():
    for group in range(25):
        members = [look_of(5, group * GROUP + k) for k in range(GROUP)]
        tops = np.array([member.top_colour for member in members])
        assert (np.ptp(tops, axis=0) <= 0.35 * tops.mean(axis=0) + 0.01).all()
        assert len({(m.top, m.pattern, m.legwear) for m in members}) == 1
        marks = [(m.shoes_colour, m.bag, m.logo, round(m.height, 2)) for m in members]
        assert len(set(marks)) == GROUP


def test_palettes_own_disjoint_hues():
    hues = {}
    for name in ("train", "val", "test"):
        rng = np.random.default_rng(4)
        slots = set()
        for _ in range(400):
            display = np.array(cloth(rng, name)) ** (1 / 2.2)
            hue, saturation, _ = colorsys.rgb_to_hsv(*display)
            if saturation > 0.14:  # muted and strong colours; greys are cut by level instead
                slots.add(int(hue * 30 + 1e-6) % 30)
        hues[name] = slots
    assert len(hues["train"]) == 10
    assert not hues["train"] & hues["test"]
    assert not hues["train"] & hues["val"]
    assert not hues["val"] & hues["test"]
