"""One typed door to numba, so that compiled kernels keep their signatures for the type checker."""

from collections.abc import Callable
from typing import TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(kernel: Kernel) -> Kernel:
    """Compile on first call, release the GIL, keep the machine code on disk where a disk is
    writable.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        machine: Kernel = numba.njit(cache=True, **options)(kernel)
    except RuntimeError:  # numba found no folder to cache in: a read-only install without a home
        machine = numba.njit(**options)(kernel)
    return machine
