"""Networks that turn a crop into a map of non-negative features, one stride coarser than usual at most 16."""

import torch
from torch import Tensor, nn

from trainer.compat import import_with_torchvision

STRIDE = 16
"""Pixels per cell of every backbone's map: the last stage keeps its resolution, as re-ID networks do."""


class ResNet50(nn.Module):
    """ResNet-50 whose last stage has stride 1: (B, 3, H, W) to (B, 2048, H/16, W/16), after ReLU."""

    channels = 2048

    def __init__(self) -> None:
        super().__init__()
        timm = import_with_torchvision("timm")
        self.net: nn.Module = timm.create_model("resnet50", num_classes=0, global_pool="")
        _keep_resolution(self.net.get_submodule("layer4"))

    def forward(self, crops: Tensor) -> Tensor:
        maps: Tensor = self.net(crops)
        return maps


class MobileNetV4(nn.Module):
    """MobileNetV4-conv-small, last stage at stride 1, narrowed: (B, 3, H, W) to (B, channels, H/16, W/16).

    Its activations end at 6: a channel that hardly ever fires has a BatchNorm that multiplies by hundreds, and one
    crop in a hundred made maps up to ten thousand times too large.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        timm = import_with_torchvision("timm")
        self.net: nn.Module = timm.create_model(
            "mobilenetv4_conv_small", features_only=True, out_indices=(4,), act_layer=nn.ReLU6
        )
        blocks = self.net.get_submodule("blocks")
        assert isinstance(blocks, nn.Sequential)
        _keep_resolution(blocks[3])
        self.neck = nn.Sequential(
            nn.Conv2d(960, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU6()
        )

    def forward(self, crops: Tensor) -> Tensor:
        maps: Tensor = self.neck(self.net(crops)[0])
        return maps


def map_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the map that a crop of this many pixels gives."""
    return -(-height // STRIDE), -(-width // STRIDE)


def imagenet_normalised(crops: Tensor) -> Tensor:
    """uint8 crops (B, H, W, 3), BGR, to what the backbones take: (B, 3, H, W), RGB, ImageNet statistics."""
    mean = torch.tensor((0.485, 0.456, 0.406), device=crops.device).view(3, 1, 1)
    deviation = torch.tensor((0.229, 0.224, 0.225), device=crops.device).view(3, 1, 1)
    pixels = crops.float().permute(0, 3, 1, 2)  # first: TensorRT only casts uint8
    rgb = torch.cat((pixels[:, 2:3], pixels[:, 1:2], pixels[:, 0:1]), dim=1)
    return (rgb / 255 - mean) / deviation


def _keep_resolution(stage: nn.Module) -> None:
    for module in stage.modules():
        if isinstance(module, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d):
            module.stride = (1, 1)
