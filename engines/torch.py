"""Networks run by torch itself: the reference for every other backend, and CUDA graphs where there is a GPU."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.engine import Array, Arrays, TensorSpec, check_batch
from engines.errors import BackendError
from engines.export import STATE_NAMES, BackboneGraph, ClipGraph, StreamGraph
from engines.package import Kind, Manifest, older_than
from engines.rows import NEXT, STATE
from trainer.model import GRL, load_model

CLIP_FRAMES = 8
_CLIP_OUTPUTS = ("low", "high", "pooled", "embedding")


def version() -> str:
    """Of the installed torch, without the build."""
    return torch.__version__.split("+", maxsplit=1)[0]


def differences(manifest: Manifest, device: str) -> list[str]:
    """What about this machine is not as the package needs it, in words."""
    if older_than(version(), manifest.backend_version):
        return [
            f"it was built with torch {manifest.backend_version}, and here is the older {version()}"
        ]
    return []


def open_plan(plan: Path, manifest: Manifest, device: str, threads: int | None) -> "TorchEngine":
    """The engine in a package's plan: weights, which torch needs no plan beyond."""
    if threads is not None:
        torch.set_num_threads(threads)
    half = manifest.precision == "f16"
    return TorchEngine(plan, manifest.kind, device=device, half=half, max_batch=manifest.max_batch)


class TorchEngine:
    """A GRL network as a stream or clip engine, on the CPU or on a GPU."""

    def __init__(
        self,
        model: GRL | Path,
        kind: Kind,
        *,
        device: str = "cpu",
        half: bool = False,
        max_batch: int = 64,
    ) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise BackendError("torch finds no CUDA device on this machine")
        network = load_model(model) if isinstance(model, Path) else model
        ready = network.for_inference(half)
        self.max_batch = max_batch
        self._device = torch.device(device)
        if kind not in _FORMS:
            raise BackendError(f"torch runs GRL networks here, not a {kind}")
        graph, self._examples, names = _FORMS[kind](ready)
        self._graph = graph.to(self._device).eval()
        with torch.inference_mode():
            answers = self._answers([tensor.to(self._device) for tensor in self._examples.values()])
        self.inputs = {name: _spec(name, tensor) for name, tensor in self._examples.items()}
        self.outputs = {
            name: _spec(name, tensor) for name, tensor in zip(names, answers, strict=True)
        }
        self._recorded: dict[int, _Recording] = {}

    def run(self, inputs: Arrays) -> dict[str, Array]:
        check_batch(inputs, self.inputs, self.max_batch)
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self.inputs]
        answers = self.forward([tensor.to(self._device) for tensor in tensors])
        return {
            name: answer.cpu().numpy().copy()
            for name, answer in zip(self.outputs, answers, strict=True)
        }

    @torch.inference_mode()
    def forward(self, tensors: list[Tensor]) -> list[Tensor]:
        """The network on tensors that are on its device. The answers are good until the next call."""
        if self._device.type != "cuda":
            return self._answers(tensors)
        size = len(tensors[0])
        if size not in self._recorded:
            self._recorded[size] = _Recording(self._answers, tensors)
        return self._recorded[size].replay(tensors)

    def _answers(self, tensors: list[Tensor]) -> list[Tensor]:
        answers = self._graph(*tensors)
        return [answers] if isinstance(answers, Tensor) else list(answers)

    def state_rows(self, capacity: int) -> "TorchRows":
        return TorchRows(self, capacity, self._device)

    def close(self) -> None:
        self._recorded = {}


class TorchRows:
    """State rows on the device of a torch engine."""

    def __init__(self, engine: TorchEngine, capacity: int, device: torch.device) -> None:
        self._engine, self._device = engine, device
        self._rows = {
            name: torch.zeros(
                (capacity, *spec.shape[1:]), dtype=getattr(torch, spec.dtype), device=device
            )
            for name, spec in engine.inputs.items()
            if name.startswith(STATE)
        }

    def clear(self, slots: NDArray[np.int64]) -> None:
        index = torch.from_numpy(slots).to(self._device)
        for rows in self._rows.values():
            rows.index_fill_(0, index, 0)

    def step(self, slots: NDArray[np.int64], inputs: Arrays) -> dict[str, Array]:
        index = torch.from_numpy(slots).to(self._device)
        state = {name: rows.index_select(0, index) for name, rows in self._rows.items()}
        given = {
            name: torch.from_numpy(np.ascontiguousarray(a)).to(self._device)
            for name, a in inputs.items()
        }
        tensors = given | state
        answers = self._engine.forward([tensors[name] for name in self._engine.inputs])
        results = dict(zip(self._engine.outputs, answers, strict=True))
        for name, rows in self._rows.items():
            rows.index_copy_(0, index, results[NEXT + name.removeprefix(STATE)])
        return {n: t.cpu().numpy().copy() for n, t in results.items() if not n.startswith(NEXT)}

    @property
    def nbytes(self) -> int:
        return sum(rows.nbytes for rows in self._rows.values())

    def close(self) -> None:
        self._rows = {}


class _Recording:
    """A CUDA graph of the network for one batch size: one launch instead of hundreds."""

    def __init__(
        self, graph: Callable[[list[Tensor]], list[Tensor]], tensors: list[Tensor]
    ) -> None:
        self._inputs = [tensor.clone() for tensor in tensors]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # libraries choose their kernels and take their memory
                graph(self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = graph(self._inputs)

    def replay(self, tensors: list[Tensor]) -> list[Tensor]:
        for own, given in zip(self._inputs, tensors, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._outputs


def _stream(model: GRL) -> tuple[nn.Module, dict[str, Tensor], tuple[str, ...]]:
    state = {
        STATE + name: tensor
        for name, tensor in zip(STATE_NAMES, model.initial_state(1), strict=True)
    }
    crops = torch.zeros(1, *model.size, 3, dtype=torch.uint8)
    names = ("embedding", *(NEXT + name for name in STATE_NAMES))
    return StreamGraph(model), {"crops": crops, **state}, names


def _clip(model: GRL) -> tuple[nn.Module, dict[str, Tensor], tuple[str, ...]]:
    clips = torch.zeros(1, CLIP_FRAMES, *model.size, 3, dtype=torch.uint8)
    return ClipGraph(model), {"clips": clips}, _CLIP_OUTPUTS


def _backbone(model: GRL) -> tuple[nn.Module, dict[str, Tensor], tuple[str, ...]]:
    crops = torch.zeros(1, *model.size, 3, dtype=torch.uint8)
    return BackboneGraph(model), {"crops": crops}, ("embedding",)


_FORMS = MappingProxyType(
    {Kind.GRL_STREAM: _stream, Kind.GRL_CLIP: _clip, Kind.FRAME_EMBEDDER: _backbone}
)


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    return TensorSpec(name, (-1, *tensor.shape[1:]), str(tensor.dtype).removeprefix("torch."))
