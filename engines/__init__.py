"""Compiled networks: one interface over OpenVINO, ONNX Runtime, TensorRT and torch."""

from engines.engine import Engine, TensorSpec
from engines.opening import open_engine
from engines.streaming import FrameAverages, StreamingReid

__all__ = ["Engine", "FrameAverages", "StreamingReid", "TensorSpec", "open_engine"]
