"""numba's compiler, with the types of what it compiles left visible, and what it made kept on disk.

numba keeps what it compiled for as long as a function's own file stays as it is. That is too long: what is inlined
comes of other files too. So here a function is kept for as long as everything that it is made of is as it was, and
whatever is wrong with what was kept, it is compiled again.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

Function = TypeVar("Function", bound=Callable[..., Any])
_log = logging.getLogger(__name__)


def compiled(function: Function) -> Function:
    """Compile at the first call and keep the result on disk: takes seconds only once."""
    kernel = numba.njit(function)
    try:
        kernel._cache = _Cache(function)
    except RuntimeError:  # there is no folder to keep anything in
        _log.debug("%s is compiled anew in every process", function.__qualname__)
    return cast(Function, kernel)


class _Cache(FunctionCache):  # type: ignore[misc]
    """What was compiled of one function. An error is never worth more than having to compile."""

    def load_overload(self, sig: object, target_context: object) -> object:
        self._stamp()
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:
            _log.debug("what was compiled of %s cannot be used: %s", self._name, error)
        try:
            self.flush()
        except OSError as error:
            _log.debug("…nor removed: %s", error)
        return None

    def save_overload(self, sig: object, data: object) -> None:
        self._stamp()
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _log.debug("what was compiled of %s is not kept: %s", self._name, error)

    def _stamp(self) -> None:
        """Late, when all that the function names is there. The version is looked at before anything else is read."""
        self._cache_file._version = numba.__version__, _digest(self._py_func)


def _digest(function: FunctionType) -> str:
    parts = sorted({*_made_of(function, set())})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _made_of(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    """The files and constants that compiled code of a function comes of, one by one."""
    seen.add(function)
    file = Path(function.__code__.co_filename).stat()
    yield f"{function.__module__} {file.st_mtime_ns} {file.st_size}"
    for name, value in _named_in(function):
        if isinstance(value, Dispatcher):
            if value.py_func not in seen:
                yield from _made_of(value.py_func, seen)
        elif isinstance(value, bool | int | float | str | tuple):
            yield f"{function.__module__} {name} {value!r}"
        elif isinstance(value, np.ndarray):
            yield f"{function.__module__} {name} {value.tobytes().hex()}"


def _named_in(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Global names in a function's code with what they stand for, those in modules of our own among them."""
    names = sorted({*_names(function.__code__)})
    package = function.__module__.partition(".")[0]
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and value.__name__.partition(".")[0] == package:
            yield from ((f"{name}.{part}", getattr(value, part, None)) for part in names)
        else:
            yield name, value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
