"""Networks on CPUs through OpenVINO."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openvino as ov

from engines.eight_bits import in_eight_bits, read_ranges
from engines.engine import Array, Arrays, TensorSpec, check_batch
from engines.errors import BackendError, PackageError
from engines.package import Manifest, older_than
from engines.rows import HostRows

# Its bindings look for numpy when it is first needed, and two threads that are first at once wait for each other for
# ever, the interpreter's lock in hand. Whoever imports this is alone.
ov.Type.f32.to_dtype()

Outputs: TypeAlias = dict[str, Array]
BATCH_SIZES = (16, 4, 2, 1)
"""Batches are compiled at these sizes and others cut into them: a network of known shape runs a fifth faster than one
of any shape, and nothing is gained beyond sixteen. A batch that fills three quarters of a size is computed at it."""
LANES = 2
"""Where more than one picture may come and there is more than one thread, a batch is cut once more, and its parts are
computed side by side by half of the threads each: threads that wait for one another at every layer lose a twentieth
on an idle machine, and a quarter beside decoders. One picture is left to one half: on two cores a crop takes as long
as on both and half of the processor's time, a detector's picture 1.4 times as long (1.7 in f32) and 0.7 (0.9)."""


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
    ) -> None:
        """`precision` is what it computes in; `threads` defaults to all cores.

        int8 is in the graph: what of it is not quantised computes in the fastest precision there is.
        """
        core = ov.Core()
        settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": fastest() if precision == "int8" else precision,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # lanes move to whichever core decoders leave free
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self.inputs = {spec.name: spec for spec in map(spec_of, model.inputs)}
        dynamic = all(spec.shape[0] == -1 for spec in self.inputs.values())
        self.max_batch = max_batch if dynamic else next(iter(self.inputs.values())).shape[0]
        lanes = LANES if dynamic and self.max_batch > 1 and threads != 1 else 1
        sizes = [self.max_batch]
        if dynamic:
            sizes = [n for n in BATCH_SIZES if n >= lanes and _fills(self.max_batch, n)]
        names = [port.get_any_name() for port in model.outputs]
        self._compiled: list[_Compiled] = []
        try:
            for size in sizes:
                if dynamic:
                    shapes = {n: (size // lanes, *s.shape[1:]) for n, s in self.inputs.items()}
                    model.reshape(shapes)
                compiled = core.compile_model(model, "CPU", settings | {"NUM_STREAMS": lanes})
                self._compiled.append(_Compiled(compiled, names, size, lanes))
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

    def threads_for(self, batch: int) -> int:
        """How many threads compute a batch of that size, or the first part of it."""
        return self._fitting(batch).threads_for(batch)

    def state_rows(self, capacity: int) -> HostRows:
        return HostRows(self.run, self.inputs, capacity)

    def close(self) -> None:
        self._compiled = []

    def _parts(self, inputs: Arrays) -> Iterator[Outputs]:
        size, start = check_batch(inputs, self.inputs, self.max_batch), 0
        while start < size:
            compiled = self._fitting(size - start)
            end = start + compiled.size
            yield compiled.run({name: array[start:end] for name, array in inputs.items()})
            start = end

    def _fitting(self, pictures: int) -> "_Compiled":
        """What so many are given to, or the first of them."""
        fitting = (each for each in self._compiled if _fills(pictures, each.size))
        return next(fitting, self._compiled[-1])


def _fills(pictures: int, size: int) -> bool:
    """Whether so many are computed at this size sooner than at smaller ones."""
    return 4 * pictures >= 3 * size


class _Compiled:
    """A network for one size of batch, and the requests through which it is asked: more, where more threads ask."""

    def __init__(
        self, model: ov.CompiledModel, names: Sequence[str], size: int, lanes: int
    ) -> None:
        self.size = size
        self._model, self._lanes = model, lanes
        self._names = names
        self._idle = [self._new()]

    def run(self, inputs: Arrays) -> Outputs:
        """The answer to no more than `size` pictures. Lanes that would have nothing to do are left alone."""
        # Shared in both directions: OpenVINO reads the caller's memory, and the copy below is the only one.
        whole = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        count, each = len(next(iter(whole.values()))), self.size // self._lanes
        cuts = [slice(start, min(start + each, count)) for start in range(0, count, each)]
        given = [{name: _filled(a[cut], each) for name, a in whole.items()} for cut in cuts]
        outputs: Outputs = {}
        with self._requests() as requests:
            for request, part in zip(requests, given, strict=False):
                request.start_async(part, share_inputs=True)
            for request, cut in zip(requests, cuts, strict=False):
                request.wait()
                for name in self._names:
                    found = request.get_tensor(name).data
                    if name not in outputs:
                        outputs[name] = np.empty((count, *found.shape[1:]), found.dtype)
                    outputs[name][cut] = found[: cut.stop - cut.start]
        return outputs

    def threads_for(self, pictures: int) -> int:
        """How many threads compute so many."""
        lanes = -(-min(pictures, self.size) // (self.size // self._lanes))
        return int(self._model.get_property("INFERENCE_NUM_THREADS")) * lanes // self._lanes

    @contextmanager
    def _requests(self) -> Iterator[list[ov.InferRequest]]:
        """One for each lane, for the caller alone."""
        try:
            requests = self._idle.pop()  # one step for all threads: a look before would not help
        except IndexError:
            requests = self._new()
        try:
            yield requests
        except BaseException:
            # None is asked again, and none still reads what the caller is about to let go.
            for request in requests:
                with suppress(RuntimeError):
                    request.wait()
            raise
        self._idle.append(requests)

    def _new(self) -> list[ov.InferRequest]:
        return [self._model.create_infer_request() for _ in range(self._lanes)]


def _filled(rows: Array, count: int) -> Array:
    """As many rows: the last one again and again."""
    return rows if len(rows) == count else rows[np.minimum(np.arange(count), len(rows) - 1)]


def spec_of(port: ov.Output) -> TensorSpec:
    """Name, shape and type of a graph's input or output."""
    shape = tuple(size.get_length() if size.is_static else -1 for size in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), shape, str(np.dtype(port.get_element_type().to_dtype())))
