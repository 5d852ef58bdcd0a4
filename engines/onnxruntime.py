"""Networks through ONNX Runtime, on CPUs and on NVIDIA GPUs."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from engines.engine import Array, Arrays, TensorSpec, check_batch
from engines.errors import BackendError, PackageError
from engines.package import Manifest, older_than
from engines.rows import HostRows

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}
_ERRORS_ONLY = 3


def version() -> str:
    """Of the installed ONNX Runtime."""
    return str(ort.__version__)


def differences(manifest: Manifest, device: str) -> list[str]:
    """What about this machine is not as the package needs it, in words."""
    if older_than(version(), manifest.backend_version):
        return [
            f"it was built with ONNX Runtime {manifest.backend_version}, and here is the older {version()}"
        ]
    return []


def open_plan(
    plan: Path, manifest: Manifest, device: str, threads: int | None
) -> "ONNXRuntimeEngine":
    """The engine in a package's plan."""
    provider = device.partition(":")[0]
    return ONNXRuntimeEngine(plan, device=provider, max_batch=manifest.max_batch, threads=threads)


class ONNXRuntimeEngine:
    """One ONNX graph."""

    def __init__(
        self,
        model: Path | bytes,
        *,
        device: str = "cpu",
        max_batch: int = 64,
        threads: int | None = None,
    ) -> None:
        """`device` is cpu or cuda."""
        provider = PROVIDERS[device]
        if provider not in ort.get_available_providers():
            raise BackendError(
                f"this ONNX Runtime has no {provider}: install onnxruntime-gpu, or use another backend"
            )
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session = ort.InferenceSession(source, options, providers=[provider])
        except Exception as error:  # its exceptions have no base of their own
            reason = str(error).strip().splitlines()[0]
            raise PackageError(f"ONNX Runtime cannot open the graph: {reason}") from error
        self.inputs = {spec.name: spec for spec in map(_spec, self._session.get_inputs())}
        self.outputs = {spec.name: spec for spec in map(_spec, self._session.get_outputs())}
        batch = next(iter(self.inputs.values())).shape[0]
        self.max_batch = max_batch if batch == -1 else batch

    def run(self, inputs: Arrays) -> dict[str, Array]:
        check_batch(inputs, self.inputs, self.max_batch)
        arrays = self._session.run(list(self.outputs), dict(inputs))
        return dict(zip(self.outputs, arrays, strict=True))

    def state_rows(self, capacity: int) -> HostRows:
        return HostRows(self.run, self.inputs, capacity)

    def close(self) -> None:
        """Nothing is held beyond the object itself."""


def _spec(node: ort.NodeArg) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    return TensorSpec(node.name, shape, str(np.dtype(_DTYPES[node.type])))
