"""Networks on CPUs through OpenVINO."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openvino as ov

from engines.eight_bits import in_eight_bits, read_ranges
from engines.engine import Array, Arrays, TensorSpec, check_batch
from engines.errors import BackendError, PackageError
from engines.package import Kind, Manifest, older_than
from engines.rows import HostRows

Outputs: TypeAlias = dict[str, Array]
BATCH_SIZES = (16, 4, 1)
"""Batches are compiled at these sizes and larger ones cut into them: a network of known shape runs a fifth faster
than one of any shape, and nothing is gained beyond sixteen."""
CROP_SIZES = (16, 4, 2, 1)
"""For networks that see crops, of which two or three are due at most times: two side by side take little longer than
one, on which threads wait for one another. Pictures are large enough, and every size takes time to open."""
LANES = 2
"""Such a batch is cut once more, and its parts are computed side by side by half of the threads each: threads that
wait for one another at every layer lose a twentieth on an idle machine, and a quarter beside decoders."""


def version() -> str:
    """Of the installed OpenVINO, without the build."""
    return str(ov.__version__).split("-", maxsplit=1)[0]


def offers(precision: str) -> bool:
    """Whether this CPU computes natively in that precision."""
    native: list[str] = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return (
        precision == "f32" or {"bf16": "BF16", "f16": "FP16", "int8": "INT8"}[precision] in native
    )


def fastest() -> str:
    """The precision in which this CPU computes fastest without retraining anything."""
    return "bf16" if offers("bf16") else "f32"


def multiplies_bytes() -> bool:
    """Whether this CPU adds up products of bytes in one instruction: without, it is slower, and sums overflow."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return not words.isdisjoint({"avx512_vnni", "avx_vnni", "amx_int8"})


def differences(manifest: Manifest, device: str) -> list[str]:
    """What about this machine is not as the package needs it, in words."""
    found = []
    if older_than(version(), manifest.backend_version):
        found.append(
            f"it was built with OpenVINO {manifest.backend_version}, and here is the older {version()}"
        )
    if not offers(manifest.precision):
        found.append(f"it computes in {manifest.precision}, which this CPU does not offer")
    return found


def open_plan(plan: Path, manifest: Manifest, device: str, threads: int | None) -> "OpenVINOEngine":
    """The engine in a package's plan."""
    if device != "cpu":
        raise BackendError(f"packages for OpenVINO run on the CPU here, not on {device}")
    model = read(plan)
    if manifest.precision == "int8" and manifest.has_ranges:
        in_eight_bits(model, read_ranges(plan.parent), plan.parent)
    return OpenVINOEngine(
        model,
        precision=manifest.precision,
        max_batch=manifest.max_batch,
        threads=threads,
        sizes=BATCH_SIZES if manifest.kind is Kind.DETECTOR else CROP_SIZES,
    )


def read(path: Path) -> ov.Model:
    """An ONNX graph or an IR."""
    try:
        return ov.Core().read_model(path)
    except RuntimeError as error:
        raise PackageError(f"{path} is not a graph that OpenVINO can read") from error


def macs(model: ov.Model) -> int | None:
    """Multiply-accumulate operations for one picture: of convolutions and matrix products. None: they depend on it."""
    try:
        batch = spec_of(model.inputs[0]).shape[0]
        if batch > 0:
            return _macs(model) // batch
        single = model.clone()
        single.reshape({port: [1, *port.get_partial_shape()[1:]] for port in single.inputs})
        return _macs(single)
    except RuntimeError:
        return None


def _macs(model: ov.Model) -> int:
    total = 0
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "MatMul":
            across = -2 if node.get_attributes()["transpose_a"] else -1
            total += math.prod(node.get_output_shape(0)) * node.get_input_shape(0)[across]
        elif kind in ("Convolution", "GroupConvolution"):
            weights = node.get_input_shape(1)[1 if kind == "Convolution" else 2 :]
            total += math.prod(node.get_output_shape(0)) * math.prod(weights)
    return total


