"""Weights on disk, and packages built from them once for all tests that only read them."""

from pathlib import Path

import pytest


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
