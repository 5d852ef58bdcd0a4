"""Compiled networks: one interface over OpenVINO, ONNX Runtime, TensorRT and torch."""
