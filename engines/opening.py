"""Open packages, and graphs that are not in a package yet."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

from engines import openvino
from engines.adopt import SUFFIXES, adopt, openvino_model
from engines.engine import Engine
from engines.errors import BackendError, PackageMismatch
from engines.package import Manifest, check_files, read_manifest

BACKENDS = ("openvino", "onnxruntime", "tensorrt", "torch")


class Backend(Protocol):
    """What the module of each backend offers."""

    def version(self) -> str:
        """Of the library behind it."""
        ...

    def differences(self, manifest: Manifest, device: str) -> list[str]:
        """What about this machine, and that device of it, is not as the package needs it, in words."""
        ...

    def open_plan(self, plan: Path, manifest: Manifest, device: str, threads: int | None) -> Engine:
        """The engine in a package's plan."""
        ...


def open_engine(
    path: Path | str,
    *,
    device: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    max_batch: int | None = None,
    check: bool = True,
) -> Engine:
    """The engine in a package, or a foreign detector or re-ID graph (.onnx, .xml) as it is.

    `device` (cpu, cuda:0…) and `precision` default to what the package was built for. An f32 package for OpenVINO
    can compute in any precision that the CPU offers (in int8 where it brings ranges), or in the `fastest`; in other
    packages precision is part of the plan. `threads` applies on CPUs and defaults to all cores. `max_batch`: no more
    are ever asked for at once, which lets OpenVINO open faster. `check=False` skips the checksums.

    Nothing is ever rebuilt here: a package that does not fit this machine is an error that says how to build one
    that does.
    """
    path = Path(path)
    if is_foreign(path):
        return open_foreign(
            path, precision=precision or "fastest", threads=threads, max_batch=max_batch
        )
    manifest = _in_precision(read_manifest(path), precision, path)
    backend = load_backend(manifest.backend)
    device = device or ("cpu" if manifest.device == "cpu" else "cuda")
    found = backend.differences(manifest, device)
    if found:
        raise PackageMismatch(
            f"{path} does not fit this machine: {'; '.join(found)}. Build it here with `{manifest.command}`"
        )
    if check:
        check_files(path, manifest)
    if max_batch is not None and manifest.backend == "openvino":
        manifest = replace(manifest, max_batch=min(max_batch, manifest.max_batch))
    return backend.open_plan(path / manifest.plan, manifest, device, threads)


def open_foreign(
    path: Path,
    *,
    precision: str = "fastest",
    threads: int | None = None,
    max_batch: int | None = None,
) -> Engine:
    """A foreign graph, compiled by OpenVINO for this CPU."""
    precision = openvino.fastest() if precision == "fastest" else precision
    model = openvino_model(adopt(path))
    rounds = any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    if precision == "int8" and not rounds:
        raise PackageMismatch(
            f"{path} is a graph in floating point: `python -m calibration int8` makes one in eight bits of it"
        )
    if not openvino.offers(precision):
        raise PackageMismatch(
            f"{path} cannot be computed in {precision}, which this CPU does not offer"
        )
    if max_batch is None:
        return openvino.OpenVINOEngine(model, precision=precision, threads=threads)
    return openvino.OpenVINOEngine(model, precision=precision, threads=threads, max_batch=max_batch)


def _in_precision(manifest: Manifest, precision: str | None, path: Path) -> Manifest:
    if precision in (None, manifest.precision):
        return manifest
    if manifest.backend == "openvino" and manifest.precision == "f32":
        if precision == "fastest":
            eight = manifest.has_ranges and openvino.multiplies_bytes()
            precision = "int8" if eight else openvino.fastest()
        if precision == "int8" and not manifest.has_ranges:
            raise PackageMismatch(
                f"{path} has no ranges for eight bits: measure them with `python -m calibration ranges {path}`"
            )
        if precision == "int8" and not openvino.multiplies_bytes():
            raise PackageMismatch(
                f"{path} computes in eight bits, but this processor adds up products of bytes neither fast nor "
                "exactly (it has no VNNI): ask for the fastest precision"
            )
        return replace(manifest, precision=str(precision))
    if precision == "fastest":
        return manifest
    raise PackageMismatch(
        f"{path} computes in {manifest.precision}, not in {precision}: build one that does"
    )


def is_foreign(path: Path) -> bool:
    """Whether this is a graph as others write them, rather than a package of ours."""
    return path.suffix in SUFFIXES and not path.is_dir()


def load_backend(name: str) -> Backend:
    """The module of a backend, or `BackendError` where what it needs is not installed."""
    if name not in BACKENDS:
        raise BackendError(f"no backend is called '{name}'; there are {', '.join(BACKENDS)}")
    try:
        return cast(Backend, importlib.import_module(f"engines.{name}"))
    except ImportError as error:
        raise BackendError(
            f"the backend '{name}' is not installed here ({error}): see 'Install' in the README"
        ) from error
