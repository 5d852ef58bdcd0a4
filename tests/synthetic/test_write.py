"""Sites on disk: the same bytes again, resuming, what site.json says, and bad requests."""

import json
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from synthetic import (
    Feed,
    RequestError,
    SiteRequest,
    World,
    generate_site,
    load,
    load_site,
    write_site,
)
from synthetic.__main__ import main
from synthetic.render import Renderer
from synthetic.scene import surroundings_of
from synthetic.transits import Transit, transits_of, travel_times
from synthetic.write import mot_rows

REQUEST = SiteRequest("generated:2:4", seed=3, duration=1.2, fps=10, size=(192, 108))


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="bgr24") for frame in file.decode(video=0)])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_site(REQUEST, folder)
    return folder


def test_the_same_seed_gives_the_same_truth_and_pixels_on_any_number_of_processes(
    written, tmp_path
):
    write_site(REQUEST, tmp_path, processes=2)
    for name in ("cam01", "cam02"):
        first, second = (folder / "gt" / f"{name}.txt" for folder in (written, tmp_path))
        assert first.read_bytes() == second.read_bytes()
        assert (written / f"{name}.mp4").read_bytes() == (tmp_path / f"{name}.mp4").read_bytes()
        pictures = decoded(written / f"{name}.mp4")
        assert pictures.shape == (12, 108, 192, 3)
        np.testing.assert_array_equal(pictures, decoded(tmp_path / f"{name}.mp4"))
    assert (written / "site.json").read_bytes() == (tmp_path / "site.json").read_bytes()
    rows = [(written / "gt" / f"{n}.txt").read_text().count("\n") for n in ("cam01", "cam02")]
    assert sum(rows) > 12


def test_truth_is_what_a_live_feed_of_the_same_seed_shows(written):
    feed = Feed(REQUEST.load(), "cam01", REQUEST.seed, epoch=100.0, duration=1.2)
    shots = list(feed)
    assert [shot.index for shot in shots] == list(range(12))
    assert shots[7].time == pytest.approx(100.7)
    rows = "".join(mot_rows(shot.index + 1, shot.rendered) for shot in shots)
    assert rows == (written / "gt" / "cam01.txt").read_text()
    np.testing.assert_array_equal(feed.frame(4).rendered.image, shots[4].rendered.image)
    # H.264 keeps the picture: 30 dB is far above what a wrong frame would give
    error = np.mean(
        (decoded(written / "cam01.mp4").astype(float) - [s.rendered.image for s in shots]) ** 2
    )
    assert 10 * np.log10(255**2 / error) > 30


def test_another_seed_is_another_world(written, tmp_path):
    other = SiteRequest("generated:2:4", seed=4, duration=0.2, fps=10, size=(192, 108))
    write_site(other, tmp_path)
    assert (tmp_path / "gt" / "cam01.txt").read_text() not in (
        written / "gt" / "cam01.txt"
    ).read_text()


def test_site_json_maps_the_floor_to_the_picture(written):
    described = json.loads((written / "site.json").read_text())
    site = REQUEST.load()
    for camera in site.cameras:
        there = described["cameras"][camera.name]
        both = np.array(there["floor_to_image"]) @ np.array(there["image_to_floor"])
        np.testing.assert_allclose(both / both[2, 2], np.eye(3), atol=1e-6)
        np.testing.assert_allclose(there["matrix"], camera.matrix)
    assert described["frames"] == 12


