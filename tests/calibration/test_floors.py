"""What a known floor says of people: where they stand, how tall they are, who took whose track."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.known_site import read_known
from calibration.point_pairs import PointPairs, floor_of
from pipeline.errors import SettingsError
from pipeline.footing import WALK, Footing, complete, grown, take
from pipeline.frames import STEP
from pipeline.ground import FloorMap, GroundSettings
from pipeline.settings import load_settings
from synthetic.camera import Camera
from tests.calibration.views import BENT, SIZE, WEST, described, pixels_of, seen_floor


@pytest.mark.parametrize("camera", [WEST, BENT])
def test_feet_are_placed_where_the_camera_looks(camera, tmp_path):
    (ground,) = read_known(described(tmp_path / "site.json", camera))
    floor, places = FloorMap(ground), seen_floor(np.random.default_rng(0), 50)
    pixels = pixels_of(camera, places)
    np.testing.assert_allclose(floor(pixels), places, atol=2e-3)
    np.testing.assert_allclose(floor(pixels / 2, (384, 216)), places, atol=2e-3)
    np.testing.assert_allclose(floor.pixels(places), pixels, atol=1e-6)
    assert np.isnan(floor(np.array([[384.0, 1.0]]))).all()  # above the horizon
    # The change per pixel, against a small step.
    _, slope = floor.locate(pixels)
    step = 1e-3
    for axis in range(2):
        moved = pixels + step * np.eye(2)[axis]
        stepped = (floor(moved) - floor(pixels)) / step
        np.testing.assert_allclose(slope[:, :, axis], stepped, rtol=0.08, atol=2e-4)


def poles(camera, places, tall):
    """Of people as thin as poles, with nothing but feet and a crown."""
    feet = pixels_of(camera, places)
    crowns = camera.project(np.column_stack([places, np.full(len(places), tall)]))[0]
    x = (feet[:, 0] + crowns[:, 0]) / 2
    return np.column_stack([x - 9, crowns[:, 1], x + 9, feet[:, 1]]).astype(np.float32)


def told_statures(ground, camera, places, tall):
    floor, boxes = FloorMap(ground), poles(camera, places, tall)
    return floor.stand(boxes, SIZE)[:, 5]


@pytest.mark.parametrize("camera", [WEST, BENT, Camera("steep", (9, 3, 5), (9, 8, 0), 76, SIZE)])
@pytest.mark.parametrize("tall", [1.2, 1.93])
def test_people_are_as_tall_as_they_are(camera, tall, tmp_path):
    """Where the focal length is known, and where the floor's right angles have to tell it."""
    (known,) = read_known(described(tmp_path / "site.json", camera))
    rng = np.random.default_rng(2)
    typed, places = seen_floor(rng, 30), seen_floor(rng, 40)
    typed = typed[(pixels_of(camera, typed) > 0).all(axis=1)]
    typed = typed[(pixels_of(camera, typed) < SIZE).all(axis=1)]
    points, _ = floor_of(PointPairs(camera.name, pixels_of(camera, typed), typed), SIZE)
    for ground, within in ((known, 0.01), (points, 0.03)):
        got = told_statures(ground, camera, places, tall)
        assert np.isfinite(got).sum() > 8
        np.testing.assert_allclose(got[np.isfinite(got)], tall, atol=within)


def test_nobody_is_measured_where_nothing_is_known_of_heights(tmp_path):
    (known,) = read_known(described(tmp_path / "site.json", WEST))
    places = np.array([[9.0, 8.0], [9.5, 8.5]])
    assert np.isfinite(told_statures(known, WEST, places, 1.7)).all()
    pixels = replace(known, frame="west")  # its unit is a pixel of its own picture
    squeezed = replace(known, floor=(*np.multiply(known.floor[:3], 1.5), *known.floor[3:]))
    for ground in (pixels, squeezed):
        assert np.isnan(told_statures(ground, WEST, places, 1.7)).all()
    floor, boxes = FloorMap(known), poles(WEST, places, 1.7)
    boxes[0, 1] = 0.0  # the head is above the picture
    boxes[1, 1] += 0.7 * (boxes[1, 3] - boxes[1, 1])  # legs and nothing else
    assert np.isnan(floor.stand(boxes, SIZE)[:, 5]).all()


@pytest.mark.parametrize("bend", [(-0.32, 0.1), (-0.35, 0.12), (-0.05, 0.0), (0.2, 0.05)])
def test_a_lens_is_undone_to_the_border_however_wide(bend):
    """Against OpenCV's own bend, from where a straight lens would show a point."""
    lens, size = (640.0, 640.0, 480.0, 270.0, *bend), (960, 540)
    floor = FloorMap(GroundSettings("wide", size, (1.0, 0, 0, 0, 1, 0, 0, 0, 1), 0.1, lens))
    plane = np.stack(
        np.meshgrid(np.linspace(-1.1, 1.1, 41), np.linspace(-0.7, 0.7, 21)), -1
    ).reshape(-1, 2)
    solid = np.column_stack([plane, np.ones(len(plane))])
    matrix = np.array([[640.0, 0, 480], [0, 640, 270], [0, 0, 1]])
    shown = cv2.projectPoints(solid, np.zeros(3), np.zeros(3), matrix, np.array([*bend, 0, 0]))[0][
        :, 0
    ]
    radius = np.hypot(*plane.T)
    rising = 1 + 3 * bend[0] * radius**2 + 5 * bend[1] * radius**4 > 0.05
    inside = rising & (np.abs(shown - (480, 270)) < (480, 270)).all(axis=1)
    assert inside.sum() > 200
    np.testing.assert_allclose(
        floor.straight(shown[inside]), plane[inside] * 640 + (480, 270), atol=1e-2
    )
    assert np.isnan(floor.straight(np.array([[9e4, 9e4]]))).all() or bend[1] > 0


