"""The GRL network: its equations, its weights, its names."""

from trainer.model.grl import GRL, CausalOutput, ClipOutput, StreamState
from trainer.model.registry import create_model, load_model, save_model

__all__ = [
    "GRL",
    "CausalOutput",
    "ClipOutput",
    "StreamState",
    "create_model",
    "load_model",
    "save_model",
]
