"""How a command ends whose answer somebody reads."""

import os
import sys
from collections.abc import Callable

PIPE_BROKE = 141


def answered(command: Callable[[], int]) -> int:
    """The command's exit code. Whoever reads its standard output may leave before the end, as `head` does."""
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_BROKE
    return code
