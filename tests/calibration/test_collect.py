"""Calibration sets: filled evenly, bounded, gone after their day."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from calibration.__main__ import main
from calibration.collecting import CROPS_EACH, Collection, cell_of
from calibration.commands import collect
from calibration.errors import StorageError, UsageError
from calibration.sets import CalibrationSet, check_set, purge, read_set, write_set
from pipeline.frames import Detections, Frame, Tracks
from pipeline.track import TrackerSettings

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PICTURE = np.full((270, 480, 3), 90, np.uint8)


def begun(folder, cameras=("a", "b"), days=1.0) -> CalibrationSet:
    content = CalibrationSet(
        created=NOON.isoformat(),
        expires=(NOON + timedelta(days=days)).isoformat(),
        detector="none",
        cameras=cameras,
    )
    write_set(folder, content)
    return content


def people(*heights: int, first_id: int = 1) -> Tracks:
    """Standing side by side, of these heights."""
    left = 10 + 60 * np.arange(len(heights))
    boxes = np.stack([left, np.full_like(left, 20), left + 40, 20 + np.array(heights)], axis=1)
    count = len(heights)
    return Tracks(
        np.arange(first_id, first_id + count),
        boxes.astype(np.float32),
        np.full(count, 0.9, np.float32),
        np.zeros(count, np.float32),
    )


def at(seconds: float, camera: str = "a") -> Frame:
    return Frame(camera, 0, NOON.timestamp() + seconds, PICTURE)


def test_frames_are_spread_over_the_whole_time_and_bounded(tmp_path):
    collection = Collection(tmp_path, begun(tmp_path), frames=40, crops=0)
    nobody = people()
    for second in range(1000):
        collection.note(at(second), nobody)
    files = sorted((tmp_path / "frames" / "a").glob("*.jpg"))
    assert 10 < len(files) <= 20
    assert collection.counts == {"a": (len(files), 0), "b": (0, 0)}
    assert not collection.full
    assert not (tmp_path / "crops").exists()


def test_a_rare_camera_and_size_get_their_share(tmp_path):
    """Camera a shows 200 large people, then b five small ones: room is for eight."""
    collection = Collection(tmp_path, begun(tmp_path), frames=0, crops=8 * CROPS_EACH)
    for person in range(200):
        for k in range(4):
            collection.note(at(3 * person + 0.5 * k), people(220, first_id=person + 1))
    for person in range(5):
        for k in range(4):
            collection.note(at(700 + 3 * person + k, "b"), people(120, first_id=person + 1))
    found = collection.content.people
    assert len(found) == 8
    cells = [cell_of(person) for person in found]
    assert cells.count((1, 12, 2)) in (4, 5)
    assert cells.count((2, 12, 1)) in (3, 4)
    collection.save()
    assert len(list((tmp_path / "crops").rglob("*.jpg"))) == sum(p.crops for p in found)
    assert read_set(tmp_path).people == found


def test_crops_are_named_as_in_mars_and_are_what_the_box_holds(tmp_path):
    collection = Collection(tmp_path, begun(tmp_path), frames=0, crops=90)
    for k in range(30):
        collection.note(at(0.1 * k), people(200))
    files = sorted(path.name for path in (tmp_path / "crops" / "0001").iterdir())
    assert files == [f"0001C1T0001F{k:03d}.jpg" for k in range(1, CROPS_EACH + 1)]
    crop = cv2.imread(str(tmp_path / "crops" / "0001" / files[0]))
    assert crop.shape == (200, 40, 3)


def test_it_goes_on_where_it_was_killed(tmp_path):
    content = begun(tmp_path)
    collection = Collection(tmp_path, content, frames=10, crops=90)
    collection.note(at(0), people(200))
    collection.save()
    collection.note(at(5), people(200, 200))  # never saved: the process dies here
    again = Collection(tmp_path, read_set(tmp_path), frames=10, crops=90)
    assert [person.crops for person in again.content.people] == [1]
    assert len(list((tmp_path / "crops").rglob("*.jpg"))) == 1
    again.note(at(60), people(200, 200))
    assert [person.number for person in again.content.people] == [1, 2, 3]


def test_a_set_past_its_day_is_deleted_by_whoever_opens_it(tmp_path, capsys):
    old, young, other = (tmp_path / name for name in ("old", "young", "other"))
    for folder, days in ((old, 1.0), (young, 1e4), (other, 1.0)):
        folder.mkdir()
        collection = Collection(folder, begun(folder, days=days), frames=10, crops=90)
        collection.note(at(0), people(200))
        collection.save()
    (other / "notes.txt").write_text("mine")
    assert check_set(young) is not None
    with pytest.raises(UsageError, match="was deleted just now"):
        check_set(old, NOON + timedelta(days=2))
    assert not old.exists()
    assert main(["collect", "--purge", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": [str(other)]}
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
    assert (young / "set.json").exists()
    assert purge(tmp_path) == []


def test_a_damaged_set_spares_no_other(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_set(tmp_path / name, begun(tmp_path / name, days=1.0))
    said = json.loads((tmp_path / "b" / "set.json").read_text())
    said["expires"] = said["expires"].split("+")[0]  # as somebody typed it
    (tmp_path / "b" / "set.json").write_text(json.dumps(said))
    (tmp_path / "a" / "set.json").write_text('{"cards": 3}')
    assert main(["collect", "--purge", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "(1 others were deleted)" in told
    assert "a/set.json does not describe a calibration set" in told
    assert not (tmp_path / "b").exists()


def test_a_folder_that_is_no_set_is_never_touched(tmp_path, capsys):
    mine = tmp_path / "mine"
    (mine / "crops").mkdir(parents=True)
    (mine / "crops" / "dear.jpg").write_bytes(b"x")
    (tmp_path / "film").mkdir()
    cv2.imwrite(str(tmp_path / "film" / "1.png"), PICTURE)
    assert check_set(mine) is None
    assert main(["collect", str(tmp_path / "film"), "-o", str(mine)]) == 2
    assert "holds something else already" in capsys.readouterr().err
    assert (mine / "crops" / "dear.jpg").exists()


def test_a_full_disk_is_one_sentence(tmp_path):
    """The limit on a file's size stands for the disk's: writing fails as it does there, part-way."""
    collection = Collection(tmp_path, begun(tmp_path), frames=10, crops=0)
    noise = np.random.default_rng(0).integers(0, 256, (540, 960, 3), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(
            StorageError, match=r"cannot write .*frames/a/000001\.jpg: File too large"
        ):
            collection.note(Frame("a", 0, NOON.timestamp(), noise), people())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "frames" / "a").iterdir()) == []


def test_a_camera_that_cannot_be_read_is_one_sentence(test_data, tmp_path, capsys):
    detector = str(test_data / "models" / "yolox_nano.onnx")
    words = ["-o", str(tmp_path / "set"), "--detector", detector]
    assert main(["collect", str(tmp_path / "none.mp4"), *words]) == 2
    said = capsys.readouterr().err
    assert "none.mp4" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("camera", "detector"),
    [("ignore = [[[0, 0], [1, 0], [1, 1], [0, 1]]]", ""), ("", "sure = 0.99")],
    ids=["all of it in a zone", "nobody sure enough"],
)
def test_nobody_is_kept_whom_the_pipeline_would_not_follow(
    test_data, tmp_path, capsys, camera, detector
):
    film = test_data / "clips" / "one-by-one-person-detection.mp4"
    network = test_data / "models" / "yolox_nano.onnx"
    site = tmp_path / "site.toml"
    site.write_text(
        f'[[camera]]\naddress = "{film}"\n{camera}\n[detector]\npackage = "{network}"\n{detector}\n'
    )
    words = ["--rate", "2", "--frames", "0", "--crops", "72", "--duration", "8"]
    assert main(["collect", "--site", str(site), "-o", str(tmp_path / "set"), *words]) == 3
    assert "crops of people" in capsys.readouterr().err
    assert not list((tmp_path / "set").rglob("*.jpg"))


def test_a_camera_that_rests_has_all_of_its_time(tmp_path, monkeypatch):
    """An hour of silence, by a clock that runs ahead, and then somebody comes."""
    clock = iter([*np.arange(0.0, 3600.0, 30.0), *np.full(10, 3600.0)])

    class Cameras:
        finished = False

        def start(self) -> None:
            self.ticks = 0

        def wait(self, timeout: float) -> list[Frame]:
            self.ticks += 1
            seconds = {1: 0.0, 110: 3590.0, 111: 3599.0, 112: 3601.0}.get(self.ticks)
            return [] if seconds is None else [at(seconds)]

    collection = Collection(tmp_path, begun(tmp_path), frames=40, crops=0)
    monkeypatch.setattr(collect.time, "monotonic", lambda: next(clock))
    nobody = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    collect._collect(
        Cameras(), lambda frames: [nobody] * len(frames), TrackerSettings(), collection, 3600.0, Console(quiet=True)
    )  # fmt: skip
    assert collection.counts["a"] == (4, 0)


def test_frames_stay_spread_over_a_restart(tmp_path):
    first = Collection(tmp_path, begun(tmp_path), frames=40, crops=0)
    for second in range(10_000):
        first.note(at(second), people())
    first.save()
    again = Collection(tmp_path, read_set(tmp_path), frames=40, crops=0)
    before = again.counts["a"][0]
    for second in range(10_000, 10_200):
        again.note(at(second), people())
    assert before > 10
    assert again.counts["a"][0] <= before + 2, "as rarely as before"


def test_a_collection_that_is_stopped_is_kept_and_goes_on(test_data, tmp_path):
    """By a real signal, as soon as there are pictures."""
    network, folder = test_data / "models" / "yolox_nano.onnx", tmp_path / "set"
    film = test_data / "clips" / "one-by-one-person-detection.mp4"
    words = [sys.executable, "-m", "calibration", "collect", film, "-o", folder, "--rate", "25"]
    words += ["--detector", network, "--duration", "600"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    last = time.monotonic() + 60
    while not list(folder.rglob("*.jpg")) and time.monotonic() < last and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "the same command goes on" in told
    assert "Traceback" not in told
    assert read_set(folder).cameras == ("one-by-one-person-detection",)


def test_a_film_becomes_a_balanced_set(test_data, tmp_path, capsys):
    """Two cameras, one of them the same film: both give crops and frames, and int8 can read them."""
    film = test_data / "clips" / "one-by-one-person-detection.mp4"
    for name in ("hall.mp4", "door.mp4"):
        shutil.copy(film, tmp_path / name)
    words = ["collect", str(tmp_path / "hall.mp4"), str(tmp_path / "door.mp4")]
    words += [
        "-o",
        str(tmp_path / "set"),
        "--detector",
        str(test_data / "models" / "yolox_nano.onnx"),
    ]
    words += ["--rate", "2", "--frames", "16", "--crops", "72", "--duration", "30", "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "pictures of people" in said.err
    told = json.loads(said.out)
    assert set(told["cameras"]) == {"hall", "door"}
    crops = [camera["crops"] for camera in told["cameras"].values()]
    frames = [camera["frames"] for camera in told["cameras"].values()]
    assert min(crops) > 0
    assert max(crops) <= 2 * min(crops) + CROPS_EACH
    assert all(4 <= count <= 8 for count in frames)
    assert sum(crops) <= 72
    files = list((tmp_path / "set" / "crops").rglob("*.jpg"))
    assert len(files) == sum(crops)
    heights = [cv2.imread(str(path)).shape[0] for path in files]
    assert min(heights) >= 48
    from calibration.int8.samples import crop_samples, frame_samples

    if told["people"] >= 8:
        assert crop_samples(tmp_path / "set", (64, 32), 8, 9).steps.shape[0] == 9
    if sum(frames) >= 16:
        assert frame_samples(tmp_path / "set", (64, 64), 16).steps.shape[1] == 16
