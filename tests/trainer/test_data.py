"""Every data set from a tiny copy in its true layout, and what is said of broken ones."""

import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from scipy.io import savemat

from trainer.data import open_dataset, people_together
from trainer.data.dataset import Tracklet, for_pairs
from trainer.data.folder import numbered
from trainer.errors import DataError, LayoutError, UsageError


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 4, 3), value, np.uint8))
    return path


def names(tracklet: Tracklet) -> list[str]:
    return [Path(path).name for path in tracklet.paths]


@pytest.fixture
def mars(tmp_path) -> Path:
    """Two people to learn from; a query, its answer, a distractor and a junk track to search."""
    train = ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg", "0001C2T0001F001.jpg"]
    test = ["00-1C1T0001F001.jpg", "0000C1T0001F001.jpg", "0002C1T0001F001.jpg"]
    test += ["0002C3T0001F001.jpg", "0002C3T0001F002.jpg"]
    for folder, files in (("bbox_train", train), ("bbox_test", test)):
        for name in files:
            picture(tmp_path / folder / name[:4] / name)
    info = tmp_path / "info"
    info.mkdir()
    (info / "train_name.txt").write_text("\n".join(train) + "\n")
    (info / "test_name.txt").write_text("\n".join(test) + "\n")
    rows = [[1, 2, 1, 1], [3, 3, 1, 2]]
    savemat(info / "tracks_train_info.mat", {"track_train_info": np.array(rows, float)})
    rows = [[1, 1, -1, 1], [2, 2, 0, 1], [3, 3, 2, 1], [4, 5, 2, 3]]
    savemat(info / "tracks_test_info.mat", {"track_test_info": np.array(rows, float)})
    savemat(info / "query_IDX.mat", {"query_IDX": np.array([[3]], float)})
    return tmp_path


def test_mars_follows_its_lists(mars):
    data = open_dataset(f"mars:{mars}")
    assert [names(t) for t in data.train] == [
        ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg"],
        ["0001C2T0001F001.jpg"],
    ]
    assert [(t.identity, t.camera, len(t)) for t in data.query] == [(2, 1, 1)]
    # The junk track is left out, the distractor and the query itself stay.
    assert [(t.identity, t.camera) for t in data.gallery] == [(0, 1), (2, 1), (2, 3)]


def test_mars_says_all_that_is_missing(mars):
    (mars / "info" / "query_IDX.mat").unlink()
    shutil.rmtree(mars / "bbox_test")
    with pytest.raises(LayoutError, match=r"missing info/query_IDX\.mat, bbox_test/$"):
        open_dataset(f"mars:{mars}")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("query_IDX.mat", {"query_IDX": [[9]]}, "outside the 4 test tracklets"),
        ("tracks_train_info.mat", {"track_train_info": [[1, 9, 1, 1]]}, "outside its list of 3"),
        ("tracks_train_info.mat", {"track_train_info": [[2, 1, 1, 1]]}, "empty tracklet"),
        ("tracks_train_info.mat", {"other": [[1]]}, "holds no 'track_train_info'"),
        ("tracks_test_info.mat", {"track_test_info": [[1, 2, 3]]}, "must have 4 columns"),
    ],
)
def test_mars_lists_that_contradict_themselves(mars, file, content, said):
    savemat(mars / "info" / file, content)
    with pytest.raises(LayoutError, match=said):
        open_dataset(f"mars:{mars}")


def test_a_mars_picture_that_is_listed_but_absent(mars):
    (mars / "bbox_train" / "0001" / "0001C2T0001F001.jpg").unlink()
    with pytest.raises(LayoutError, match=r"0001C2T0001F001\.jpg is in MARS's lists but not"):
        open_dataset(f"mars:{mars}")


@pytest.fixture
def ilids(tmp_path) -> Path:
    for person in (1, 2, 5, 9):
        for camera in (1, 2):
            name = f"cam{camera}_person{person:03d}"
            folder = tmp_path / "i-LIDS-VID" / "sequences" / f"cam{camera}"
            for frame in (317, 318):
                picture(folder / f"person{person:03d}" / f"{name}_{frame:05d}.png")
    return tmp_path


def test_ilids_halves_its_people_ten_ways(ilids):
    splits = [open_dataset(f"ilids-vid:{ilids}#{n}") for n in range(10)]
    for data in splits:
        learnt = {t.identity for t in data.train}
        assert [t.identity for t in data.query] == [t.identity for t in data.gallery]
        assert {t.camera for t in data.query} == {1}
        assert {t.camera for t in data.gallery} == {2}
        assert learnt | {t.identity for t in data.query} == {1, 2, 5, 9}
        assert len(learnt) == len(data.query) == 2
    assert len({frozenset(t.identity for t in data.train) for data in splits}) > 1
    # Whatever the seed of a training: what is judged later must be the half that was not learnt from.
    assert open_dataset(f"ilids-vid:{ilids}#3", seed=7) == splits[3]


def test_ilids_says_who_is_in_one_camera_only(ilids):
    shutil.rmtree(ilids / "i-LIDS-VID" / "sequences" / "cam2" / "person005")
    with pytest.raises(LayoutError, match="person005 is in one of them only"):
        open_dataset(f"ilids-vid:{ilids}")