@pytest.mark.parametrize("metres", [0.0, 3e3, 9e4])
def test_a_floor_may_lie_far_from_its_origin_but_not_where_places_are_rounded(tmp_path, metres):
    """A city's grid."""
    away = np.array([[1, 0, metres], [0, 1, metres], [0, 0, 1]])
    matrix = np.linalg.inv(WEST.homography)
    told = [
        GroundSettings("west", SIZE, tuple((m @ matrix).ravel()), 0.2) for m in (np.eye(3), away)
    ]
    pixels = np.array([[300.0, 400.0], [100.0, 300.0]])
    here, there = (FloorMap(settings)(pixels) for settings in told)
    np.testing.assert_allclose(there - metres, here, atol=1e-3)
    too_far = np.array([[1, 0, 5e5], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(SettingsError, match="the floor's origin is 500"):
        FloorMap(GroundSettings("west", SIZE, tuple((too_far @ matrix).ravel()), 0.2))
    # Another camera's pixels go far towards its horizon.
    FloorMap(GroundSettings("west", SIZE, tuple((too_far @ matrix).ravel()), 0.2, frame="north"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("floor = [1, 0, 0, 0, 1, 0]", "floor must be nine numbers"),
        ("floor = [1, 0, 0, 0, 1, 0, 2, 0, 0]", "floor must be nine numbers"),
        ("floor = [1, 0, 0, 0, 1, 0, 0, 0, inf]", "floor must be a list of numbers"),
        ("floor = [1, 0, 0, 0, 1, 0, 0, 0, 1]\nlens = [1, 2]", "lens must be six numbers"),
        ("floor = [1, 0, 0, 0, 1, 0, 0, 0, 1]\nview = [[1, 2, 3]]", "a list of points"),
    ],
)
def test_a_floor_that_is_none_is_refused(tmp_path, line, told):
    path = tmp_path / "site.toml"
    path.write_text(f'[[ground]]\ncamera = "a"\nsize = [768, 432]\nerror = 0.2\n{line}\n')
    with pytest.raises(SettingsError) as error:
        load_settings(path)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_track_that_passes_to_somebody_taller_is_noticed(tmp_path):
    (ground,) = read_known(described(tmp_path / "site.json", WEST))
    rng = np.random.default_rng(6)
    told = {}
    for taller in (0.0, 0.03, 0.15):
        footing, walks, said = Footing({"west": FloorMap(ground)}), np.zeros(1, WALK), []
        for i in range(150):
            place = np.array([[6 + i / 50, 8.0]])
            box = poles(WEST, place, 1.68 + taller * (i >= 75)) + rng.normal(0, 1.5, 4)
            footing.note(walks, np.array([0]), "west", box.astype(np.float32), SIZE, i * STEP / 5)
            said.append(float(grown(walks)[0]))
        told[taller] = np.array(said)
    assert (told[0.0][:30] == 0).all(), "too little is known yet"
    assert told[0.0][55:].min() > 0
    assert told[0.03][55:].min() > 0, "nobody is measured as well as that"
    assert told[0.15][:75].min() >= 0
    assert told[0.15][75 + 5 * 6 :].min() < -2


def test_steps_are_means_of_where_the_feet_were(tmp_path):
    (ground,) = read_known(described(tmp_path / "site.json", WEST))
    footing, walks = Footing({"west": FloorMap(ground)}), np.zeros(2, WALK)
    places = np.column_stack([np.linspace(6, 7, 10), np.full(10, 8.0)])
    feet = pixels_of(WEST, places)
    for i, (x, y) in enumerate(feet):
        box = np.array([[x - 20, y - 100, x + 20, y]], np.float32)
        footing.note(walks, np.array([1]), "west", box, SIZE, 100 * STEP + STEP * (i + 0.5) / 5)
    cut = np.array([[300, 300, 340, 431.5]], np.float32)  # feet below the picture
    footing.note(walks, np.array([1]), "west", cut, SIZE, 103.5 * STEP)
    complete(walks, np.array([1]))
    assert take(walks, 0) is None
    path = take(walks, 1)
    np.testing.assert_allclose(
        path.places, [places[:5].mean(axis=0), places[5:].mean(axis=0)], 1e-4
    )
    np.testing.assert_allclose(path.times, [100.5 * STEP, 101.5 * STEP])
    floor = FloorMap(ground)
    boxes = np.column_stack([feet - np.array((20, 100)), feet + np.array((20, 0))]).astype(
        np.float32
    )
    tall = floor.stand(boxes, SIZE)[:, 5]
    np.testing.assert_allclose(path.statures, [tall[:5].mean(), tall[5:].mean()], 1e-5)
    # Two hundredths of 100 pixels across, three along, of which 0.3 + 0.7 / 5 are left in a mean of five.
    _, slope = FloorMap(GroundSettings("west", SIZE, ground.floor, 0.25)).locate(feet[2:3])
    one = slope[0] @ np.diag([2.0, 3.0]) ** 2 @ slope[0].T * 0.44
    np.testing.assert_allclose(path.spread[0], [one[0, 0], one[0, 1], one[1, 1]], rtol=0.05)
    assert take(walks, 1) is None
