"""Cameras against OpenCV's own projection, and against their own geometry."""

import cv2
import numpy as np
import pytest

from synthetic import load_site

CAMERAS = [camera for name in ("plaza", "mall") for camera in load_site(name).cameras]


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_projection_is_opencvs(camera):
    rng = np.random.default_rng(1)
    points = np.asarray(camera.look_at) + rng.uniform(-3, 3, (50, 3))
    turn, _ = cv2.Rodrigues(camera.rotation)
    expected, _ = cv2.projectPoints(
        points, turn, camera.translation, camera.matrix, np.array([camera.k1, 0, 0, 0, 0.0])
    )
    pixels, depth = camera.project(points)
    assert (depth > 0).all()
    np.testing.assert_allclose(pixels, expected[:, 0], atol=1e-6)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_homography_takes_the_floor_to_undistorted_pixels(camera):
    rng = np.random.default_rng(2)
    floor = np.asarray(camera.look_at)[:2] + rng.uniform(-3, 3, (50, 2))
    mapped = np.column_stack([floor, np.ones(50)]) @ camera.homography.T
    mapped = mapped[:, :2] / mapped[:, 2:]
    seen, _ = camera.project(np.column_stack([floor, np.zeros(50)]))
    lens = np.array([camera.k1, 0, 0, 0, 0.0])
    expected = cv2.undistortPoints(seen[:, None], camera.matrix, lens, P=camera.matrix)[:, 0]
    np.testing.assert_allclose(mapped, expected, atol=0.05)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_rays_undo_projection(camera):
    width, height = camera.size
    pixels = np.random.default_rng(3).uniform(0, (width, height), (50, 2))
    points = np.asarray(camera.position) + 7.0 * camera.rays(pixels)
    back, depth = camera.project(points)
    np.testing.assert_allclose(back, pixels, atol=1e-4)
    np.testing.assert_allclose(depth, 7.0, atol=1e-9)


def test_barrel_distortion_never_folds_far_points_into_the_picture():
    camera = next(camera for camera in CAMERAS if camera.k1 < -0.03)
    aside = np.asarray(camera.position) + camera.rotation.T @ np.array([[60.0], [0.0], [4.0]])[:, 0]
    pixels, _ = camera.project(aside[None])
    assert pixels[0, 0] > camera.size[0]
