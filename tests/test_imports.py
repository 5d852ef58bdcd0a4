"""The import directions of the design: who may lean on whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "engines", "trainer", "calibration", "synthetic", "benchmarks")

MAY_IMPORT: dict[str, set[str]] = {
    "pipeline": {"engines", "synthetic", "calibration"},
    "engines": {"trainer"},  # export and the torch reference only, see BRIDGES
    "trainer": {"engines"},
    "calibration": {"pipeline", "engines", "trainer"},  # the trainer only to judge, see BRIDGES
    "synthetic": set(),
    "benchmarks": {"pipeline", "engines", "trainer", "calibration", "synthetic"},
}
BRIDGES = {
    ("engines", "trainer"): {"engines/export.py", "engines/detectors.py", "engines/torch.py"},
    ("pipeline", "calibration"): {"pipeline/demo.py"},
    ("calibration", "trainer"): {"calibration/int8/labelled.py"},
    ("pipeline", "synthetic"): {"pipeline/ingest/synthetic.py", "pipeline/demo.py"},
}
"""Imports between packages that only the named modules may make."""


def imported_packages(source: str) -> set[str]:
    """Top-level names of every import in a module, wherever in it they stand."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_lean_only_on_those_they_may(package: str):
    offences = []
    for path in sorted((ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for other in imported_packages(path.read_text()) & set(PACKAGES) - {package}:
            bridge = BRIDGES.get((package, other))
            if other not in MAY_IMPORT[package] or (bridge is not None and name not in bridge):
                offences.append(f"{name} imports {other}")
    assert offences == []


def test_the_network_knows_nothing_of_engines():
    for path in (ROOT / "trainer" / "model").rglob("*.py"):
        assert "engines" not in imported_packages(path.read_text()), path.name


def test_only_cuda_py_talks_to_the_driver():
    drivers = {"pycuda", "cuda"}
    users = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if imported_packages(path.read_text()) & drivers
    }
    assert users <= {"engines/cuda.py"}


def test_the_live_path_loads_no_torch():
    code = (
        "import pkgutil, importlib, sys, pipeline, engines\n"
        "names = 'export detectors graphs quantised torch tensorrt tensorrt_build device_rows __main__'\n"
        "skip = {'engines.' + name for name in names.split()}\n"
        "for package in (pipeline, engines):\n"
        "    for m in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if m.name not in skip: importlib.import_module(m.name)\n"
        "import engines.__main__\n"
        "print(sorted({'torch', 'ultralytics', 'timm', 'trainer'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert answer.stdout.strip() == "[]", answer.stderr
