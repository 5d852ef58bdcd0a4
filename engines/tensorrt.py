"""Runs plans with TensorRT 8.6 (Jetson), 10.x and 11.x alike. tensorrt_build.py makes them.

What differs between versions is asked of the library (`hasattr`), never read from a version number.
Importing this module without TensorRT raises `BackendError`.
"""

import math
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.cuda import Device
from engines.device_rows import DeviceRows
from engines.engine import Array, Arrays, TensorSpec, check_batch
from engines.errors import BackendError, InputError, PackageMismatch
from engines.package import Manifest

try:
    import tensorrt as trt
except ImportError as missing:
    raise BackendError(
        "TensorRT is not installed; install it with pip install 'throughline[tensorrt]', or on a "
        "Jetson use the one that JetPack brings"
    ) from missing

__all__ = ["Log", "TensorRTEngine", "differences", "open_plan", "trt", "version"]


def version() -> str:
    """Of the installed TensorRT."""
    return str(trt.__version__)


def differences(manifest: Manifest, device: str) -> list[str]:
    """What about this machine is not as the plan needs it, in words. Plans open nowhere else."""
    found = []
    if manifest.backend_version != version():
        found.append(f"it was built with TensorRT {manifest.backend_version}, here is {version()}")
    with Device(_number(device)) as gpu:
        here = "sm_{}{}".format(*gpu.capability)
        if manifest.device != here:
            found.append(f"it was built for {manifest.device}, and {gpu.name} is {here}")
    return found


def open_plan(plan: Path, manifest: Manifest, device: str, threads: int | None) -> "TensorRTEngine":
    """The engine in a package's plan, on cuda or cuda:N."""
    return TensorRTEngine(plan.read_bytes(), _number(device))


def _number(device: str) -> int:
    """Of a GPU: cuda is the first one."""
    return int(device.partition(":")[2] or 0)


