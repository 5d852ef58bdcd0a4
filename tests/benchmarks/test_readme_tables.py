"""The README says what the results say, and nothing else."""

import json
import re
from pathlib import Path

from benchmarks.readme import BLOCK, README, RESULTS, rendered
from benchmarks.tables import TABLES


def test_the_readme_is_what_the_results_say():
    text = README.read_text()
    assert rendered(text) == text, "out of date: python -m benchmarks.readme"


def test_every_table_has_its_place():
    assert sorted(match[2] for match in BLOCK.finditer(README.read_text())) == sorted(TABLES)


def test_a_changed_result_changes_the_table(tmp_path):
    for path in RESULTS.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    report = json.loads((RESULTS / "tracker.json").read_text())
    report["outcomes"]["throughline"]["MOT17-05"]["hota"] = 0.123
    (tmp_path / "tracker.json").write_text(json.dumps(report))
    (tmp_path / "engines.json").unlink()
    text = rendered(README.read_text(), tmp_path)
    assert "| **ours** | 12.3 / " in text
    assert "Not measured yet: `python -m benchmarks.engines`." in text


def test_every_figure_names_its_machine_date_and_command():
    for path in (path for path in RESULTS.glob("*.json") if path.stem in TABLES):
        report = json.loads(path.read_text())
        assert report["machine"]["cores"] >= 1, path
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", report["machine"]["date"]), path
        assert (
            (Path(__file__).parents[2] / "benchmarks")
            .joinpath(report["command"].split()[2].removeprefix("benchmarks.") + ".py")
            .exists()
        )
