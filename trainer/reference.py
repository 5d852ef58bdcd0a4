"""Read checkpoints of the paper's published code into our network.

Those hold three state dicts: the network itself, and two heads that compare clips (one for the pooled vectors,
which also does the pooling, one for the low-correlation vectors), in one file or in several.
"""

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from trainer.errors import WeightsError
from trainer.model.grl import GRL
from trainer.model.registry import create_model, load_weights, save_model

_Rules: TypeAlias = tuple[tuple[str, str], ...]

# Theirs, as a pattern over whole prefixes, to ours. The first that fits is taken.
_NETWORK: _Rules = (
    (r"backbone\.base\.0\.", "backbone.net.conv1."),
    (r"backbone\.base\.1\.", "backbone.net.bn1."),
    (r"backbone\.base\.4\.", "backbone.net.layer1."),
    (r"backbone\.base\.5\.", "backbone.net.layer2."),
    (r"backbone\.base\.6\.", "backbone.net.layer3."),
    (r"backbone\.base\.7\.", "backbone.net.layer4."),
    (r"backbone\.glo_fc\.0\.", "correlation.context."),
    (r"backbone\.glo_fc\.1\.", "correlation.context_norm."),
    (r"backbone\.corr_atte\.0\.", "correlation.reduce."),
    (r"backbone\.corr_atte\.1\.", "correlation.reduce_norm."),
    (r"backbone\.corr_atte\.2\.", "correlation.squeeze."),
    (r"backbone\.corr_atte\.3\.", "correlation.squeeze_norm."),
    (r"backbone\.corr_atte\.5\.", "correlation.score."),
    (r"backbone\.corr_atte\.6\.", "correlation.score_norm."),
    *(
        (rf"temporal_learning_block\.{theirs}\.", f"{ours}.")
        for way, spelt in (("forward", "foreward"), ("backward", "backward"))
        for theirs, ours in (
            (f"uncorr_memo_{way}\\.conv1", f"{way}_in_time.bottleneck.layers.0"),
            (f"uncorr_memo_{way}\\.bn1", f"{way}_in_time.bottleneck.layers.1"),
            (f"uncorr_memo_{way}\\.conv2", f"{way}_in_time.bottleneck.layers.3"),
            (f"uncorr_memo_{way}\\.bn2", f"{way}_in_time.bottleneck.layers.4"),
            (f"uncorr_memo_{way}\\.conv3", f"{way}_in_time.bottleneck.layers.6"),
            (f"uncorr_memo_{way}\\.bn3", f"{way}_in_time.bottleneck.layers.7"),
            (f"{way}_f1\\.0", f"{way}_in_time.phi_memory"),
            (f"{way}_f2\\.0", f"{way}_in_time.phi_high"),
            (f"channel_atte_{spelt}_corr\\.0", f"{way}_in_time.attend_in"),
            (f"channel_atte_{spelt}_corr\\.2", f"{way}_in_time.attend_out"),
        )
    ),
    (r"corr_bn\.", "high_norm."),
    (r"uncorr_bn\.", "low_norm."),
)
_POOLED_HEAD: _Rules = (
    (r"featQ\.", "pooling.query."),
    (r"featQ_bn\.", "pooling.query_norm."),
    (r"featK\.", "pooling.key."),
    (r"featK_bn\.", "pooling.key_norm."),
    (r"featV", ""),  # trained by nothing and used by nothing
    (r"classifierBN\.", "pair_pooled.norm."),
    (r"classifierlinear\.", "pair_pooled.classify."),
)
_LOW_HEAD: _Rules = (
    (r"classifierBN\.", "pair_low.norm."),
    (r"classifierlinear\.", "pair_low.classify."),
)
_LOW_PAIRS = "pair_low."
_SCALAR: Any = np.float64(0).__reduce__()[0]
_SCORES: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64)),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""What a score beside the tensors is made of, in files of old and new NumPy: it is kept as a NumPy number."""


def import_reference(checkpoints: Iterable[Path], output: Path) -> GRL:
    """Convert checkpoints of the published code and write them as our weights."""
    sources = list(checkpoints)
    tensors: dict[str, Tensor] = {}
    for source in sources:
        for state in _state_dicts(source):
            tensors |= translate(state)
    model = create_model("grl-r50")
    if not any(
        key.startswith(_LOW_PAIRS) for key in tensors
    ):  # the code keeps no head that is done with
        tensors |= {k: v for k, v in model.state_dict().items() if k.startswith(_LOW_PAIRS)}
    load_weights(model, tensors, Path(" + ".join(map(str, sources))))
    save_model(model, "grl-r50", output, {"source": "checkpoint of the published code"})
    return model.eval()


def translate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One of the three state dicts, with or without `module.` in front, under our names.

    Keys that are nobody's keep their name, so that they are reported as unexpected.
    """
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    if any(key.startswith("featQ.") for key in bare):
        rules = _POOLED_HEAD
    elif any(key.startswith("classifierlinear.") for key in bare):
        rules = _LOW_HEAD
    else:
        rules = _NETWORK
    named = {_rename(key, rules): value for key, value in bare.items()}
    return {key: value for key, value in named.items() if key}


def _rename(key: str, rules: _Rules) -> str:
    for pattern, ours in rules:
        match = re.match(pattern, key)
        if match:
            return ours + key[match.end() :] if ours else ""
    return key


def _state_dicts(path: Path) -> list[Mapping[str, Tensor]]:
    try:
        with torch.serialization.safe_globals(_SCORES):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no checkpoint {path}") from error
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{path} is not a whole torch checkpoint of plain tensors ({reason})"
        ) from error
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, not a state dict")
    found = list(_tensor_dicts(loaded))
    if not found:
        raise WeightsError(f"{path} holds no tensors")
    return found


def _tensor_dicts(loaded: Mapping[str, object]) -> Iterable[Mapping[str, Tensor]]:
    """Every mapping of names to tensors in it, however deep: checkpoints wrap them differently."""
    tensors = {key: value for key, value in loaded.items() if isinstance(value, Tensor)}
    if tensors:
        yield tensors
    for value in loaded.values():
        if isinstance(value, Mapping):
            yield from _tensor_dicts(value)
