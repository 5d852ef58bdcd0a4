"""What numba compiled is used again only if nothing that it was made of has changed, and only if it is whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTER = """
from made import parts
from made.parts import OFFSET, inner
from pipeline.compiled import compiled

@compiled
def outer(x: float) -> float:
    return inner(x) + OFFSET + parts.twice(x)
"""
INNER = """
from pipeline.compiled import compiled
OFFSET = {offset}

@compiled
def inner(x: float) -> float:
    return {factor} * x

@compiled
def twice(x: float) -> float:
    return {twice} * x
"""
RUN = """
from numba.core.caching import FunctionCache
saved = []
save = FunctionCache.save_overload
FunctionCache.save_overload = lambda self, *what: saved.append(self._name) or save(self, *what)
from made.outside import outer
print(outer(1.0), len(saved))
"""


@pytest.fixture
def run(tmp_path):
    """Runs `outer` in a process of its own; answers its value, and how many functions were compiled."""

    made = tmp_path / "made"
    made.mkdir()
    (made / "outside.py").write_text(OUTER)

    def go(cache=tmp_path / "cache", **parts):
        if parts:
            (made / "parts.py").write_text(INNER.format(**parts))
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": f"{tmp_path}:{ROOT}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "NUMBA_CACHE_DIR": str(cache),
            },
        )
        assert done.returncode == 0, done.stderr
        value, saved = done.stdout.split()
        return float(value), int(saved)

    return go


def test_it_is_compiled_once_and_anew_when_anything_inside_it_changes(run):
    first = {"offset": 100, "factor": 2, "twice": 10}
    assert run(**first) == (112.0, 3)
    assert run() == (112.0, 0)
    for change, value in (({"factor": 3}, 113.0), ({"offset": 200}, 213.0), ({"twice": 20}, 223.0)):
        first |= change
        assert run(**first) == (value, 3)
        assert run() == (value, 0)


@pytest.mark.parametrize("what", ["*.nbi", "*.nbc"])
def test_what_is_cut_short_on_disk_is_compiled_again(run, tmp_path, what):
    assert run(offset=100, factor=2, twice=10) == (112.0, 3)
    for file in (tmp_path / "cache").rglob(what):
        file.write_bytes(file.read_bytes()[:-40])
    assert run()[0] == 112.0
    assert run() == (112.0, 0), "mended"


def test_where_nothing_can_be_kept_it_runs_all_the_same(run, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert run(cache=tmp_path / "file" / "cache", offset=100, factor=2, twice=10)[0] == 112.0
