"""Floors that `ground` finds, against the cameras of the synthetic world, whose geometry is exact."""

import json

import numpy as np
import pytest

from calibration.__main__ import main
from calibration.encounters import relate, ways
from calibration.errors import RefusedError, TooLittleError, UsageError
from calibration.floor_plan import area, overlaps, shared
from calibration.homography import apply, fit
from calibration.point_pairs import PointPairs, floor_of, read_points
from pipeline.frames import Frame, Tracks
from pipeline.ground import METRES, FloorMap
from pipeline.publish.record import Recorder
from pipeline.publish.sink import Sighting
from pipeline.settings import load_settings
from tests.calibration.views import BENT, EAST, NORTH, SIZE, WEST, described, pixels_of, seen_floor


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
