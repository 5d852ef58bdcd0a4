"""Our TensorRT code against the real bindings of 8.6, 10.16 and 11.4, on a machine without a GPU.

The bindings' wheels load if libraries with the few C symbols they miss are on the loader's path.
From their docstrings a type stub is written, and mypy checks our modules against it: every
attribute, flag, method, argument name and count that the code uses, on the right side of each
`hasattr`.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[2]
Wheels: TypeAlias = Callable[..., Path]
MODULES = ("tensorrt.py", "tensorrt_build.py")

BINDINGS = {
    "8.6": ("tensorrt_bindings==8.6.1", 8),
    "10.16": ("tensorrt_cu13_bindings==10.16.1.11", 10),
    "11.4": ("tensorrt_cu13_bindings==11.4.0.106", 11),
}
LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin", "nvparsers")
SYMBOLS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "getNvOnnxParserVersion"),
    "initLibNvInferPlugins",
    # 8.6 only: parsers that are gone since
    *("_ZN11nvuffparser15createUffParserEv", "_ZN14nvcaffeparser117createCaffeParserEv"),
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)
MYPY = """
[mypy]
strict = true
show_column_numbers = true
follow_imports = silent
warn_unused_ignores = false
disallow_subclassing_any = false
[mypy-tensorrt]
ignore_errors = true
[mypy-pycuda.*,cuda.*]
ignore_missing_imports = true
"""


@dataclass(frozen=True)
class Api:
    """One version's bindings, as a stub that mypy reads."""

    version: str
    folder: Path

    def members(self) -> set[str]:
        """`Class.member` for every member of every class, `trt.name` for all that is outside."""
        return set(_members(ast.parse((self.folder / "tensorrt.pyi").read_text()), "trt"))

    def check(self, sources: dict[str, str], folder: Path) -> list[str]:
        """What mypy says of these sources, one line each, notes included."""
        (folder / "mypy.ini").write_text(MYPY)
        for name, source in sources.items():
            (folder / name).write_text(source)
        command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary"]
        answer = subprocess.run(
            [*command, "--cache-dir", str(self.folder / "mypy"), *sources],
            cwd=folder,
            env={**os.environ, "MYPYPATH": f"{self.folder}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not answer.stderr, answer.stderr
        return answer.stdout.splitlines()


def _members(owner: ast.Module | ast.ClassDef, name: str) -> Iterator[str]:
    for node in owner.body:
        if isinstance(node, ast.ClassDef):
            yield f"{name}.{node.name}"
            yield from _members(node, node.name)
        elif isinstance(node, ast.FunctionDef):
            yield f"{name}.{node.name}"
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield f"{name}.{node.target.id}"


@pytest.fixture(scope="session")
def api_of(wheels: Wheels) -> Callable[[str], Api]:
    """The stub of a version, written by a process of its own: two versions in one clash."""
    return cache(lambda version: make_api(version, wheels))


@pytest.fixture(params=BINDINGS)
def api(request: pytest.FixtureRequest, api_of: Callable[[str], Api]) -> Api:
    return api_of(request.param)


def make_api(version: str, wheels: Wheels) -> Api:
    package, major = BINDINGS[version]
    site = wheels(package)
    folder = site.with_name(f"tensorrt-api-{version}")
    folder.mkdir(exist_ok=True)
    source = folder / "symbols.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in SYMBOLS))
    for library in LIBRARIES:
        name = f"lib{library}.so.{major}"
        link = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([*link, str(source)], check=True)
    stub = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("write_tensorrt_stub.py"))],
        env={**os.environ, "PYTHONPATH": str(site), "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert stub.returncode == 0, stub.stderr
    (folder / "tensorrt.pyi").write_text(stub.stdout)
    return Api(version, folder)


def sources() -> dict[str, str]:
    return {f"our_{name}": (ROOT / "engines" / name).read_text() for name in MODULES}


def guarded() -> set[str]:
    """What the code asks `hasattr` about: `Class.member`, or `.member` of a variable."""
    return {
        ast.unparse(node.args[0]).removeprefix("trt.") * ("trt" in ast.unparse(node.args[0]))
        + f".{node.args[1].value}"
        for source in sources().values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "hasattr"
    }


def has(members: set[str], name: str) -> bool:
    return any(member.endswith(name) if name[0] == "." else member == name for member in members)


def errors(lines: list[str], api: Api) -> list[str]:
    """Real errors. That a class's base may be missing is beyond mypy's `hasattr`."""
    absent = {name for name in guarded() if not has(api.members(), name)}
    return [
        line
        for line in lines
        if ": error: " in line
        and not any(f'Name "{name}" is not defined' in line for name in absent)
    ]


def test_everything_our_code_uses_is_there(api: Api, tmp_path: Path):
    assert errors(api.check(sources(), tmp_path), api) == []


TYPED = ("self", "trt", "np")
"""Ours, and modules, which `reveal_type` would turn into something without attributes."""


class Reveal(ast.NodeTransformer):
    """Has mypy say the type of everything whose attribute bears one of these names."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        self.generic_visit(node)
        if node.attr in self.names and getattr(node.value, "id", "") not in TYPED:
            asked = ast.Call(ast.Name("reveal_type", ast.Load()), [node.value], [])
            return ast.Attribute(asked, node.attr, node.ctx)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.body = [self.visit(part) for part in node.body]
        return node


def test_no_use_escapes_the_check_for_want_of_a_type(api: Api, tmp_path: Path):
    """Attributes of `Any` are never errors; so nothing that TensorRT might mean may be `Any`."""
    reveal = Reveal({member.split(".")[1] for member in api.members()})
    asked = {
        name: ast.unparse(reveal.visit(ast.parse(source))) for name, source in sources().items()
    }
    revealed = [
        re.match(r'(?P<file>.+?):(?P<line>\d+):.* Revealed type is "(?P<type>.+)"', line)
        for line in api.check(asked, tmp_path)
    ]
    types = [(m["file"], int(m["line"]), m["type"]) for m in revealed if m]
    untyped = [asked[file].splitlines()[n - 1] for file, n, kind in types if kind == "Any"]
    assert untyped == []
    met = {kind.removeprefix("tensorrt.") for *_, kind in types if kind.startswith("tensorrt.")}
    assert {"IBuilderConfig", "ICudaEngine", "IExecutionContext", "OnnxParser", "ITensor"} <= met


MUTANTS = {
    "config.max_workspace_size = 1 << 30": '"max_workspace_size"',
    "context.execute_async_v2([0], 0)": '"execute_async_v2"',
    "context.execute_async_v3()": "Missing positional argument",
    "context.set_tensor_address(name='x', address=0)": "Unexpected keyword argument",
    "context.set_input_shape('x', 'wide')": "incompatible type",
    "config.set_timing_cache(config.create_timing_cache(b''))": "Missing positional argument",
    "engine.get_binding_shape(0)": '"get_binding_shape"',
    "config.set_flag(trt.BuilderFlag.FP61)": '"FP61"',
}
"""Calls that are wrong in 10 and 11, and what must be said of them."""


def test_a_wrong_use_is_found(api_of: Callable[[str], Api], tmp_path: Path):
    api = api_of("11.4")
    gone = {
        **MUTANTS,
        "config.set_flag(trt.BuilderFlag.FP16)": '"FP16"',
        "trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH": '"EXPLICIT_BATCH"',
        "engine.device_memory_size": '"device_memory_size"',
    }
    head = (
        "from engines.tensorrt import trt\n"
        "def wrong(config: 'trt.IBuilderConfig', engine: 'trt.ICudaEngine',"
        " context: 'trt.IExecutionContext') -> None:\n"
    )
    body = "".join(f"    {line}\n" for line in gone)
    said = api.check({"wrong.py": head + body}, tmp_path)
    for number, (line, complaint) in enumerate(gone.items(), start=3):
        about = [text for text in said if text.startswith(f"wrong.py:{number}:")]
        assert any(complaint in text for text in about), (line, about)


def test_each_guard_tells_versions_apart(api_of: Callable[[str], Api]):
    """A misspelt name in `hasattr` would switch code off for good, everywhere."""
    there = {version: api_of(version).members() for version in BINDINGS}
    for name in guarded():
        having = [version for version, members in there.items() if has(members, name)]
        assert having, f"no version has '{name}'"
        assert len(having) < len(there), f"every version has '{name}': the guard is needless"
