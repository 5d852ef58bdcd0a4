"""Sets for training, read as their layouts say."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from synthetic.__main__ import main
from synthetic.clutter import furnished, strewn
from synthetic.crops import CLEAR, ROUGH, tracklet
from synthetic.detection_set import DESCRIPTION, DetectRequest, write_detect
from synthetic.load import load_site
from synthetic.reid_set import ReidRequest, write_reid
from synthetic.render import Renderer
from synthetic.scene import surroundings_of
from synthetic.world import World

ROOT = Path(__file__).parents[2]

REID = ReidRequest(seed=2, train=2, test=2, frames=3, tracklets=2, cameras=2, size=(320, 180))


@pytest.fixture(scope="module")
def mars(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mars")
    return folder, write_reid(REID, folder)


@pytest.mark.parametrize("half", ["train", "test"])
def test_names_and_tables_are_those_of_mars(mars, half):
    folder, figures = mars
    names = (folder / "info" / f"{half}_name.txt").read_text().split()
    table = loadmat(folder / "info" / f"tracks_{half}_info.mat")[f"track_{half}_info"]
    assert figures[half] == {"identities": 2, "tracklets": len(table), "crops": len(names)}
    assert len(table) == 8
    for start, end, person, camera in table.astype(int):
        for number, name in enumerate(names[start - 1 : end], start=1):
            found = re.fullmatch(r"(\d{4})C(\d)T(\d{4})F(\d{3})\.jpg", name)
            assert found, name
            assert (int(found[1]), int(found[2]), int(found[4])) == (person, camera, number)
            image = cv2.imread(str(folder / f"bbox_{half}" / found[1] / name))
            assert image.shape == (256, 128, 3)
            assert image.std() > 8
    assert table[-1, 1] == len(names)
    assert set(table[:, 2]) == ({1, 2} if half == "train" else {3, 4})


def test_queries_are_one_tracklet_per_identity_and_camera(mars):
    folder, _ = mars
    table = loadmat(folder / "info" / "tracks_test_info.mat")["track_test_info"]
    queries = loadmat(folder / "info" / "query_IDX.mat")["query_IDX"].ravel().astype(int)
    chosen = table[queries - 1, 2:]
    assert len(np.unique(chosen, axis=0)) == len(chosen) == 4


def test_a_set_goes_on_where_it_was_and_is_the_same(mars):
    folder, figures = mars
    victim = sorted((folder / "bbox_test").glob("*/*F003.jpg"))[0]
    other = sorted((folder / "bbox_test").glob("*/*F003.jpg"))[-1]
    content, untouched = victim.read_bytes(), other.stat().st_mtime_ns
    victim.unlink()
    assert write_reid(REID, folder) == figures
    assert victim.read_bytes() == content
    assert other.stat().st_mtime_ns == untouched


def test_rough_walks_are_cut_by_the_edge_or_by_others_but_half_of_each_is_clear():
    site = load_site("generated:2:3").resized((320, 180))
    world = World(site, 3, "all")
    renderer = Renderer(site.cameras[0], surroundings_of(site), world.identity, 3)
    rng, others = np.random.default_rng(4), np.arange(500, 600)

    def shares(manner):
        walks = [tracklet(renderer, world, k, others, 6, rng, manner) for k in range(1, 13)]
        return np.array([[cut.visibility for cut in walk] for walk in walks if walk])

    clear, rough = shares(CLEAR), shares(ROUGH)
    assert clear.min() >= 0.55
    assert 0.2 <= rough.min() < 0.55
    assert ((rough >= 0.55).mean(axis=1) >= 0.5).all()
    assert len(clear) == len(rough) == 12


def test_detection_sets_have_a_label_for_every_picture(tmp_path):
    request = DetectRequest(
        seed=1, images=6, val_share=0.34, size=(320, 180), sites=("generated:2:1",)
    )
    assert write_detect(request, tmp_path) == {"train": 4, "val": 2}
    assert (tmp_path / "data.yaml").read_text() == DESCRIPTION
    boxes = []
    for path in (tmp_path / "images").glob("*/*.jpg"):
        assert cv2.imread(str(path)).shape == (180, 320, 3)
        rows = np.loadtxt(tmp_path / "labels" / path.parent.name / f"{path.stem}.txt", ndmin=2)
        boxes.append(rows.reshape(-1, 5))
    rows = np.concatenate(boxes)
    assert len(rows) >= 6
    assert (rows[:, 0] == 0).all()
    corners = np.concatenate(
        [rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2], axis=1
    )
    assert (corners > -1e-5).all()
    assert (corners < 1 + 1e-5).all()
    # validation pictures come from cameras that training never saw
    cameras = [
        {p.stem.rsplit("_", 1)[0] for p in (tmp_path / "images" / h).iterdir()}
        for h in ("train", "val")
    ]
    assert not cameras[0] & cameras[1]


def test_however_many_judge_one_camera_is_left_to_learn_from(tmp_path):
    request = DetectRequest(
        seed=1, images=10, val_share=0.9, size=(160, 90), sites=("generated:2:1",)
    )
    write_detect(request, tmp_path)
    cameras = [
        {p.stem.rsplit("_", 1)[0] for p in (tmp_path / "images" / h).iterdir()}
        for h in ("train", "val")
    ]
    assert [len(half) for half in cameras] == [1, 1]
    assert not cameras[0] & cameras[1]


@pytest.mark.parametrize(
    ("stop", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_stop_ends_all_that_was_begun(tmp_path, stop, code):
    """A signal to the one that began them, as a service manager sends it, with more to do than is begun."""
    words = ["reid", "--train", "60", "--test", "4", "--cameras", "6", "--frames", "8"]
    process = subprocess.Popen(
        [sys.executable, "-m", "synthetic", *words, "--out", str(tmp_path / "set")],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    deadline = time.monotonic() + 90
    while not list(tmp_path.rglob("*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(stop)
    began = time.monotonic()
    _, told = process.communicate(timeout=60)  # until the last who could write there has ended
    assert time.monotonic() - began < 10
    assert process.returncode == code, told
    assert "Traceback" not in told
    there = set(tmp_path.rglob("*.jpg"))
    time.sleep(1.0)
    assert set(tmp_path.rglob("*.jpg")) == there, "nobody goes on"


def test_crowds_and_hidden_people_give_more_labels(tmp_path):
    usual = DetectRequest(
        seed=1, images=4, val_share=0.5, size=(320, 180), sites=("generated:2:1",)
    )

    def count(name: str, **changed: float) -> int:
        write_detect(replace(usual, **changed), tmp_path / name)
        labels = (tmp_path / name / "labels").glob("*/*.txt")
        return sum(len(path.read_text().splitlines()) for path in labels)

    as_usual = count("usual")
    assert count("crowd", crowd=3) > 1.5 * as_usual
    assert count("hidden", crowd=3, least_visible=0.05) > count("seen", crowd=3, least_visible=0.6)


def test_cameras_near_somebody_show_large_people(tmp_path):
    usual = DetectRequest(
        seed=1, images=6, val_share=0.34, size=(320, 180), sites=("generated:2:1",)
    )

    def tallest(name: str, **changed: float) -> list[float]:
        write_detect(replace(usual, **changed), tmp_path / name)
        labels = (tmp_path / name / "labels").glob("*/*.txt")
        rows = [np.loadtxt(path, ndmin=2).reshape(-1, 5) for path in labels]
        return sorted(float(found[:, 4].max(initial=0.0)) for found in rows)

    far, near = tallest("usual"), tallest("near", near=1.0)
    assert np.median(near) > 1.5 * np.median(far)
    assert near[1] > 0.4, "at most one of six has no place near anybody"


def test_furniture_is_added_to_a_site_and_nothing_else_of_it_moves():
    site = load_site("generated:2:1")
    full = furnished(site, np.random.default_rng(1))
    assert full == furnished(site, np.random.default_rng(1))
    assert full != furnished(site, np.random.default_rng(2))
    assert full.boxes[: len(site.boxes)] == site.boxes
    assert full.pillars[: len(site.pillars)] == site.pillars
    added = len(full.boxes) + len(full.pillars) - len(site.boxes) - len(site.pillars)
    assert added >= 2 * (2 + 2 * 3), "two rooms of two pieces and three plates with frames at least"
    assert (full.cameras, full.areas, full.spots) == (site.cameras, site.areas, site.spots)


def test_shapes_lie_on_a_copy_of_the_view_and_every_number_has_its_own():
    view = np.full((90, 160, 3), 0.4, np.float32)
    views = [strewn(view, np.random.default_rng(seed)) for seed in (1, 2, 3, 3)]
    assert (view == 0.4).all()
    assert (views[2] == views[3]).all()
    for one, other in ((view, views[0]), (views[0], views[1]), (views[1], views[2])):
        assert (one != other).any(axis=2).mean() > 0.05
    assert all(np.isfinite(shown).all() and shown.min() >= 0 for shown in views)


def test_clutter_is_behind_the_same_people_in_its_share_of_cameras_and_goes_on_after_a_stop(
    tmp_path,
):
    plain = DetectRequest(
        seed=1, images=8, val_share=0.25, size=(320, 180), sites=("generated:4:1",)
    )
    half, full = replace(plain, clutter=0.5), replace(plain, clutter=1.0)

    def made(request: DetectRequest, name: str) -> dict[str, bytes]:
        write_detect(request, tmp_path / name)
        files = [
            *(tmp_path / name).glob("images/*/*.jpg"),
            *(tmp_path / name).glob("labels/*/*.txt"),
        ]
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files}

    bare, some, all_ = made(plain, "plain"), made(half, "half"), made(full, "full")
    pictures = [name for name in bare if name.endswith(".jpg")]
    assert bare.keys() == some.keys() == all_.keys()
    assert len(pictures) == 8
    assert all(bare[name] != all_[name] for name in pictures)
    same = [name for name in pictures if some[name] == bare[name]]
    assert 0 < len(same) < len(pictures)
    assert all(some[name] == all_[name] for name in set(pictures) - set(same))
    for name in pictures[::2]:
        (tmp_path / "full" / name).unlink()
    assert made(full, "full") == all_


def test_impossible_sets_are_refused(tmp_path, capsys):
    assert main(["reid", "--test", "0", "--out", str(tmp_path / "a")]) == 2
    assert main(["reid", "--cameras", "12", "--out", str(tmp_path / "a")]) == 2
    assert main(["detect", "--images", "1", "--out", str(tmp_path / "b")]) == 2
    assert main(["detect", "--crowd", "0", "--out", str(tmp_path / "b")]) == 2
    assert main(["detect", "--near", "1.1", "--out", str(tmp_path / "b")]) == 2
    assert main(["detect", "--invented", "0", "--out", str(tmp_path / "b")]) == 2
    assert main(["detect", "--clutter", "-1", "--out", str(tmp_path / "b")]) == 2
    one = ["--site", "generated:1:3"]
    assert main(["detect", "--images", "9", *one, "--out", str(tmp_path / "b")]) == 2
    told = capsys.readouterr().err
    assert "there is one camera only" in told
    assert told.count("error: ") == 8
    with pytest.raises(SystemExit):
        main(["detect", "--seed", "-1", "--out", str(tmp_path / "b")])
    assert "must be a whole number from 0 on, not -1" in capsys.readouterr().err
