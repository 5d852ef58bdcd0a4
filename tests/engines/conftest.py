"""Weights on disk, packages built from them once for all tests that only read them, and what stands
in for a GPU."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache" / "wheels"


@pytest.fixture(scope="session")
def edge_weights(lively_edge, tmp_path_factory) -> Path:
    from trainer.model import save_model

    path = tmp_path_factory.mktemp("weights") / "edge.safetensors"
    save_model(lively_edge, "grl-edge", path)
    return path


@pytest.fixture(scope="session")
def built(edge_weights, tmp_path_factory):
    """A package of grl-edge by backend, precision and kind, built when first asked for."""
    from engines.build import Request, build
    from engines.package import Kind

    folder = tmp_path_factory.mktemp("packages")

    def package(backend: str, precision: str = "f32", kind: Kind = Kind.GRL_STREAM) -> Path:
        path = folder / f"{backend}-{precision}-{kind}"
        request = Request(
            edge_weights, path, kind, backend=backend, precision=precision, max_batch=24
        )
        build(request)
        return path

    return package


@pytest.fixture(scope="session")
def edge_stream(built) -> Path:
    return built("openvino")


@pytest.fixture(scope="session")
def wheels() -> Callable[..., Path]:
    """`wheels("name==version", …)` is a folder with them, got once, for another process's path."""

    def install(*packages: str) -> Path:
        folder = CACHE / "+".join(packages).replace("==", "-")
        if folder.is_dir():
            return folder
        part = folder.with_name(folder.name + ".part")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        limits = ["--retries", "1", "--timeout", "30", "--only-binary=:all:"]
        got = subprocess.run(
            [*pip, *limits, "--target", str(part), *packages],
            capture_output=True,
            text=True,
            check=False,
        )
        if got.returncode:
            reason = (got.stderr.strip().splitlines() or ["no reason given"])[-1]
            pytest.skip(f"{' and '.join(packages)} cannot be had here: {reason}")
        return part.rename(folder)

    return install


@pytest.fixture(scope="session")
def host_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libcuda.so.1 that needs no GPU."""
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libcuda.so.1"
    command = ["gcc", "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library)]
    subprocess.run([*command, str(Path(__file__).with_name("host") / "cuda.c"), "-ldl"], check=True)
    return folder
