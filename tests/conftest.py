"""Where the reference numbers and the real footage are, and the network that the numbers belong to."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


def _folder(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable, ROOT / default))
    if not path.is_dir():
        pytest.skip(f"{path} is not there (set {variable})")
    return path


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Clips, detections and small models for tests."""
    return _folder("REID_TEST_DATA", "../shared/data")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Numbers computed with the reference implementations."""
    return _folder("REID_GOLDEN", "../shared/golden")


def reference_tensor(key: str, shape: list[int]) -> np.ndarray:
    """The value of one of the reference network's tensors: golden/README.md says how they are drawn."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif key.endswith(("running_mean", "bias")):
        value = rng.normal(0, 0.02, shape)
    elif len(shape) == 1:
        value = rng.uniform(0.5, 0.9, shape)
    else:
        value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    return np.asarray(value, np.float32)


@pytest.fixture(scope="session")
def reference_states(golden):
    """The three state dicts of the reference, in its own names: model, siamese, siamese_video."""
    import torch

    layout = json.loads((golden / "grl_reference_layout.json").read_text())
    prefixes = {"model": "", "siamese": "siamese.", "siamese_video": "siamese_video."}
    return {
        part: {
            key: torch.from_numpy(reference_tensor(prefixes[part] + key, shape))
            for key, shape in keys.items()
        }
        for part, keys in layout.items()
    }


@pytest.fixture(scope="session")
def golden_grl(reference_states):
    """grl-r50 with the reference's weights, in evaluation mode. Shared: do not change it."""
    from trainer.model import create_model
    from trainer.model.registry import load_weights
    from trainer.reference import translate

    tensors = {}
    for state in reference_states.values():
        tensors |= translate(state)
    model = create_model("grl-r50").eval()
    load_weights(model, tensors, Path("golden"))
    return model


@pytest.fixture(scope="session")
def lively_edge():
    """grl-edge with seeded weights whose BatchNorms are not identities. Shared: do not change it."""
    import torch

    from trainer.model import create_model

    torch.manual_seed(11)
    model = create_model("grl-edge").eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.05)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.7, 1.1)
            module.bias.data.normal_(0, 0.05)
    model.low_steps.scale.uniform_(0.5, 1.5)
    model.low_steps.shift.normal_(0, 0.05)
    return model
