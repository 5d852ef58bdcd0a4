"""Types of command-line options: what is no such number is refused in a sentence."""

import argparse
import math
from collections.abc import Callable


def between(low: float, high: float) -> Callable[[str], float]:
    """The type of an option: a number from `low` to `high`."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"must be a number from {low:g} to {high:g}, not {text}"
            )
        return value

    return number


def seed(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, not {text}")
    return int(text)


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isdecimal() and 0 < int(text) < 1 << 31):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text}")
    return int(text)
