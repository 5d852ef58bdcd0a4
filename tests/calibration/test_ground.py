"""Floors of cameras, against the cameras of the synthetic world, whose geometry is exact."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.__main__ import main
from calibration.encounters import relate, ways
from calibration.errors import RefusedError, TooLittleError, UsageError
from calibration.floor_plan import area, overlaps, shared
from calibration.homography import apply, fit
from calibration.known_site import read_known
from calibration.point_pairs import PointPairs, floor_of, read_points
from pipeline.errors import SettingsError
from pipeline.footing import WALK, Footing, complete, grown, take
from pipeline.frames import STEP, Frame, Tracks
from pipeline.ground import METRES, FloorMap, GroundSettings
from pipeline.publish.record import Recorder
from pipeline.publish.sink import Sighting
from pipeline.settings import load_settings
from synthetic.camera import Camera

SIZE = (768, 432)
WEST = Camera("west", (0.5, 0.5, 3.0), (9, 8.2, 0.7), 76, SIZE)
EAST = Camera("east", (17.5, 0.5, 3.2), (9, 8.4, 0.7), 72, SIZE)
BENT = Camera("bent", (17.5, 0.5, 3.2), (9, 8.4, 0.7), 72, SIZE, k1=-0.05)
NORTH = Camera("north", (15.5, 72.6, 3.1), (6.5, 81, 0.7), 80, SIZE)


def pixels_of(camera, places):
    return camera.project(np.column_stack([places, np.zeros(len(places))]))[0]


def described(path, *cameras):
    """`site.json`, written here from the cameras."""
    text = {
        camera.name: {
            "width": SIZE[0],
            "height": SIZE[1],
            "matrix": camera.matrix.tolist(),
            "distortion": [camera.k1, 0, 0, 0, 0],
            "image_to_floor": np.linalg.inv(camera.homography).tolist(),
        }
        for camera in cameras
    }
    path.write_text(json.dumps({"cameras": text}))
    return path


def seen_floor(rng, count):
    return np.column_stack([rng.uniform(4, 14, count), rng.uniform(4.5, 13, count)])


def test_a_homography_is_found_among_noise_and_wrong_points():
    rng = np.random.default_rng(3)
    floor = seen_floor(rng, 40)
    pixels = pixels_of(WEST, floor) + rng.normal(0, 1.0, (40, 2))
    wrong = rng.permutation(40)[:12]
    floor[wrong] += rng.choice([-1, 1], (12, 2)) * rng.uniform(2, 4, (12, 2))
    found = fit(pixels, floor, SIZE, 6.0, "west")
    assert found.inliers.sum() == 28
    assert not found.inliers[wrong].any()
    truth = np.linalg.inv(WEST.homography)
    fresh = pixels_of(WEST, seen_floor(rng, 200))
    off = np.hypot(*(apply(found.matrix, fresh) - apply(truth, fresh)).T)
    assert np.quantile(off, 0.9) < 0.08  # a pixel is 2 to 12 cm there
    assert 0.6 < found.told(found.pixels)[0] < 1.8  # the median of a Rayleigh distribution is 1.18


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


@pytest.mark.parametrize(
    ("floor", "error", "told"),
    [
        ([(4, 5), (8, 6), (6, 9)], TooLittleError, "3 point pairs in west, 4 are needed"),
        ([(4 + i, 5 + i / 2) for i in range(8)], RefusedError, "nearly on one line"),
        ([(4 + i, 5 + i) for i in range(4)] + [(5, 9)], RefusedError, "all but one of the points"),
    ],
)
def test_points_that_fix_no_plane_are_refused(floor, error, told):
    floor = np.array(floor, float)
    with pytest.raises(error, match=told):
        floor_of(PointPairs("west", pixels_of(WEST, floor), floor), SIZE)


def test_a_poor_fit_is_refused():
    rng = np.random.default_rng(1)
    floor = seen_floor(rng, 20)
    mixed = floor.copy()
    mixed[:14] = rng.permutation(mixed[:14])
    with pytest.raises(RefusedError, match=r"only \d+ of the 20 point pairs of west agree"):
        floor_of(PointPairs("west", pixels_of(WEST, floor), mixed), SIZE)
    with pytest.raises(UsageError, match="outside its picture of 768×432"):
        floor_of(PointPairs("west", np.array([[800.0, 20.0]] * 5), floor[:5]), SIZE)


def test_what_two_cameras_share():
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4.0]])
    assert area(shared(square, square + 1)) == pytest.approx(9)
    assert area(shared(square, square + 5)) == 0


def crowd(seed, people=10, seconds=34.0):
    """(people, times, 2): everybody walks from place to place through the hall."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, seconds, 0.2)
    goals = rng.uniform((3, 4), (15, 13), (people, 12, 2))
    legs = np.linalg.norm(np.diff(goals, axis=1), axis=2) / rng.uniform(0.8, 1.5, (people, 1))
    marks = np.concatenate([np.zeros((people, 1)), np.cumsum(legs, axis=1)], axis=1)
    return times, np.array(
        [
            [np.interp(times, m, g[:, k]) for k in range(2)]
            for m, g in zip(marks, goals, strict=True)
        ]
    ).transpose(0, 2, 1)


