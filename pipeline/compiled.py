"""numba's compiler, with the types of what it compiles left visible."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile at the first call and keep the result on disk: takes seconds only once."""
    return cast(Function, njit(cache=True)(function))
