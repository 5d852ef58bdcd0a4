"""Backbones that have seen ImageNet, which the paper's recipe starts from."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trainer.compat import import_with_torchvision
from trainer.errors import WeightsError
from trainer.model import GRL

IMAGENET = "imagenet"
TIMM_NAMES: Mapping[str, str] = {
    "grl-r50": "resnet50",
    "grl-edge": "mobilenetv4_conv_small.e2400_r224_in1k",
}
CLASSIFIER = ("fc.", "classifier.", "conv_head.", "norm_head.", "head.")
"""What backbones end in, and features do not need."""


def start_from(network: GRL, name: str, source: str) -> None:
    """Give the backbone of network `name` weights trained on ImageNet.

    `source` is a file of torchvision or timm weights (.pth, .safetensors), or `imagenet`, for which
    timm downloads them.
    """
    tensors = _downloaded(name) if source == IMAGENET else _read(Path(source))
    net = network.backbone.get_submodule("net")
    own = net.state_dict()
    fitting = {key: value for key, value in tensors.items() if not key.startswith(CLASSIFIER)}
    wrong = [
        f"{'missing' if key not in fitting else 'unexpected' if key not in own else 'misshapen'} {key}"
        for key in sorted({*own, *fitting})
        if not key.endswith("num_batches_tracked")
        and (key not in own or key not in fitting or own[key].shape != fitting[key].shape)
    ]
    if wrong:
        some = ", ".join(wrong[:3]) + (", …" if len(wrong) > 3 else "")
        raise WeightsError(f"{source} does not fit the backbone of {name}: {some}")
    net.load_state_dict({**own, **fitting})


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no backbone {path}; 'imagenet' downloads one") from error
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is not a whole file of weights") from error
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds no state dict")
    return {key: value for key, value in loaded.items() if isinstance(value, Tensor)}


def _downloaded(name: str) -> Mapping[str, Tensor]:
    timm = import_with_torchvision("timm")
    try:
        model: nn.Module = timm.create_model(TIMM_NAMES[name], pretrained=True)
    except Exception as error:  # whatever its hub's client raises where there is no network
        raise WeightsError(
            f"timm could not download {TIMM_NAMES[name]}: give a file with --backbone instead"
        ) from error
    state: Mapping[str, Tensor] = model.state_dict()
    return state
