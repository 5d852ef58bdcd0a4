"""What the start-up benchmark says is what a watch beside it says."""

import sys
import time

import pytest

from benchmarks.startup import PHASES, StartError, _started, figures


def test_the_moment_is_when_the_file_holds_something(tmp_path):
    """A child that takes three tenths of a second by its own account, and leaves an empty file before."""
    sign, told = tmp_path / "sign", tmp_path / "told"
    code = (
        f"import pathlib, time; s = pathlib.Path({str(sign)!r}); s.touch(); b = time.time(); time.sleep(0.3); "
        f"pathlib.Path({str(told)!r}).write_text(str(time.time() - b)); s.write_text('x'); time.sleep(60)"
    )
    before = time.time()
    began, seen = _started([sys.executable, "-c", code], "warm", False, sign)
    assert before <= began <= seen - float(told.read_text())
    assert time.time() - before < 30, "the child was ended, not waited for"


def test_a_run_that_ends_without_a_word_is_an_error_with_its_last_line(tmp_path):
    code = "import sys; sys.exit('no such camera')"
    with pytest.raises(StartError, match="no such camera"):
        _started([sys.executable, "-c", code], "warm", False, tmp_path / "sign")


def test_the_phases_add_up_to_the_whole():
    """Moments a different number of seconds apart each; ready is who was opened last."""
    order = ["command", "interpreter", "imports", "embedder", "detector", "first frame"]
    told = {moment: 100.0 + n**2 for n, moment in enumerate([*order, "first event"])}
    told["compiled"] = 105.0
    found = figures([7.5, 8.5, 9.0], [told, told])
    assert found["first_event"] == {"least": 7.5, "median": 8.5, "most": 9.0}
    assert found["first_frame"]["median"] == 25.0
    assert [found["phases"][phase]["median"] for phase in PHASES] == [1, 3, 12, 9, 11]
    assert sum(found["phases"][phase]["median"] for phase in PHASES) == 36.0
