"""Networks by name, and their weights on disk (safetensors that say which network they belong to)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainer.errors import WeightsError
from trainer.files import drafted
from trainer.model.backbones import MobileNetV4, ResNet50
from trainer.model.grl import GRL

CROP_SIZE = (256, 128)


def _grl_r50() -> GRL:
    return GRL(ResNet50(), ResNet50.channels, CROP_SIZE)


def _grl_edge() -> GRL:
    return GRL(MobileNetV4(EDGE_CHANNELS), EDGE_CHANNELS, CROP_SIZE)


EDGE_CHANNELS = 256
MODELS: Mapping[str, Callable[[], GRL]] = MappingProxyType(
    {"grl-r50": _grl_r50, "grl-edge": _grl_edge}
)


def create_model(name: str) -> GRL:
    """A network with fresh weights, in training mode. `name` is one of `MODELS`."""
    if name not in MODELS:
        raise WeightsError(f"no network is called '{name}'; there are {', '.join(MODELS)}")
    return MODELS[name]()


def save_model(model: GRL, name: str, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write weights so that `load_model` needs nothing but the file. Atomic: never half a file."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    said = {"network": name, "crop": "x".join(map(str, model.size)), **(notes or {})}
    try:
        with drafted(path) as draft:
            save_file(tensors, draft, metadata=said)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot write {path}: {error}") from error


def load_model(path: Path | str) -> GRL:
    """The network with the weights in `path`, in evaluation mode."""
    name, tensors = read_weights(Path(path))
    model = create_model(name)
    load_weights(model, tensors, Path(path))
    model.size = crop_size(Path(path))
    return model.eval()


def network_name(path: Path) -> str:
    """Which network the weights in `path` belong to."""
    return read_weights(path)[0]


def notes_of(path: Path) -> dict[str, str]:
    """What a weights file says about how it was made, besides the network's name and the crops' size."""
    with safe_open(path, framework="pt") as file:
        said: dict[str, str] = file.metadata() or {}
    return {key: value for key, value in said.items() if key not in ("network", "crop")}


def read_weights(path: Path) -> tuple[str, dict[str, Tensor]]:
    """Name of the network and tensors by key."""
    try:
        with safe_open(path, framework="pt") as file:
            name = (file.metadata() or {}).get("network")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error})") from error
    if name is None:
        raise WeightsError(
            f"{path} does not say which network it is for: convert it with import-reference"
        )
    return name, tensors


def crop_size(path: Path) -> tuple[int, int]:
    """Height and width of the crops that the weights in `path` were trained for."""
    with safe_open(path, framework="pt") as file:
        told = (file.metadata() or {}).get("crop")
    if told is None:
        return CROP_SIZE
    height, _, width = told.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise WeightsError(f"{path} says that its crops are '{told}', not HEIGHTxWIDTH")
    return int(height), int(width)


def load_weights(model: GRL, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Copy tensors into the network, or say by name what is missing, unexpected or misshapen."""
    own = model.state_dict()
    tensors = {key: own[key] for key in own if key.startswith("low_steps.")} | dict(tensors)
    problems = [f"missing {key}" for key in own if key not in tensors]
    problems += [f"unexpected {key}" for key in tensors if key not in own]
    problems += [
        f"{key} is {tuple(tensors[key].shape)}, not {tuple(own[key].shape)}"
        for key in own
        if key in tensors and tensors[key].shape != own[key].shape
    ]
    if problems:
        raise WeightsError(f"{source} does not fit the network: {'; '.join(problems)}")
    unsound = [key for key, value in tensors.items() if not value.isfinite().all()]
    if unsound:
        raise WeightsError(f"{source} holds values that are not finite in {', '.join(unsound)}")
    model.load_state_dict(tensors)
