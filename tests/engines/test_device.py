"""The GPU's code on a machine without one.

Real CUDA libraries for Python run over host/cuda.c, which stands in for the driver; real TensorRT
bindings cannot run that way, so host/tensorrt.py stands in for them (test_tensorrt_api.py holds our
calls to the real ones). The kernel's PTX is carried out by an interpreter.
"""

import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from engines.device_rows import copy_rows

ROOT = Path(__file__).parents[2]
HOST = Path(__file__).with_name("host")

LIBRARIES = {
    "cuda-python 13": ("cuda-bindings==13.5.0", "cuda-pathfinder==1.9.0"),
    "cuda-python 12.9": ("cuda-bindings==12.9.0", "cuda-pathfinder==1.9.0"),
    "cuda-python 12.2, of the old layout": ("cuda-python==12.2.1",),
}


def python(*arguments: str, path: list[Path], libraries: Path | None = None):
    """A process that finds modules and shared libraries in these places too."""
    places = os.pathsep.join(str(place) for place in (*path, ROOT))
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env={**os.environ, "PYTHONPATH": places, "LD_LIBRARY_PATH": str(libraries or "")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_engines_and_rows_on_the_host(library, wheels, host_driver):
    site = wheels(*LIBRARIES[library])
    case = python(
        *("-m", "pytest", "-p", "no:cacheprovider", str(HOST / "cases.py")),
        path=[HOST, site],
        libraries=host_driver,
    )
    assert case.returncode == 0, case.stdout + case.stderr
    assert re.search(r"^\d+ passed", case.stdout, re.MULTILINE), case.stdout


OPEN = """
from engines.cuda import Device
from engines.errors import BackendError
try:
    Device()
except BackendError as error:
    print(error)
"""


def test_without_a_cuda_library_the_error_says_what_to_install(tmp_path):
    blocked = 'raise ModuleNotFoundError("not here")'
    for name in ("cuda", "pycuda"):
        (tmp_path / f"{name}.py").write_text(blocked)
    answer = python("-c", OPEN, path=[tmp_path])
    assert "install cuda-python (pip install 'throughline[tensorrt]')" in answer.stdout
    assert answer.stderr == ""


def test_without_a_driver_the_error_says_so(wheels):
    answer = python("-c", OPEN, path=[wheels(*LIBRARIES["cuda-python 13"])])
    if "no NVIDIA" not in answer.stdout and Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA driver")
    assert answer.stdout == "this machine has no NVIDIA driver (libcuda)\n", answer.stderr


def test_without_tensorrt_the_error_says_what_to_install(tmp_path):
    (tmp_path / "tensorrt.py").write_text('raise ModuleNotFoundError("not here")')
    code = (
        "from engines.errors import BackendError\n"
        "try:\n    import engines.tensorrt_build\n"
        "except BackendError as error:\n    print(error)\n"
    )
    answer = python("-c", code, path=[tmp_path])
    assert "TensorRT is not installed; install it with pip" in answer.stdout, answer.stderr


@pytest.mark.parametrize(("word", "words", "threads"), [(1, 5, 4), (1, 300, 256), (16, 3, 2)])
def test_the_kernel_copies_the_rows_it_is_told_to(word, words, threads):
    """The PTX itself, thread by thread, against numpy's indexing."""
    random = np.random.default_rng(word + words)
    rows, row = 3, word * words
    memory = random.integers(0, 256, 4096 * 4, np.uint8)
    source, target, lists = 0, 4096, 12288
    to_rows, from_rows = random.permutation(6)[:rows], random.permutation(6)[:rows]
    memory[lists : lists + 8 * rows] = np.int32([*to_rows, *from_rows]).view(np.uint8)
    want = memory.copy()
    for to, of in zip(to_rows, from_rows, strict=True):
        want[target + to * row :][:row] = memory[source + of * row :][:row]
    parameters = {
        "to": target,
        "from": source,
        "to_rows": lists,
        "from_rows": lists + 4 * rows,
        "words": words,
    }
    for block, y, thread in product(range(-(-words // threads)), range(rows), range(threads)):
        place = {"%ctaid.x": block, "%ctaid.y": y, "%tid.x": thread, "%ntid.x": threads}
        run_thread(copy_rows(word), parameters, place, memory)
    np.testing.assert_array_equal(memory, want)


def run_thread(ptx: str, parameters: dict[str, int], place: dict[str, int], memory: np.ndarray):
    """Carry out one thread of a kernel without branches, with numbers as wide as it says."""
    values: dict[str, object] = dict(place)
    body = ptx[ptx.index("{", ptx.index(".entry")) + 1 : ptx.rindex("}")]
    declared = set(re.findall(r"%\w+", "".join(re.findall(r"\.reg[^;]+;", body))))
    for line in re.sub(r"\.reg[^;]+;", "", body).split(";"):
        if not line.strip():
            continue
        guard, name, operands = re.match(
            r"\s*(?:@(%\w+) )?([\w.]+) ?(.*)", line, re.DOTALL
        ).groups()
        if guard and not values[guard]:
            continue
        if name == "ret":
            return
        target, *rest = re.findall(r"\{[^}]+\}|\[[^\]]+\]|[%\w.]+", operands)
        assert set(re.findall(r"%\w+", target)) <= declared, line
        given = [values[x] if x in values else int(x) if x.isdigit() else x for x in rest]
        operation, kind = name.split(".", 1)
        bits = int(re.search(r"\d+$", kind)[0])
        if operation == "ld" and kind.startswith("param"):
            values[target] = parameters[rest[0][1:-1]]
        elif operation in ("ld", "st"):
            size = bits // 8 * (4 if kind.startswith("v4") else 1)
            address = values[(rest[0] if operation == "ld" else target)[1:-1]]
            assert address % size == 0, f"{line} is not aligned"
            if operation == "ld" and size == 4:
                values[target] = int(memory[address : address + 4].view(np.uint32)[0])
            elif operation == "ld":
                values[target] = memory[address : address + size].copy()
            else:
                memory[address : address + size] = values[rest[0]]
        else:
            wide = 64 if kind.startswith("wide") else bits
            act = {
                "mov": lambda a: a,
                "cvt": lambda a: a,
                "add": lambda a, b: a + b,
                "mul": lambda a, b: a * b,
                "mad": lambda a, b, c: a * b + c,
                "shl": lambda a, b: a << b,
                "setp": lambda a, b: a >= b,
            }[operation]
            assert operation != "setp" or kind == "ge.u32"
            values[target] = act(*given) & (1 << wide) - 1
