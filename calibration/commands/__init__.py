"""The commands of `python -m calibration`, one a module."""