def boxes_of(camera, places, rng):
    """Boxes of people 1.7 m tall, trembling by two hundredths of their height; which of them are in the picture."""
    feet = pixels_of(camera, places)
    heads = camera.project(np.column_stack([places, np.full(len(places), 1.7)]))[0]
    tall = np.abs(feet[:, 1] - heads[:, 1])
    feet = feet + rng.normal(0, 0.02, feet.shape) * tall[:, None]
    boxes = np.column_stack(
        [feet[:, 0] - tall / 5, feet[:, 1] - tall, feet[:, 0] + tall / 5, feet[:, 1]]
    )
    return boxes, ((feet > 5) & (feet < np.subtract(SIZE, 5))).all(axis=1)


def ways_of(camera, seed, clock=0.0):
    """A third of the people are seen by this camera under each of three numbers, as their tracklets break."""
    rng = np.random.default_rng(seed)
    times, places = crowd(5)
    rows = []
    for i, now in enumerate(times):
        boxes, seen = boxes_of(camera, places[:, i], rng)
        rows += [(3 * p + int(now // 17), now + clock, *boxes[p]) for p in np.flatnonzero(seen)]
    rows = np.array(sorted(rows))
    feet = np.column_stack([(rows[:, 2] + rows[:, 4]) / 2, rows[:, 5]])
    return ways(camera.name, SIZE, rows[:, 0].astype(int), rows[:, 1], rows[:, 2:], feet)


def test_people_whom_two_cameras_see_relate_them_without_a_label():
    found = relate(ways_of(WEST, 1), ways_of(EAST, 2))
    assert found.people >= 8
    truth = WEST.homography @ np.linalg.inv(EAST.homography)
    to_floor = np.linalg.inv(WEST.homography)
    got = apply(to_floor, apply(found.fit.matrix, found.feet))
    off = np.hypot(*(got - apply(to_floor, apply(truth, found.feet))).T)
    assert np.median(off) < 0.15
    assert np.quantile(off, 0.9) < 0.3


def test_people_at_other_times_relate_nothing():
    with pytest.raises((RefusedError, TooLittleError), match="west and east"):
        relate(ways_of(WEST, 1), ways_of(EAST, 2, clock=-9.0))


def recorded(folder, *cameras):
    """A run's record of the crowd, written by the pipeline's own recorder; nobody was embedded."""
    recorder = Recorder(folder / "record.db", "none")
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    rng = np.random.default_rng(0)
    times, places = crowd(5)
    for i, now in enumerate(times):
        for camera in cameras:
            boxes, seen = boxes_of(camera, places[:, i], rng)
            count = int(seen.sum())
            tracks = Tracks(
                np.flatnonzero(seen), boxes[seen].astype(np.float32), np.ones(count), np.ones(count)
            )
            frame = Frame(camera.name, i, 1e9 + now, image)
            recorder.sighting(Sighting(frame, tracks, np.zeros(count, np.int64)))
    recorder.close()
    return folder


def test_from_points_and_people_to_a_site_that_the_pipeline_reads(tmp_path, capsys):
    site, run = tmp_path / "site.toml", recorded(tmp_path, WEST, EAST)
    site.write_text('# ours\n[[camera]]\nname = "west"\naddress = "west.mp4"\n')
    floor = seen_floor(np.random.default_rng(2), 8)
    rows = np.hstack([pixels_of(WEST, floor), floor])
    lines = [",".join(["west", *(f"{v:.2f}" for v in row)]) for row in rows]
    points = tmp_path / "points.csv"
    points.write_text("\n".join(["camera,x,y,floor_x,floor_y", *lines]))
    words = ["ground", str(run), "--points", str(points), "--size", "768x432", "--site", str(site)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["cameras"]) == {"west", "east"}
    assert "8 of 8 points agree" in told["evidence"]["west"]
    settings = load_settings(site)
    assert site.read_text().startswith("# ours")
    assert settings.calibration["ground"].amount.startswith("8 point pairs; ")
    floors, places = settings.floors(), seen_floor(np.random.default_rng(4), 60)
    for camera in (WEST, EAST):
        pixels = pixels_of(camera, places)
        inside = ((pixels > 0) & (pixels < SIZE)).all(axis=1)
        off = np.hypot(*(floors[camera.name](pixels[inside]) - places[inside]).T)
        assert np.median(off) < 0.25
    known = settings.identify()
    assert {frozenset(pair) for pair in known.site.overlapping} == {frozenset({"west", "east"})}
    assert known.floor.grounds["east"].metric
    page = (tmp_path / "ground.html").read_text()
    assert page.count("<svg") == 2
    assert "8 of 8 points agree" in page


def test_a_floor_measured_on_larger_pictures_leads_to_its_neighbour_too(tmp_path):
    run, site = recorded(tmp_path, WEST, EAST), tmp_path / "site.toml"
    truth = seen_floor(np.random.default_rng(2), 8)
    pairs = [
        ["west", *map(str, (*(5 * p), *q))]
        for p, q in zip(pixels_of(WEST, truth), truth, strict=True)
    ]
    words = [word for pair in pairs for word in ("--pair", *pair)]
    assert main(["ground", str(run), "--site", str(site), *words, "--size", "3840x2160"]) == 0
    floor = FloorMap(next(g for g in load_settings(site).ground if g.camera == "east"))
    places = seen_floor(np.random.default_rng(4), 50)
    off = np.hypot(*(floor(pixels_of(EAST, places), SIZE) - places).T)
    assert np.median(off) < 0.3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("\ufeffcamera;x;y;floor_x;floor_y\nhall;1;2;3;4\n", None),
        ("camera, x, y, floor_x, floor_y\n hall, 1, 2, 3, 4\n\n", None),
        ("camera,x,y,floor_x\nhall,1,2,3\n", "no column 'floor_y'"),
        ("camera,x,y,floor_x,floor_y\nhall,1,2,3\n", "not all as long"),
        ("camera,x,y,floor_x,floor_y\n", "holds no point pairs"),
        ("", "holds no point pairs"),
    ],
)
def test_tables_of_points_as_spreadsheets_write_them(tmp_path, content, told):
    path = tmp_path / "points.csv"
    path.write_text(content, encoding="utf-8")
    if told is None:
        (points,) = read_points(path)
        assert (points.camera, points.pixels.tolist(), points.floor.tolist()) == (
            "hall",
            [[1, 2]],
            [[3, 4]],
        )
    else:
        with pytest.raises(UsageError, match=told):
            read_points(path)


def test_without_a_known_floor_the_frame_is_a_picture(tmp_path):
    site = tmp_path / "site.toml"
    assert main(["ground", str(recorded(tmp_path, WEST, EAST)), "--site", str(site)]) == 0
    settings = load_settings(site)
    assert {ground.frame for ground in settings.ground} == {"west"}
    places = seen_floor(np.random.default_rng(4), 60)
    pixels = [pixels_of(camera, places) for camera in (EAST, WEST)]
    inside = ((np.array(pixels) > 0) & (np.array(pixels) < SIZE)).all(axis=(0, 2))
    floors = settings.floors()
    off = np.hypot(*(floors["east"](pixels[0][inside]) - floors["west"](pixels[1][inside])).T)
    assert np.median(off) < 12  # pixels; people there are 60 to 200 tall
    assert not settings.identify().floor.grounds["east"].metric


def test_pixels_become_metres_once_one_camera_is_measured(tmp_path):
    site, run = tmp_path / "site.toml", recorded(tmp_path, WEST, EAST)
    assert main(["ground", str(run), "--site", str(site)]) == 0
    floor = seen_floor(np.random.default_rng(2), 8)
    rows = np.hstack([pixels_of(WEST, floor), floor])
    words = ["ground", "--site", str(site), "--size", "768x432"]
    for row in rows:
        words += ["--pair", "west", *(f"{v:.2f}" for v in row)]
    assert main(words) == 0
    assert {g.camera: g.frame for g in load_settings(site).ground} == {
        "west": METRES,
        "east": "west",
    }
    assert main(["ground", str(run), "--site", str(site)]) == 0
    assert {ground.frame for ground in load_settings(site).ground} == {METRES}


def test_a_known_site_says_who_is_apart(tmp_path):
    site = tmp_path / "site.toml"
    known = described(tmp_path / "site.json", WEST, BENT, NORTH)
    assert main(["ground", "--known", str(known), "--site", str(site)]) == 0
    settings = load_settings(site)
    assert {ground.frame for ground in settings.ground} == {METRES}
    pairs = settings.identify().site
    assert {frozenset(pair) for pair in pairs.overlapping} == {frozenset({"west", "bent"})}
    assert {frozenset(pair) for pair in pairs.apart} == {
        frozenset({"north", "bent"}),
        frozenset({"north", "west"}),
    }
    assert len(overlaps(settings.ground)) == 1


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


def test_what_a_lens_has_more_than_is_understood_is_refused(tmp_path, capsys):
    known = described(tmp_path / "site.json", WEST)
    content = json.loads(known.read_text())
    content["cameras"]["west"]["distortion"] = [0, 0, 0.05, 0.05, 0]
    known.write_text(json.dumps(content))
    assert main(["ground", "--known", str(known), "--site", str(tmp_path / "site.toml")]) == 2
    assert "more than its first two numbers" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_leaves_the_site_as_it_was(tmp_path, capsys):
    known = described(tmp_path / "site.json", WEST, NORTH)
    words = ["--known", str(known), "--site", str(tmp_path / "site.toml"), "--page", str(tmp_path)]
    assert main(["ground", *words]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert not (tmp_path / "site.toml").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "there is no source"),
        (["--known", "nowhere.json"], 2, "cannot read nowhere.json"),
        (["--points", "nowhere.csv"], 2, "cannot read nowhere.csv"),
        (["--pair", "a", "1", "2", "3", "4"], 2, "points need --size"),
        (["--pair", "a", "1", "2", "3", "nan", "--size", "9x9"], 2, "is not four numbers"),
        (["--pair", "a", "1", "2", "3", "4", "--size", "9x9"], 3, "1 point pairs in a, 4 are"),
        (["nowhere"], 2, "there is no record at nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_the_site_alone(
    tmp_path, monkeypatch, capsys, words, code, told
):
    monkeypatch.chdir(tmp_path)
    assert main(["ground", *words, "--site", "site.toml"]) == code
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "site.toml").exists()


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
