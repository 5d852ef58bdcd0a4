"""Import libraries that need torchvision beside a torch that torchvision was not compiled for.

torchvision's wheels are built against CUDA torch. Beside a CPU torch their compiled part does not load, and
`import torchvision` fails because `torchvision::nms` is then undeclared. Declaring the two operators that it
looks for, with a plain implementation of the one that is used, is all it takes.
"""

import importlib
from types import ModuleType

import torch


def import_with_torchvision(name: str) -> ModuleType:
    """Import a library (timm, ultralytics, torchvision itself) that needs torchvision."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        _declare_operators()
        importlib.import_module("torchvision")
        boxes = importlib.import_module("torchvision.ops.boxes")
        boxes._assert_has_ops = lambda: None  # type: ignore[attr-defined]
    return importlib.import_module(name)


def _declare_operators() -> None:
    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    torch.library.define("torchvision::nms", signature)
    torch.library.define(
        "torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    )
    torch.library.impl("torchvision::nms", "CPU", _nms)


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Indices of the boxes (N, 4: left, top, right, bottom) to keep, best first."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = scores.argsort(descending=True)
    kept: list[torch.Tensor] = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[order, :2], boxes[best, :2])
        high = torch.minimum(boxes[order, 2:], boxes[best, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        order = order[overlap / (area[order] + area[best] - overlap) <= iou_threshold]
    return torch.stack(kept) if kept else order