class OpenVINOEngine:
    """One network on the CPU, compiled for a few batch sizes. Any threads may run it, also at the same time."""

    def __init__(
        self,
        model: ov.Model,
        *,
        precision: str = "f32",
        max_batch: int = 64,
        threads: int | None = None,
        sizes: Sequence[int] = BATCH_SIZES,
    ) -> None:
        """`precision` is what it computes in; `threads` defaults to all cores; batches are cut into `sizes`.

        int8 is in the graph: what of it is not quantised computes in the fastest precision there is.
        """
        core = ov.Core()
        settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": fastest() if precision == "int8" else precision,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self.inputs = {spec.name: spec for spec in map(spec_of, model.inputs)}
        dynamic = all(spec.shape[0] == -1 for spec in self.inputs.values())
        self.max_batch = max_batch if dynamic else next(iter(self.inputs.values())).shape[0]
        sizes = [n for n in sizes if n <= self.max_batch] if dynamic else [self.max_batch]
        self._compiled: dict[int, _Compiled] = {}
        try:
            for size in sizes:
                lanes = LANES if dynamic and size % LANES == 0 and threads != 1 else 1
                if dynamic:
                    shapes = {n: (size // lanes, *s.shape[1:]) for n, s in self.inputs.items()}
                    model.reshape(shapes)
                compiled = core.compile_model(model, "CPU", settings | {"NUM_STREAMS": lanes})
                self._compiled[size] = _Compiled(compiled, lanes)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise BackendError(
                f"OpenVINO cannot compile the network in {precision}: {reason}"
            ) from error
        # Known in full only now: in a graph for any batch, other sizes may be unknown too.
        outputs = [
            replace(spec, shape=(-1, *spec.shape[1:])) for spec in map(spec_of, model.outputs)
        ]
        self.outputs = {spec.name: spec for spec in outputs}

    def run(self, inputs: Arrays) -> Outputs:
        parts = list(self._parts(inputs))
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def state_rows(self, capacity: int) -> HostRows:
        return HostRows(self.run, self.inputs, capacity)

    def close(self) -> None:
        self._compiled = {}

    def _parts(self, inputs: Arrays) -> Iterator[Outputs]:
        size, start = check_batch(inputs, self.inputs, self.max_batch), 0
        for step, compiled in self._compiled.items():
            while size - start >= step:
                part = {name: array[start : start + step] for name, array in inputs.items()}
                with compiled.requests() as requests:
                    found = self._infer(requests, part, step)
                yield found
                start += step

    def _infer(self, requests: Sequence[ov.InferRequest], inputs: Arrays, size: int) -> Outputs:
        # Shared in both directions: OpenVINO reads the caller's memory, and the copy below is the only one.
        each = size // len(requests)
        cuts = [slice(i * each, (i + 1) * each) for i in range(len(requests))]
        whole = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        for request, cut in zip(requests, cuts, strict=True):
            request.start_async({n: a[cut] for n, a in whole.items()}, share_inputs=True)
        outputs: Outputs = {}
        for request, cut in zip(requests, cuts, strict=True):
            request.wait()
            for name in self.outputs:
                found = request.get_tensor(name).data
                if name not in outputs:
                    outputs[name] = np.empty((size, *found.shape[1:]), found.dtype)
                outputs[name][cut] = found
        return outputs


class _Compiled:
    """A network for one size of batch, and the requests through which it is asked: more, where more threads ask."""

    def __init__(self, model: ov.CompiledModel, lanes: int) -> None:
        self._model, self._lanes = model, lanes
        self._idle = [self._new()]

    @contextmanager
    def requests(self) -> Iterator[list[ov.InferRequest]]:
        """One for each lane, for the caller alone."""
        try:
            requests = self._idle.pop()  # one step for all threads: a look before would not help
        except IndexError:
            requests = self._new()
        try:
            yield requests
        finally:
            self._idle.append(requests)

    def _new(self) -> list[ov.InferRequest]:
        return [self._model.create_infer_request() for _ in range(self._lanes)]


def spec_of(port: ov.Output) -> TensorSpec:
    """Name, shape and type of a graph's input or output."""
    shape = tuple(size.get_length() if size.is_static else -1 for size in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), shape, str(np.dtype(port.get_element_type().to_dtype())))