def test_an_interrupted_run_goes_on_and_foreign_folders_are_left_alone(written, tmp_path, capsys):
    before = (written / "cam02.mp4").stat().st_mtime_ns
    lost = (written / "cam01.mp4").read_bytes()
    (written / "cam01.mp4").unlink()
    write_site(REQUEST, written)
    assert (written / "cam01.mp4").read_bytes() == lost
    assert (written / "cam02.mp4").stat().st_mtime_ns == before
    assert main(["site", "plaza", "--out", str(written)]) == 2
    (tmp_path / "mine.mp4").write_bytes(b"x")
    assert main(["site", "plaza", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("choose another folder") == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nowhere", "no site nowhere"),
        ("generated:0", "1 to 200 cameras"),
        ("missing.toml", "cannot be read"),
        ("broken.toml", "not valid TOML"),
        ("nan.toml", "must be 4 numbers"),
        ("odd.toml", "unknown entries: colour_of_sky"),
        ("cut.toml", "cut in two"),
    ],
)
def test_bad_sites_are_told_in_one_sentence(text, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plaza = (Path(load.__file__).parent / "sites" / "plaza.toml").read_text()
    Path("broken.toml").write_text(plaza[: len(plaza) // 2])
    Path("nan.toml").write_text(plaza.replace("bounds = [-8,", "bounds = [nan,"))
    Path("odd.toml").write_text(plaza.replace("ambient =", "colour_of_sky = 3\nambient ="))
    Path("cut.toml").write_text(
        plaza.replace("wall = [", "wall = [{ from = [28, -6], to = [28, 23], height = 3 },", 1)
    )
    assert main(["site", text, "--out", "out", "--duration", "1"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_bad_requests_are_told_in_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for extra in (
        ["--duration", "-1"],
        ["--duration", "nan"],
        ["--size", "33x40"],
    ):
        assert (
            main(["site", "plaza", "--out", str(tmp_path / "x"), "--processes", "1", *extra]) == 2
        )
    assert main(["site", "plaza", "--out", str(tmp_path / "file" / "x")]) == 2
    assert capsys.readouterr().err.count("error: ") == 4
    for option, value in (("--seed", "-2"), ("--size", "abc")):
        with pytest.raises(SystemExit):
            main(["site", "plaza", "--out", str(tmp_path / "x"), option, value])
        assert f"error: argument {option}: " in capsys.readouterr().err
    with pytest.raises(RequestError):
        Feed(generate_site(1), "cam01", 1, duration=0.0)


def test_transits_are_read_from_truth(tmp_path):
    rows = {
        "a": [(1, 5, 1.0), (2, 5, 0.9), (90, 5, 0.9)],
        "b": [(31, 5, 0.8), (32, 5, 0.1), (41, 5, 0.7)],
    }
    for name, seen in rows.items():
        lines = (f"{n},{who},0,0,9,9,1,1,{share}\n" for n, who, share in seen)
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    transits = transits_of({name: tmp_path / f"{name}.txt" for name in rows}, fps=10)
    assert transits == [Transit(5, "a", "b", 0.1, 3.0), Transit(5, "b", "a", 4.0, 8.9)]
    assert travel_times(transits)["a>b"]["mean"] == pytest.approx(2.9)


def test_the_malls_halls_overlap_and_its_courts_are_a_walk_away():
    site = load_site("mall").resized((240, 136))
    world = World(site, 7)
    renderers = {
        c.name: Renderer(c, surroundings_of(site), world.identity, 7, samples=1)
        for c in site.cameras
    }
    seen: dict[str, dict[int, list[float]]] = {name: {} for name in renderers}
    for tick in range(0, 240 * 2):
        people = world.people_at(tick / 2)
        for name, renderer in renderers.items():
            shown = renderer.locate(people)
            for person in shown.ids[shown.visibility > 0.5].tolist():
                seen[name].setdefault(person, []).append(tick / 2)
    west, east = seen["hall-west"], seen["hall-east"]
    assert sum(bool(set(west[k]) & set(east[k])) for k in west.keys() & east.keys()) >= 5
    unseen = []
    for court in ("east-court", "north-court"):
        for person in seen[court]:
            moments = sorted(
                (t, name == court)
                for name in ("hall-west", "hall-east", court)
                for t in seen[name].get(person, [])
            )
            unseen += [b - a for (a, x), (b, y) in pairwise(moments) if x != y]
        assert not any(set(seen[court].get(k, [])) & set(west[k]) for k in west)
    assert len(unseen) >= 8
    assert 5 < np.median(unseen) < 60
    assert np.quantile(unseen, 0.1) > 5
