"""Export Ultralytics detectors, from weights (.pt) or from an architecture (.yaml, with random weights)."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from engines.engine import Array, Arrays, StateRows, TensorSpec
from engines.errors import ExportError, InputError
from engines.export import write_graph
from trainer.compat import import_with_torchvision

_STAY_LOCAL = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}


class DetectorGraph(nn.Module):
    """Letterboxed pictures uint8 (B, H, W, 3) BGR to what the head predicts."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.float().permute(0, 3, 1, 2)  # first: TensorRT only casts uint8
        rgb = torch.cat((pixels[:, 2:3], pixels[:, 1:2], pixels[:, 0:1]), dim=1) / 255
        predictions = self.model(rgb)
        answer: Tensor = predictions[0] if isinstance(predictions, tuple | list) else predictions
        return answer


class TorchDetector:
    """A detector run by torch itself, in float32 on the CPU: the judge of what exporting it did."""

    def __init__(self, source: Path, size: tuple[int, int], *, end_to_end: bool = False) -> None:
        self._graph = DetectorGraph(load_detector(source, end_to_end=end_to_end)).eval()
        self.inputs = {"images": TensorSpec("images", (-1, *size, 3), "uint8")}
        self.outputs: dict[str, TensorSpec] = {}
        self.max_batch = 64

    @torch.no_grad()
    def run(self, inputs: Arrays) -> dict[str, Array]:
        return {"predictions": self._graph(torch.from_numpy(inputs["images"])).numpy()}

    def state_rows(self, capacity: int) -> StateRows:
        raise InputError("a detector has no state")

    def close(self) -> None:
        """Nothing to give back."""


def export_detector(
    source: Path, path: Path, size: tuple[int, int], *, end_to_end: bool = False
) -> None:
    """Input `images`, output `predictions`: the raw head, or the end-to-end one of networks that have it."""
    graph = DetectorGraph(load_detector(source, end_to_end=end_to_end))
    images = torch.zeros(2, *size, 3, dtype=torch.uint8)
    graph.eval()(images)  # the head lays out its anchors on first use
    write_graph(graph, (images,), path, inputs=["images"], outputs=["predictions"])


def load_detector(source: Path, *, end_to_end: bool = False) -> nn.Module:
    """The network, fused and ready to export. Only open weights that you trust: .pt files can run code."""
    if source.suffix == ".pt" and not source.is_file():
        raise ExportError(
            f"there are no weights {source}: `python -m engines fetch` downloads official ones"
        )
    for name, value in _STAY_LOCAL.items():
        os.environ.setdefault(name, value)
    ultralytics = import_with_torchvision("ultralytics")
    torch.manual_seed(0)  # an architecture alone gets random weights, but always the same
    try:
        model: nn.Module = ultralytics.YOLO(str(source), task="detect").model
    except Exception as error:  # ultralytics raises whatever the pickle inside does
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            f"{source} is not a detector that ultralytics can read: {reason[0]}"
        ) from error
    head = list(model.eval().float().get_submodule("model").children())[-1]
    has_one = getattr(head, "one2one_cv2", None) is not None
    if end_to_end and not has_one:
        raise ExportError(f"{source} has no end-to-end head: export it without --end-to-end")
    if has_one:
        head.end2end = end_to_end  # type: ignore[assignment]
    head.export, head.format = True, "onnx"  # type: ignore[assignment]
    return model.fuse(verbose=False)  # type: ignore[operator, no-any-return]
