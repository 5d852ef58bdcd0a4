"""Turn networks into ONNX graphs. The only module, with the torch backend, that needs torch.

Every graph takes pictures as the live loop has them, uint8 (B, H, W, 3) BGR, and normalises inside, so that a
quarter of the bytes is moved and no caller can get the normalisation wrong.
"""

import warnings
from dataclasses import fields
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from engines.errors import ExportError
from trainer.model import GRL, StreamState
from trainer.model.backbones import imagenet_normalised

STATE_NAMES = tuple(field.name for field in fields(StreamState))
OPSET = 17


class StreamGraph(nn.Module):
    """One step: crops uint8 (B, H, W, 3) and rows of state to embeddings and new rows."""

    def __init__(self, model: GRL) -> None:
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        embedding, after = self.model.step(imagenet_normalised(crops), StreamState(*state))
        return embedding, *after


class ClipGraph(nn.Module):
    """The bidirectional clip network: clips uint8 (B, T, H, W, 3) to u, f, p and z."""

    def __init__(self, model: GRL) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        pixels = clips.float()  # first: TensorRT only casts uint8
        normalised = imagenet_normalised(pixels.flatten(0, 1))
        out = self.model(normalised.reshape(-1, pixels.shape[1], *normalised.shape[1:]))
        return out.low, out.high, out.pooled, out.embedding


class BackboneGraph(nn.Module):
    """The backbone and its mean alone: what a step costs without GRL. For measuring."""

    def __init__(self, model: GRL) -> None:
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor) -> Tensor:
        maps: Tensor = self.model.backbone(imagenet_normalised(crops).to(self.model.map_dtype))
        return maps.float().mean(dim=(-2, -1))


class CausalClipGraph(nn.Module):
    """The causal network over a clip from its beginning: what a step saves. For measuring."""

    def __init__(self, model: GRL) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        pixels = clips.float()  # first: TensorRT only casts uint8
        normalised = imagenet_normalised(pixels.flatten(0, 1))
        causal = self.model.causal(normalised.reshape(-1, pixels.shape[1], *normalised.shape[1:]))
        return causal[:, -1]


def export_stream(model: GRL, path: Path, *, half: bool = False) -> None:
    """The graph that the live loop runs. Inputs `crops` and `state.*`; outputs `embedding` and `next.*`."""
    ready = model.for_inference(half)
    crops = torch.zeros(2, *ready.size, 3, dtype=torch.uint8)
    state = ready.initial_state(2)
    write_graph(
        StreamGraph(ready),
        (crops, *state),
        path,
        inputs=["crops", *(f"state.{name}" for name in STATE_NAMES)],
        outputs=["embedding", *(f"next.{name}" for name in STATE_NAMES)],
    )


def export_clip(model: GRL, path: Path, *, frames: int = 8, half: bool = False) -> None:
    """The clip graph for clips of `frames`. Input `clips`; outputs `low`, `high`, `pooled`, `embedding`."""
    ready = model.for_inference(half)
    clips = torch.zeros(2, frames, *ready.size, 3, dtype=torch.uint8)
    outputs = ["low", "high", "pooled", "embedding"]
    write_graph(ClipGraph(ready), (clips,), path, inputs=["clips"], outputs=outputs)


def export_backbone(model: GRL, path: Path, *, half: bool = False) -> None:
    """The backbone alone. Input `crops`; output `embedding`: it is a frame-embedder too."""
    ready = model.for_inference(half)
    crops = torch.zeros(2, *ready.size, 3, dtype=torch.uint8)
    write_graph(BackboneGraph(ready), (crops,), path, inputs=["crops"], outputs=["embedding"])


def export_causal_clip(model: GRL, path: Path, *, frames: int = 8, half: bool = False) -> None:
    """The causal network over whole clips. Input `clips`; output `embedding` after the last frame."""
    ready = model.for_inference(half)
    clips = torch.zeros(2, frames, *ready.size, 3, dtype=torch.uint8)
    write_graph(CausalClipGraph(ready), (clips,), path, inputs=["clips"], outputs=["embedding"])


def write_graph(
    graph: nn.Module,
    arguments: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: list[str],
    outputs: list[str],
) -> None:
    """Trace a network whose every input and output has the batch first, and leave it as one ONNX file."""
    batch = {name: {0: "batch"} for name in (*inputs, *outputs)}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # The tracer warns of constants that are constant, and that it will be superseded.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph.eval(),
                arguments,
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
                dynamic_axes=batch,
            )
            _state_sizes(path, graph(*arguments))
    except (RuntimeError, OSError) as error:
        path.unlink(missing_ok=True)
        raise ExportError(f"cannot write the graph {path}: {str(error).splitlines()[0]}") from error


def _state_sizes(path: Path, answers: Tensor | tuple[Tensor, ...]) -> None:
    """Write the size of every output into the graph: the tracer leaves all but the batch unknown."""
    model = onnx.load(path)
    known = (answers,) if isinstance(answers, Tensor) else answers
    for output, answer in zip(model.graph.output, known, strict=True):
        for size, dimension in zip(
            answer.shape[1:], output.type.tensor_type.shape.dim[1:], strict=True
        ):
            dimension.dim_value = size
    onnx.save(model, path)


def macs(model: GRL, kind: str) -> int:
    """Multiply-accumulate operations for one crop (stream, backbone) or one clip, as torch counts them."""
    ready = model.for_inference()
    crops = torch.zeros(1, *ready.size, 3, dtype=torch.uint8)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if kind == "grl-stream":
            StreamGraph(ready)(crops, *ready.initial_state(1))
        elif kind == "grl-clip":
            ClipGraph(ready)(crops[:, None].expand(-1, 8, -1, -1, -1))
        else:
            BackboneGraph(ready)(crops)
    return int(counter.get_total_flops()) // 2