class TensorRTEngine:
    """A plan on a GPU, with room for its largest batch. Belongs to the thread that opens it."""

    def __init__(self, plan: bytes, device: int = 0) -> None:
        self.device = Device(device)
        self._alive = True
        with ExitStack() as undo:
            undo.callback(self.close)
            self._log = Log()
            self._runtime = trt.Runtime(self._log)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise PackageMismatch(
                    f"TensorRT {trt.__version__} on {self.device.name} cannot open this plan: "
                    f"{self._log.text()}; build it again here with `python -m engines build`"
                )
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise BackendError(f"TensorRT cannot prepare the network: {self._log.text()}")
            names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
            self._inputs = {n: _spec(self._engine, n) for n in names if _is_input(self._engine, n)}
            self._max_batch = min(_largest_batch(self._engine, name) for name in self._inputs)
            self._batch = 0  # what the context's shapes are set to
            self._set_batch(self._max_batch)
            # Only now is the size of every output known: the plan itself may leave some open.
            self._outputs = {
                name: replace(
                    _spec(self._engine, name),
                    shape=(-1, *tuple(self._context.get_tensor_shape(name))[1:]),
                )
                for name in names
                if name not in self._inputs
            }
            self._addresses = {name: self._place(name) for name in names}
            self._staging: dict[str, Array] = {}
            undo.pop_all()

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return self._outputs

    @property
    def max_batch(self) -> int:
        return self._max_batch

    @property
    def scratch_bytes(self) -> int:
        """Device memory for what passes between layers."""
        if hasattr(self._engine, "device_memory_size_v2"):
            return int(self._engine.device_memory_size_v2)
        if hasattr(self._engine, "device_memory_size"):
            return int(self._engine.device_memory_size)
        raise BackendError(f"TensorRT {trt.__version__} does not tell how much memory it takes")

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Answer one batch. The arrays returned belong to the caller."""
        batch = self.upload(inputs, list(self._inputs))
        self.execute(batch)
        return self.download(batch, list(self._outputs))

    def state_rows(self, capacity: int) -> DeviceRows:
        """Rows for the `state.*` inputs, on this device. Close them before the engine."""
        return DeviceRows(self, capacity)

    def close(self) -> None:
        """Give the device's memory back. Safe to call twice."""
        if not self._alive:
            return
        self.device.synchronise()
        self._alive = False
        # In this order, and while the CUDA context is there: TensorRT frees through it.
        for part in ("_context", "_engine", "_runtime"):
            self.__dict__.pop(part, None)
        self.device.close()

    # What DeviceRows needs besides.

    def address(self, name: str) -> int:
        """Where a tensor lies on the device."""
        return self._addresses[name]

    def row_bytes(self, name: str) -> int:
        """Bytes of a tensor for one item of a batch."""
        spec = (self._inputs | self._outputs)[name]
        if min(spec.shape[1:], default=0) < 0:
            raise BackendError(f"the size of '{name}' depends on the data; only the batch may vary")
        return math.prod(spec.shape[1:]) * np.dtype(spec.dtype).itemsize

    def upload(self, inputs: Arrays, names: list[str]) -> int:
        """Start bringing these inputs to the device; the size of their batch."""
        batch = check_batch(inputs, {name: self._inputs[name] for name in names}, self._max_batch)
        for name, array in inputs.items():
            staged = self._staged(name)[:batch]
            staged[...] = array
            self.device.upload(self._addresses[name], staged)
        return batch

    def execute(self, batch: int) -> None:
        """Start the network on what lies at its addresses."""
        self._set_batch(batch)
        if not self._context.execute_async_v3(self.device.stream):
            raise BackendError(f"TensorRT could not run the network: {self._log.text()}")

    def download(self, batch: int, names: list[str]) -> dict[str, Array]:
        """Wait for the network and bring these outputs to the host."""
        staged = {name: self._staged(name)[:batch] for name in names}
        for name, array in staged.items():
            self.device.download(array, self._addresses[name])
        self.device.synchronise()
        return {name: array.copy() for name, array in staged.items()}

    def _set_batch(self, batch: int) -> None:
        if batch == self._batch:
            return
        for name, spec in self._inputs.items():
            shape = (batch, *spec.shape[1:])
            if not self._context.set_input_shape(name, shape):
                raise InputError(f"TensorRT refuses {shape} for '{name}': {self._log.text()}")
        self._batch = batch

    def _place(self, name: str) -> int:
        """Give a tensor its memory on the device, for the largest batch."""
        address = self.device.allocate(self._max_batch * self.row_bytes(name))
        if not self._context.set_tensor_address(name, address):
            raise BackendError(f"TensorRT takes no memory for '{name}': {self._log.text()}")
        return address

    def _staged(self, name: str) -> Array:
        """A tensor's place on the host, from its first use: state that stays put needs none."""
        if name not in self._staging:
            spec = (self._inputs | self._outputs)[name]
            shape = (self._max_batch, *spec.shape[1:])
            self._staging[name] = self.device.pinned(shape, spec.dtype)
        return self._staging[name]


class Log(trt.ILogger):  # type: ignore[misc]  # TensorRT's own base
    """Keeps TensorRT's last complaints, so that an error can say what TensorRT said."""

    def __init__(self) -> None:
        super().__init__()
        self._complaints: deque[str] = deque(maxlen=4)

    def log(self, severity: "trt.ILogger.Severity", msg: str) -> None:
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self._complaints.append(" ".join(msg.split()))

    def text(self) -> str:
        """What was complained of since the last time it was asked."""
        text = "; ".join(self._complaints) or "it gave no reason"
        self._complaints.clear()
        return text


def _spec(engine: "trt.ICudaEngine", name: str) -> TensorSpec:
    kind = engine.get_tensor_dtype(name).name
    if kind not in NUMPY:
        raise BackendError(f"'{name}' is of type {kind}, which numpy does not have")
    return TensorSpec(name, tuple(engine.get_tensor_shape(name)), NUMPY[kind])


def _is_input(engine: "trt.ICudaEngine", name: str) -> bool:
    return bool(engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)


def _largest_batch(engine: "trt.ICudaEngine", name: str) -> int:
    """What the plan was built for, or the one size of a graph without a dynamic batch."""
    fixed = engine.get_tensor_shape(name)[0]
    if fixed >= 0:
        return int(fixed)
    _least, _usual, most = engine.get_tensor_profile_shape(name, 0)
    return int(most[0])


NUMPY = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}
"""TensorRT's names for types; by name, because 8.6 lacks some."""