def test_prid_takes_people_with_more_than_21_frames_in_both_cameras(tmp_path):
    frames = {1: (22, 30), 2: (21, 30), 3: (25, 22), 4: (22, 22), 201: (30, 30)}
    for person, counts in frames.items():
        for camera, count in zip("ab", counts, strict=True):
            folder = tmp_path / "multi_shot" / f"cam_{camera}" / f"person_{person:04d}"
            for frame in range(1, count + 1):
                picture(folder / f"{frame:04d}.png")
    data = open_dataset(f"prid2011:{tmp_path}")
    assert {t.identity for t in data.train + data.query} == {1, 3, 4}
    with pytest.raises(UsageError, match="splits 0 to 9, not 10"):
        open_dataset(f"prid2011:{tmp_path}#10")


def test_ls_vid_follows_its_lists(tmp_path):
    lists = {"train": [("0000/0000_01_02", 0)], "test": [("0007/0007_03_04", 7)] * 2}
    for part, rows in lists.items():
        lines = [f"tracklet_{part}/{prefix} {identity}" for prefix, identity in rows]
        (tmp_path / "list_sequence").mkdir(exist_ok=True)
        (tmp_path / "list_sequence" / f"list_seq_{part}.txt").write_text("\n".join(lines))
        for prefix, _ in rows:
            for frame in (1, 2, 3):
                picture(tmp_path / f"tracklet_{part}" / f"{prefix}_{frame:04d}.jpg")
    (tmp_path / "test" / "data").mkdir(parents=True)
    with h5py.File(tmp_path / "test" / "data" / "info_test.mat", "w") as file:
        file["query"] = np.array([[2.0]])
    data = open_dataset(f"ls-vid:{tmp_path}")
    assert [(t.identity, t.camera, len(t)) for t in data.train] == [(0, 2, 3)]
    assert [(t.identity, t.camera) for t in data.query] == [(7, 4)]
    assert len(data.gallery) == 2


@pytest.fixture
def site(tmp_path) -> Path:
    for identity in range(1, 6):
        for camera in (1, 2):
            for frame in (1, 2):
                name = f"{identity:04d}C{camera}T0001F{frame:03d}.jpg"
                picture(tmp_path / "site" / f"{identity:04d}" / name)
    return tmp_path / "site"


def test_a_folder_holds_out_whole_identities(site):
    data = open_dataset(str(site), holdout=0.4)
    learnt, tested = {t.identity for t in data.train}, {t.identity for t in data.gallery}
    assert (len(learnt), len(tested), learnt & tested) == (3, 2, set())
    assert len(data.query) == 4


def test_frames_are_in_the_order_of_their_numbers(site):
    for frame in (10, 9):
        picture(site / "0001" / f"0001C1T0001F{frame}.jpg")
    (number, first), *_ = numbered(site)
    assert number == 1
    assert [name.split("F")[1] for name in names(first)] == [
        "001.jpg",
        "002.jpg",
        "9.jpg",
        "10.jpg",
    ]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda site: picture(site / "0001" / "someone.jpg"), r"someone\.jpg is not named"),
        (lambda site: picture(site / "0001" / "0002C1T1F1.jpg"), "another identity"),
        (lambda site: (site / "0009").mkdir(), "0009 holds no pictures"),
    ],
)
def test_a_folder_in_another_layout(site, spoil, said):
    spoil(site)
    with pytest.raises(LayoutError, match=said):
        open_dataset(str(site))


def test_people_in_one_camera_only_cannot_be_paired(site):
    data = open_dataset(str(site))
    lonely = (*data.train, Tracklet(("a.jpg",), 77, 1))
    with pytest.raises(DataError, match=r"1 of the identities .* one camera only \(77\)"):
        for_pairs(lonely)
    assert for_pairs(lonely, drop_single=True) == data.train
    with pytest.raises(DataError, match="identity 7 has an empty tracklet in camera 2"):
        for_pairs((*data.train, Tracklet((), 7, 2)))


def test_unknown_and_withdrawn_sets_are_refused(tmp_path):
    with pytest.raises(UsageError, match="withdrawn"):
        open_dataset(f"dukemtmc-videoreid:{tmp_path}")
    with pytest.raises(UsageError, match="not a data set"):
        open_dataset(f"marz:{tmp_path}")
    with pytest.raises(LayoutError, match="not a folder"):
        open_dataset(str(tmp_path / "absent"))


def test_people_of_several_sets_stay_different_people(tmp_path):
    """Both sets number their people from 1, and the same number is not the same person."""
    for site, people in (("a", 3), ("b", 2)):
        for person in range(1, people + 1):
            for camera in (1, 2):
                name = f"{person:04d}C{camera}T0001F001.jpg"
                picture(tmp_path / site / f"{person:04d}" / name)
    together = people_together([open_dataset(str(tmp_path / site)) for site in "ab"])
    assert len(together) == 10
    sites_of = {t.identity: {Path(p).parents[1].name for p in t.paths} for t in together}
    assert sorted(map(sorted, sites_of.values())) == [["a"]] * 3 + [["b"]] * 2
