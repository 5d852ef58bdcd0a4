"""A site's file: what is read from it, and that whatever is wrong with it is said in one sentence."""

import json
from pathlib import Path

import pytest

from engines.package import MANIFEST
from pipeline.cli import main
from pipeline.errors import IdentifyError, SettingsError
from pipeline.ground import FloorMap, GroundSettings
from pipeline.networks import tracking
from pipeline.settings import CameraSettings, DetectorSettings, Settings, load_settings

TRAVEL = '[[travel]]\norigin = "a"\nmedian = 9\nspread = 0.4\n'
GROUND = '[[ground]]\ncamera = "a"\nsize = [768, 432]\nfloor = [1, 0, 0, 0, 1, 0, 0, 0, 1]\nerror = 0.1\n'


def written(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text)
    return path


def test_a_whole_site_is_read(tmp_path):
    site = load_settings(
        written(
            tmp_path,
            '[[camera]]\nname = "hall"\naddress = "hall.mp4"\nmax_rate = 5\n'
            "ignore = [[[0, 0], [0.5, 0.0], [0.5, 1]], [[0.9, 0.9], [1, 0.9], [1, 1], [0.9, 1]]]\n"
            '[[camera]]\naddress = "rtsp://10.0.0.7/stream"\n'
            '[detector]\npackage = "people.onnx"\nclasses = [0, 2]\nscore = 0\n'
            "[embedder]\nslots = 3\n[tracklets]\nbudget = 2\nspacing = 1\n",
        )
    )
    assert site.camera == (
        CameraSettings(
            "hall.mp4",
            "hall",
            5.0,
            (((0, 0), (0.5, 0.0), (0.5, 1)), ((0.9, 0.9), (1, 0.9), (1, 1), (0.9, 1))),
        ),
        CameraSettings("rtsp://10.0.0.7/stream", None, None),
    )
    assert site.detector == DetectorSettings("people.onnx", 0.0, (0, 2))
    assert (site.embedder.slots, site.tracklets.budget, site.tracklets.spacing) == (3, 2, 1.0)
    assert isinstance(site.tracklets.spacing, float)


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load_settings(written(tmp_path, "")) == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "cameras = 1",
            "has no 'cameras'; there are calibration, camera, detector, embedder, files, ground, match",
        ),
        (
            '[[camera]]\nadress = "x"',
            "[[camera]] has no 'adress'; there are address, ignore, max_rate, name",
        ),
        ('[[camera]]\nname = "x"', "[[camera]] lacks 'address'"),
        ('[camera]\naddress = "x"', "camera is written as [[camera]]"),
        ('[[camera]]\naddress = ""', "address must be a text, not ''"),
        ('[[camera]]\naddress = "x"\nmax_rate = 0', "max_rate must be a number above 0, not 0.0"),
        (
            '[[camera]]\naddress = "x"\nignore = [[[0, 0], [1, 1]]]',
            "ignore must be a list of polygons",
        ),
        ('[[camera]]\naddress = "x"\nignore = [[[0, 0], [9, 1], [1, 1]]]', "between 0 and 1, not"),
        ('[[camera]]\naddress = "x"\nignore = [0, 0, 1, 1]', "ignore must be a list of polygons"),
        ("[detector]\nscore = nan", "score must be a number from 0 on, not nan"),
        ('[detector]\nscore = "high"', "score must be a number from 0 on, not 'high'"),
        ("[detector]\nclasses = 0", "classes must be a list of whole numbers, not 0"),
        ("[detector]\nclasses = []", "classes must be a list of whole numbers, not ()"),
        ('[detector]\nclasses = ["person"]', "classes must be a list of whole numbers"),
        ("[embedder]\nslots = 0", "slots must be a whole number from 1 on, not 0"),
        ("[embedder]\nslots = true", "slots must be a whole number from 1 on, not True"),
        ("[embedder]\nslots = 2.5", "slots must be a whole number from 1 on, not 2.5"),
        ("[embedder]\nslots = 1000000000000", "slots is from 1 to 65536, not 1000000000000"),
        ("[match]\nretention_hours = 0", "retention_hours is above 0, not 0"),
        (
            TRAVEL.replace("median = 9", "median = 0") + 'target = "b"\n',
            "travel from a to b: median and spread are above 0, not 0",
        ),
        ("[tracklets]\nbudget = -1", "budget must be a whole number from 1 on, not -1"),
        ("[tracklets]\nspacing = -0.1", "spacing must be a number from 0 on, not -0.1"),
        ('[match]\napart = ["a", "b"]', "apart must be a list of pairs of cameras"),
        ('[match]\napart = [["a", "b", "c"]]', "apart must be a list of pairs of cameras"),
        ('[match]\napart = [["a", "a"]]', "apart pairs camera 'a' with itself"),
        (2 * (TRAVEL + 'target = "b"\n'), "there are two [[travel]] from 'a' to 'b'"),
        (TRAVEL + 'target = "a"\n', "[[travel]] pairs camera 'a' with itself"),
        (2 * GROUND, "there are two [[ground]] of camera 'a'"),
        ("[detector]\nscore = 1.5", "score is a score from 0 to 1, not 1.5"),
        ("detector = 3", "[detector] must be a section, not 3"),
        ("[detector", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, told):
    with pytest.raises(SettingsError) as error:
        load_settings(written(tmp_path, text))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        'camera = ["rtsp://admin:geheim7@10.0.0.7/stream"]',
        '[[camera]]\naddress = ["rtsp://admin:geheim7@10.0.0.7/stream"]',
        '[[camera]]\naddress = "x.mp4"\nname = "rtsp://admin:geheim7@10.0.0.7/stream"',
    ],
)
def test_what_is_wrong_is_said_without_passwords(tmp_path, monkeypatch, capsys, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.mp4").touch()
    assert main(["--site", str(written(tmp_path, text))]) == 2
    told = capsys.readouterr().err
    assert "10.0.0.7" in told
    assert "geheim7" not in told


def test_a_floor_that_is_no_floor_is_refused():
    with pytest.raises(SettingsError, match="floor must be nine numbers of a homography"):
        FloorMap(GroundSettings("hall", (768, 432), (0.0,) * 9, 0.1))


def test_floors_tell_who_is_apart_only_where_both_say_what_they_see(tmp_path):
    views = ["view = [[0, 0], [5, 0], [5, 5]]\n", "view = [[90, 0], [95, 0], [95, 5]]\n"]
    for shown, apart in ((views, {("a", "b")}), (["", views[1]], set()), (["", ""], set())):
        text = GROUND + shown[0] + GROUND.replace('"a"', '"b"') + shown[1]
        assert load_settings(written(tmp_path, text)).identify().site.apart == apart


def test_cameras_that_are_spoken_of_but_not_there_are_named(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hall.mp4").touch()
    text = '[[camera]]\naddress = "hall.mp4"\n[match]\napart = [["hall", "cuort"]]\n'
    assert main(["--site", str(written(tmp_path, text))]) == 2
    assert "cameras that are not there: 'cuort'" in caplog.text


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot read .*nowhere.toml: No such file"):
        load_settings(tmp_path / "nowhere.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not TOML"):
        load_settings(tmp_path / "bytes.toml")
    (tmp_path / "marked.toml").write_text("[embedder]\nslots = 7\n", "utf-8-sig")
    assert load_settings(tmp_path / "marked.toml").embedder.slots == 7


def test_what_is_known_of_a_site_reaches_the_identities(tmp_path):
    text = '[match]\neven = 0.6\nslope = 9\noverlapping = [["a", "b"]]\nretention_hours = 0.5\n'
    known = load_settings(written(tmp_path, text)).match.identify()
    assert (known.mapping.even, known.mapping.slope, known.retention) == (0.6, 9.0, 1800.0)
    assert known.site.overlapping == {("a", "b")}
    assert known.site.apart == frozenset()


def test_what_an_embedder_brings_holds_where_the_site_says_nothing(tmp_path):
    package = tmp_path / "network"
    told = {"even": 0.4, "slope": 9.0, "known": 0.1, "young": 0.2}
    Path(f"{package}.likeness.json").write_text(json.dumps(told))

    def likeness(match):
        text = f'[embedder]\npackage = "{package}"\n[match]\n{match}'
        found = load_settings(written(tmp_path, text)).identify()
        return found.mapping.even, found.mapping.slope, found.mapping.young, found.known

    assert likeness("") == (0.4, 9.0, 0.2, 0.1)
    assert likeness("known = 0.3") == (0.4, 9.0, 0.2, 0.3)
    assert likeness("known = 0.5") == (0.4, 9.0, 0.2, 0.5), (
        "said, though it is what there would be anyway"
    )
    assert likeness("young = 0.3") == (0.4, 9.0, 0.3, 0.1)
    assert likeness("even = 0.6") == (0.6, 25.0, 0.0, 0.5), (
        "figures of its own are not mixed with it"
    )
    with pytest.raises(IdentifyError, match="known is a chance between 0 and 1, not 2"):
        likeness("known = 2.0")


@pytest.mark.parametrize("sure", ["7", "-0.1", "nan"])
def test_a_sureness_that_is_no_score_is_refused(tmp_path, sure):
    site = tmp_path / "site.toml"
    site.write_text(f"[detector]\nsure = {sure}\n")
    with pytest.raises(SettingsError, match="sure"):
        load_settings(site)


def test_how_sure_a_detector_must_be_is_told_by_the_site_or_else_its_package(tmp_path):
    shipped = Path(DetectorSettings().package)
    package = tmp_path / "package"
    package.mkdir()
    manifest = json.loads((shipped / MANIFEST).read_text()) | {"sure": 0.6}
    (package / MANIFEST).write_text(json.dumps(manifest))
    assert tracking(DetectorSettings(package=str(package))).sure == 0.6
    assert tracking(DetectorSettings(package=str(package), sure=0.4)).sure == 0.4
    assert tracking(DetectorSettings(package="foreign.onnx")).sure == 0.5
    assert 0.6 < tracking(DetectorSettings(package=str(package))).beyond_doubt <= 0.7 + 1e-9
