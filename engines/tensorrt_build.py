"""ONNX graphs into TensorRT plans, by 8.6 (Jetson), 10.x and 11.x alike.

Precision lives in the graph: networks are strongly typed where TensorRT knows that. 8.6 does not,
and is told through builder flags, which later versions no longer have. Int8 is Q/DQ nodes; 8.6 gets
the float graph instead, and the same ranges as properties of its tensors.
"""

import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from engines.cuda import Device
from engines.errors import BuildError
from engines.quantised import Unquantised, unquantised
from engines.tensorrt import Log, trt

Shape: TypeAlias = tuple[int, ...]
Progress: TypeAlias = Callable[[str, float], None]
"""Called with the builder's phase and how much of it is done, 0…1, from the builder's threads."""


def build_plan(
    graph: bytes | Path,
    *,
    precision: str,
    max_batch: int,
    typical_batch: int | None = None,
    timing_cache: Path | None = None,
    workspace: int | None = None,
    progress: Progress | None = None,
    device: int = 0,
) -> bytes:
    """Compile an ONNX graph whose only dynamic size is the batch, for 1…`max_batch`.

    `precision` is f32, f16 or int8: what the graph is typed for. Kernels are chosen to be fastest
    at `typical_batch`, by default half the maximum. `workspace` limits scratch memory, in bytes.
    `timing_cache` makes the next build of a like graph quicker; the file is made if missing.
    """
    usual = min(max_batch, typical_batch or math.ceil(max_batch / 2))
    with Device(device):  # TensorRT's objects die with `_compile`, before the context goes
        return _compile(
            graph,
            precision=precision,
            batches=(usual, max_batch),
            timing_cache=timing_cache,
            workspace=workspace,
            progress=progress,
        )


def _compile(
    graph: bytes | Path,
    *,
    precision: str,
    batches: tuple[int, int],
    timing_cache: Path | None,
    workspace: int | None,
    progress: Progress | None,
) -> bytes:
    plain: Unquantised | None = None
    if precision == "int8" and not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        plain = unquantised(graph)
        graph = plain.graph
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags())
    parser = trt.OnnxParser(network, log)
    parsed = parser.parse(graph) if isinstance(graph, bytes) else parser.parse_from_file(str(graph))
    if not parsed:
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        reason = "; ".join(errors) or log.text()
        raise BuildError(f"TensorRT {trt.__version__} cannot read the graph: {reason}")
    config = builder.create_builder_config()
    _set_precision(config, precision)
    if plain is not None:
        _set_ranges(network, config, plain)
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        profile.set_shape(tensor.name, *_shapes(tensor.name, tuple(tensor.shape), *batches))
    config.add_optimization_profile(profile)
    timings = _load_timings(config, timing_cache)
    monitor = _report_progress(config, progress)  # held here: the configuration does not keep it
    plan = builder.build_serialized_network(network, config)
    del monitor
    if plan is None:
        raise BuildError(f"TensorRT {trt.__version__} cannot compile the graph: {log.text()}")
    if timings is not None and timing_cache is not None:
        _save_timings(timing_cache, bytes(timings.serialize()))
    return bytes(plan)


def _network_flags() -> int:
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return flags


def _set_precision(config: "trt.IBuilderConfig", precision: str) -> None:
    if precision == "f32":
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and not what f32 promises
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return
    if precision in ("f16", "int8") and hasattr(trt.BuilderFlag, "FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
    if precision == "int8" and hasattr(trt.BuilderFlag, "INT8"):
        config.set_flag(trt.BuilderFlag.INT8)


def _set_ranges(
    network: "trt.INetworkDefinition", config: "trt.IBuilderConfig", plain: Unquantised
) -> None:
    """Tell TensorRT what the Q/DQ nodes said. A tensor without a range, and so its layer, stays in floating point."""
    if hasattr(trt.BuilderFlag, "PREFER_PRECISION_CONSTRAINTS"):
        config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    for index in range(network.num_inputs):
        _set_range(network.get_input(index), plain)
    products = (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for output in range(layer.num_outputs):
            _set_range(layer.get_output(output), plain)
        # Kept in floating point, though all around it has ranges.
        if (
            layer.type in products
            and layer.name not in plain.layers
            and hasattr(layer, "precision")
        ):
            layer.precision = trt.DataType.HALF


def _set_range(tensor: "trt.ITensor", plain: Unquantised) -> None:
    limit = plain.limits.get(tensor.name)
    if limit is not None and hasattr(tensor, "set_dynamic_range"):
        tensor.set_dynamic_range(-limit, limit)


def _shapes(name: str, shape: Shape, usual: int, most: int) -> tuple[Shape, Shape, Shape]:
    """The smallest, the usual and the largest shape of an input."""
    batch, *rest = shape
    if min(rest, default=0) < 0:
        raise BuildError(f"input '{name}' is {shape}: only the batch may vary; export fixed sizes")
    if batch >= 0:
        return shape, shape, shape
    return (1, *rest), (usual, *rest), (most, *rest)


def _load_timings(config: "trt.IBuilderConfig", path: Path | None) -> "trt.ITimingCache | None":
    """What earlier builds measured; empty if there was none or the file is not from this device."""
    if path is None:
        return None
    stored = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(stored)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _save_timings(path: Path, content: bytes) -> None:
    """Replace the file whole: builds side by side never read half a cache. A convenience, so a
    full disk does not cost the plan."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    with suppress(OSError):
        part.unlink(missing_ok=True)


def _report_progress(config: "trt.IBuilderConfig", progress: Progress | None) -> object:
    """Have TensorRT say how far it is, where it can; what must live until the build is done."""
    if progress is None or not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # TensorRT's own base
        def __init__(self, report: Progress) -> None:
            super().__init__()
            self._report = report
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:  # phases nest; the outermost say enough
                self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                self._report(phase_name, (step + 1) / max(1, self._steps[phase_name]))
            return True

        def phase_finish(self, phase_name: str) -> None:
            if self._steps.pop(phase_name, None) is not None:
                self._report(phase_name, 1.0)

    monitor = Monitor(progress)
    if hasattr(config, "progress_monitor"):
        config.progress_monitor = monitor
    return monitor
