"""A result in the operator's file: it is there, the rest is as it was, and nothing half written ever is."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from calibration.__main__ import main
from calibration.commands import travel
from calibration.errors import SiteFileError, StorageError
from calibration.site_file import provenance, write_result
from pipeline.settings import TravelSettings, load_settings

FILE = """# my site
[[camera]]
name = "hall"   # by the door
address = "hall.mp4"

[match]  # guesses
even = 0.5   # a guess
apart = [["hall", "court"]]
"""
ORIGIN = provenance("runs/today/record.db", "12 pairs", {"share": 0.25})
TRAVEL = [{"origin": "hall", "target": "court", "median": 12.5, "spread": 0.25}]


def test_a_result_is_set_and_the_rest_keeps_its_comments(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(FILE)
    write_result(path, "threshold", {"match": {"even": 0.6, "curve": [[0, -1], [1, 1]]}}, ORIGIN)
    text = path.read_text()
    for kept in ("# my site", 'name = "hall"   # by the door', "[match]  # guesses", "# a guess"):
        assert kept in text
    site = load_settings(path)
    assert site.match.even == 0.6
    assert site.match.apart == (("hall", "court"),)
    assert site.match.curve == ((0, -1), (1, 1))
    assert site.calibration["threshold"].amount == "12 pairs"
    assert site.calibration["threshold"].evidence == {"share": 0.25}


def test_writing_again_replaces_and_other_results_stay(tmp_path):
    path = tmp_path / "site.toml"
    write_result(path, "travel", {"travel": [TRAVEL[0] | {"target": "door"}, *TRAVEL]}, ORIGIN)
    write_result(path, "threshold", {"match": {"even": 0.6}}, ORIGIN)
    write_result(path, "travel", {"travel": TRAVEL}, ORIGIN)
    site = load_settings(path)
    assert site.travel == (TravelSettings("hall", "court", 12.5, 0.25),)
    assert set(site.calibration) == {"threshold", "travel"}
    assert site.identify().site.travel["hall", "court"].median == 12.5


@pytest.mark.parametrize(
    ("before", "result", "error"),
    [
        ("[match", {"match": {"even": 0.6}}, SiteFileError),
        (FILE, {"match": {"evn": 0.6}}, SiteFileError),
        (FILE, {"travel": [{"origin": "hall"}]}, SiteFileError),
    ],
)
def test_what_would_not_load_leaves_the_file_alone(tmp_path, before, result, error):
    path = tmp_path / "site.toml"
    path.write_text(before)
    with pytest.raises(error, match=r"left alone"):
        write_result(path, "threshold", result, ORIGIN)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["site.toml"]


def test_a_page_is_not_written_over_the_site(tmp_path, capsys):
    site = tmp_path / "site.toml"
    site.write_text("# mine\n")
    known = tmp_path / "site.json"
    known.write_text('{"cameras": []}')
    words = ["ground", "--known", str(known), "--site", str(site), "--page", str(site)]
    assert main(words) == 2
    assert "is the site's file: choose another one for the page" in capsys.readouterr().err
    assert site.read_text() == "# mine\n"


def test_remarks_stay_before_what_they_are_about(tmp_path):
    site = tmp_path / "site.toml"
    write_result(site, "threshold", {"match": {"even": 0.5}}, ORIGIN)
    site.write_text(site.read_text() + "\n# lens cleaned, ask Anna\n[embedder]\nslots = 64\n")
    for even in (0.5, 0.6):
        write_result(site, "threshold", {"match": {"even": even}}, ORIGIN)
        assert site.read_text().endswith("\n\n# lens cleaned, ask Anna\n[embedder]\nslots = 64\n")


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((StorageError, SiteFileError), match="cannot"):
        write_result(tmp_path / "file" / "site.toml", "travel", {}, ORIGIN)


def test_ways_that_were_not_learned_stay_as_the_operator_said(tmp_path):
    site = tmp_path / "site.toml"
    site.write_text(
        '[match]\napart = [["hall", "court"], ["door", "court"]]  # walls\n'
        + "".join(
            f'[[travel]]\norigin = "{a}"\ntarget = "{b}"\nmedian = 9.0\nspread = 0.3\n'
            for a, b in (("hall", "court"), ("court", "hall"))
        )
    )
    outcome = travel.Outcome(
        ways=[travel.Learned("hall", "court", 12.0, 0.2, 30, 5.0, None, None)],
        overlapping=[("court", "door")],
        apart=[],
        undecided=[("hall", "court")],
        page="",
    )
    record = SimpleNamespace(path=Path("run"), network="grl-edge", amount=lambda: "one hour")
    travel._write_site(site, load_settings(site), record, outcome, 99)
    found = load_settings(site)
    assert found.match.apart == (("hall", "court"),)
    assert found.match.overlapping == (("court", "door"),)
    assert {(w.origin, w.target): w.median for w in found.travel} == {
        ("hall", "court"): 12.0,
        ("court", "hall"): 9.0,
    }
    assert "# walls" in site.read_text()
