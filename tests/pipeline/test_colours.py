"""The glance at people's colours."""

import numpy as np
import pytest

from pipeline.colours import BANDS, glances


def glance(picture, *box):
    return glances(picture[None], np.zeros(1, np.int64), np.array([box], np.float32))[0]


def test_bands_have_the_mean_colours_of_the_middle_of_the_box():
    """Against slices of the same picture, at a size where bands end on whole pixels."""
    picture = np.random.default_rng(2).integers(0, 256, (120, 90, 3), np.uint8)
    got = glance(picture, 20, 10, 60, 90).reshape(BANDS, 3)
    middle = picture[20:80, 32:48].reshape(BANDS, 10, 16, 3) / 255
    np.testing.assert_allclose(got, middle.mean(axis=(1, 2)), atol=1e-6)


def test_each_box_is_looked_at_in_its_own_picture():
    pictures = np.stack([np.full((50, 50, 3), value, np.uint8) for value in (51, 204)])
    boxes = np.array([[5, 5, 25, 45], [5, 5, 25, 45]], np.float32)
    got = glances(pictures, np.array([1, 0]), boxes)
    np.testing.assert_allclose(got.mean(axis=1), [0.8, 0.2], atol=1e-6)


@pytest.mark.parametrize(
    "box", [(-30, -50, -10, -5), (80, 100, 300, 500), (10, 10, 10.2, 10.4), (-20, -20, 500, 500)]
)
def test_boxes_beyond_the_edge_or_smaller_than_a_pixel_do_no_harm(box):
    picture = np.full((120, 90, 3), 255, np.uint8)
    np.testing.assert_array_equal(glance(picture, *box), np.ones(3 * BANDS, np.float32))
