"""`import-reference`: the published code's checkpoints to our weights."""

import argparse

from rich.console import Console

from trainer.reference import import_reference


def run(options: argparse.Namespace) -> None:
    """Convert one or more checkpoint files into one weights file."""
    import_reference(options.checkpoints, options.output)
    Console(stderr=True).print(f"weights: {options.output}", soft_wrap=True, markup=False)
