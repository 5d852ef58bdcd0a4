"""Zones to ignore, against OpenCV's own test of points in polygons and by hand."""

import cv2
import numpy as np

from pipeline.frames import Detections, Frame
from pipeline.zones import Zones, ignoring

LEFT_THIRD = ((0.0, 0.0), (1 / 3, 0.0), (1 / 3, 1.0), (0.0, 1.0))


def frame(camera, size=(300, 200)):
    return Frame(camera, 0, 0.0, np.zeros((size[1], size[0], 3), np.uint8))


def test_points_in_polygons_are_those_that_opencv_finds():
    draw = np.random.default_rng(3)
    hollow = ((0.1, 0.1), (0.9, 0.2), (0.5, 0.5), (0.8, 0.9), (0.2, 0.7))  # not convex
    small = ((0.9, 0.9), (0.95, 0.9), (0.95, 0.95))
    points = draw.random((2000, 2)).astype(np.float32)
    wanted = [
        any(cv2.pointPolygonTest(np.float32(z), p.tolist(), False) > 0 for z in (hollow, small))
        for p in points
    ]
    assert 500 < sum(wanted) < 1500
    assert Zones([hollow, small]).hold(points).tolist() == wanted


def test_who_stands_in_a_zone_of_their_camera_is_left_out_at_any_size():
    boxes = np.array([[80, 50, 110, 150], [95, 50, 125, 150], [10, 150, 40, 200]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32))
    detect = ignoring(lambda frames: [found] * len(frames), {"hall": (LEFT_THIRD,), "yard": ()})
    hall, yard = detect([frame("hall"), frame("yard")])
    assert hall.scores.tolist() == np.float32([0.8]).tolist(), (
        "feet at 95 and on the border at 25 of 300"
    )
    assert len(yard) == 3
    (small,) = detect([frame("hall", (900, 600))])  # the same boxes stand further left now
    assert len(small) == 0


def test_nobody_and_no_zones_cost_nothing():
    nobody = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    (found,) = ignoring(lambda frames: [nobody], {"hall": (LEFT_THIRD,)})([frame("hall")])
    assert len(found) == 0

    def detect(frames):
        return []

    assert ignoring(detect, {"hall": ()}) is detect
