"""The CUDA driver, through pycuda where it is installed and cuda-python otherwise.

A `Device` is one GPU as one engine uses it: the primary context (which torch and ONNX Runtime use
too), one stream, and the memory allocated through it. It belongs to the thread that opened it; any
other gets `WrongThread`. A thread uses one GPU. Addresses and handles are plain integers, because
that is what TensorRT takes; everything asynchronous is ordered by the one stream.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from engines.engine import Array
from engines.errors import BackendError, WrongThread

try:
    from pycuda import driver as pycuda
except ImportError:
    pycuda = None
try:
    from cuda.bindings import driver as bindings  # cuda-python from 12.6 on
except ImportError:
    try:
        from cuda import cuda as bindings
    except ImportError:
        bindings = None

NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: a stream that does not wait for the default one."""
INSTALL = "install cuda-python (pip install 'throughline[tensorrt]') or pycuda"

Foreign: TypeAlias = Any
"""What a CUDA library made; it alone knows the type."""


class Device:
    """One GPU, owned by the thread that opens it. Close it there too."""

    def __init__(self, index: int = 0) -> None:
        self._owner = threading.get_ident()
        self._open = True
        self._memory: set[int] = set()
        self._pinned: dict[int, Array] = {}
        self._driver = _open_driver(index)
        self.index = index
        self.name, self.capability, self.memory = self._driver.describe()
        self.stream = self._driver.stream

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the device, until `release` or `close`."""
        address = self._calls.allocate(max(size, 1))
        self._memory.add(address)
        return address

    def release(self, address: int) -> None:
        """Give back what `allocate` gave."""
        self._calls.release(address)
        self._memory.remove(address)

    def pinned(self, shape: Sequence[int], dtype: DTypeLike) -> Array:
        """A page-locked host array, the kind that copies asynchronously. Valid until `close`."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        address, memory = self._calls.pin(max(size, 1))
        self._pinned[address] = memory
        return memory[:size].view(kind).reshape(shape)

    def unpin(self, array: Array) -> None:
        """Give back what `pinned` gave; the array must not be touched afterwards."""
        address = array.ctypes.data
        self._calls.unpin(address, self._pinned[address])
        del self._pinned[address]

    def upload(self, to: int, array: Array) -> None:
        """Start copying a contiguous host array to the device."""
        self._calls.upload(to, _contiguous(array))

    def download(self, array: Array, source: int) -> None:
        """Start copying from the device into a contiguous host array."""
        self._calls.download(_contiguous(array), source)

    def zero(self, address: int, size: int) -> None:
        """Start clearing `size` bytes."""
        self._calls.zero(address, size)

    def kernel(self, ptx: str, name: str) -> Callable[..., None]:
        """A function of a PTX module, called as `kernel((blocks x, y), threads, *arguments)`.

        Arguments are addresses (8 bytes each) but the last, which is an unsigned 32-bit number.
        """
        launch = self._calls.kernel(ptx, name)

        def call(blocks: tuple[int, int], threads: int, *arguments: int) -> None:
            self._check_thread()
            launch(blocks, threads, arguments)

        return call

    def record(self) -> Foreign:
        """A mark in the stream, for `elapsed`."""
        return self._calls.record()

    def elapsed(self, begin: Foreign, end: Foreign) -> float:
        """Seconds of device time between two marks; waits for the second."""
        return self._calls.elapsed(begin, end)

    def synchronise(self) -> None:
        """Wait until everything started so far is done."""
        self._calls.synchronise()

    def free_memory(self) -> int:
        """Bytes that are free on the whole device."""
        return self._calls.free_memory()

    def close(self) -> None:
        """Give back all memory, the stream and our hold on the context. Safe to call twice."""
        if not self._open:
            return
        calls = self._calls
        calls.synchronise()
        for address in self._memory:
            calls.release(address)
        for address, memory in self._pinned.items():
            calls.unpin(address, memory)
        self._memory.clear()
        self._pinned.clear()
        calls.close()
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _calls(self) -> "Driver":
        self._check_thread()
        return self._driver

    def _check_thread(self) -> None:
        if threading.get_ident() != self._owner:
            raise WrongThread(
                f"GPU {self.index} is used by thread '{threading.current_thread().name}', but "
                "belongs to the thread that opened its engine; open and use an engine in one thread"
            )
        if not self._open:
            raise BackendError(f"GPU {self.index} is used after its engine was closed")


class Driver(Protocol):
    """What both libraries can do, in the words of `Device`. The context is current throughout."""

    stream: int

    def describe(self) -> tuple[str, tuple[int, int], int]: ...
    def allocate(self, size: int) -> int: ...
    def release(self, address: int) -> None: ...
    def pin(self, size: int) -> tuple[int, Array]: ...
    def unpin(self, address: int, memory: Array) -> None: ...
    def upload(self, to: int, array: Array) -> None: ...
    def download(self, array: Array, source: int) -> None: ...
    def zero(self, address: int, size: int) -> None: ...
    def kernel(self, ptx: str, name: str) -> "Launch": ...
    def record(self) -> Foreign: ...
    def elapsed(self, begin: Foreign, end: Foreign) -> float: ...
    def synchronise(self) -> None: ...
    def free_memory(self) -> int: ...
    def close(self) -> None: ...


class Launch(Protocol):
    def __call__(
        self, blocks: tuple[int, int], threads: int, arguments: tuple[int, ...]
    ) -> None: ...


def _open_driver(index: int) -> Driver:
    if pycuda is not None:
        return PyCuda(index)
    if bindings is not None:
        return CudaPython(index)
    raise BackendError(
        f"the GPU cannot be used: no CUDA library for Python is installed; {INSTALL}"
    )


def _contiguous(array: Array) -> Array:
    if not array.flags.c_contiguous:
        raise ValueError("only contiguous arrays can be copied to and from the device")
    return array


class CudaPython:
    """cuda-python's driver module: every call returns its status first."""

    def __init__(self, index: int) -> None:
        try:
            _ask(bindings.cuInit, 0)
            count = _ask(bindings.cuDeviceGetCount)
        except RuntimeError as missing:  # the library itself is there, libcuda is not
            raise BackendError("this machine has no NVIDIA driver (libcuda)") from missing
        _check_index(index, count)
        self._device = _ask(bindings.cuDeviceGet, index)
        _ask(bindings.cuCtxPushCurrent, _ask(bindings.cuDevicePrimaryCtxRetain, self._device))
        self.stream = int(_ask(bindings.cuStreamCreate, NON_BLOCKING))
        self._modules: list[Foreign] = []

    def describe(self) -> tuple[str, tuple[int, int], int]:
        kinds = bindings.CUdevice_attribute
        major = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
        minor = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
        name: bytes = _ask(bindings.cuDeviceGetName, 128, self._device)
        return (
            name.split(b"\0")[0].decode(),
            (
                _ask(bindings.cuDeviceGetAttribute, major, self._device),
                _ask(bindings.cuDeviceGetAttribute, minor, self._device),
            ),
            _ask(bindings.cuDeviceTotalMem, self._device),
        )

    def allocate(self, size: int) -> int:
        return int(_ask(bindings.cuMemAlloc, size))

    def release(self, address: int) -> None:
        _ask(bindings.cuMemFree, address)

    def pin(self, size: int) -> tuple[int, Array]:
        address = int(_ask(bindings.cuMemAllocHost, size))
        return address, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def unpin(self, address: int, memory: Array) -> None:
        _ask(bindings.cuMemFreeHost, address)

    def upload(self, to: int, array: Array) -> None:
        _ask(bindings.cuMemcpyHtoDAsync, to, array.ctypes.data, array.nbytes, self.stream)

    def download(self, array: Array, source: int) -> None:
        _ask(bindings.cuMemcpyDtoHAsync, array.ctypes.data, source, array.nbytes, self.stream)

    def zero(self, address: int, size: int) -> None:
        _ask(bindings.cuMemsetD8Async, address, 0, size, self.stream)

    def kernel(self, ptx: str, name: str) -> Launch:
        module = _ask(bindings.cuModuleLoadData, ptx.encode() + b"\0")
        self._modules.append(module)
        function = _ask(bindings.cuModuleGetFunction, module, name.encode())

        def launch(blocks: tuple[int, int], threads: int, arguments: tuple[int, ...]) -> None:
            kinds = (ctypes.c_void_p,) * (len(arguments) - 1) + (ctypes.c_uint32,)
            grid = (*blocks, 1, threads, 1, 1)
            _ask(bindings.cuLaunchKernel, function, *grid, 0, self.stream, (arguments, kinds), 0)

        return launch

    def record(self) -> Foreign:
        event = _ask(bindings.cuEventCreate, bindings.CUevent_flags.CU_EVENT_DEFAULT)
        _ask(bindings.cuEventRecord, event, self.stream)
        return event

    def elapsed(self, begin: Foreign, end: Foreign) -> float:
        _ask(bindings.cuEventSynchronize, end)
        milliseconds: float = _ask(bindings.cuEventElapsedTime, begin, end)
        return milliseconds / 1e3

    def synchronise(self) -> None:
        _ask(bindings.cuStreamSynchronize, self.stream)

    def free_memory(self) -> int:
        free, _total = _ask(bindings.cuMemGetInfo)
        return int(free)

    def close(self) -> None:
        for module in self._modules:
            _ask(bindings.cuModuleUnload, module)
        _ask(bindings.cuStreamDestroy, self.stream)
        _ask(bindings.cuCtxPopCurrent)
        _ask(bindings.cuDevicePrimaryCtxRelease, self._device)


def _ask(function: Callable[..., tuple[Foreign, ...]], *arguments: object) -> Foreign:
    """Call a function of cuda-python; its one result, or a tuple of several."""
    status, *results = function(*arguments)
    if status != bindings.CUresult.CUDA_SUCCESS:
        _complain(function.__name__, status.name)
    return results[0] if len(results) == 1 else tuple(results)


def _complain(call: str, status: str) -> None:
    words = status.upper().replace(" ", "_")
    if "OUT_OF_MEMORY" in words:
        raise BackendError(
            "the GPU has too little free memory; use a smaller batch or capacity, or stop "
            "what else runs on it"
        )
    if "NO_DEVICE" in words or "NO_CUDA-CAPABLE" in words:
        raise BackendError("this machine has no NVIDIA GPU that CUDA can see")
    raise BackendError(f"CUDA refused {call}: {status}")


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise BackendError(f"GPU {index} was asked for, but this machine has {count} (from 0)")


class PyCuda:
    """pycuda's driver module: objects own what they stand for, errors are exceptions."""

    def __init__(self, index: int) -> None:
        _try(pycuda.init)
        _check_index(index, pycuda.Device.count())
        self._device = pycuda.Device(index)
        self._context = _try(self._device.retain_primary_context)
        self._context.push()
        self._stream = pycuda.Stream(NON_BLOCKING)
        self.stream = int(self._stream.handle)
        self._memory: dict[int, Foreign] = {}
        self._functions: list[Foreign] = []

    def describe(self) -> tuple[str, tuple[int, int], int]:
        device = self._device
        return device.name(), device.compute_capability(), device.total_memory()

    def allocate(self, size: int) -> int:
        memory = _try(pycuda.mem_alloc, size)
        self._memory[int(memory)] = memory
        return int(memory)

    def release(self, address: int) -> None:
        _try(self._memory.pop(address).free)

    def pin(self, size: int) -> tuple[int, Array]:
        memory: Array = _try(pycuda.pagelocked_empty, size, np.uint8)
        return memory.ctypes.data, memory

    def unpin(self, address: int, memory: Foreign) -> None:
        _try(memory.base.free)

    def upload(self, to: int, array: Array) -> None:
        _try(pycuda.memcpy_htod_async, to, array, self._stream)

    def download(self, array: Array, source: int) -> None:
        _try(pycuda.memcpy_dtoh_async, array, source, self._stream)

    def zero(self, address: int, size: int) -> None:
        _try(pycuda.memset_d8_async, address, 0, size, self._stream)

    def kernel(self, ptx: str, name: str) -> Launch:
        module = _try(pycuda.module_from_buffer, ptx.encode() + b"\0")
        function = _try(module.get_function, name)
        self._functions.append(function)  # and its module; both must go before the context
        place = len(self._functions) - 1

        def launch(blocks: tuple[int, int], threads: int, arguments: tuple[int, ...]) -> None:
            function = self._functions[place]
            function.prepare("P" * (len(arguments) - 1) + "I")
            call = function.prepared_async_call
            _try(call, (*blocks, 1), (threads, 1, 1), self._stream, *arguments)

        del module, function
        return launch

    def record(self) -> Foreign:
        return pycuda.Event().record(self._stream)

    def elapsed(self, begin: Foreign, end: Foreign) -> float:
        _try(end.synchronize)
        milliseconds: float = end.time_since(begin)
        return milliseconds / 1e3

    def synchronise(self) -> None:
        _try(self._stream.synchronize)

    def free_memory(self) -> int:
        free, _total = pycuda.mem_get_info()
        return int(free)

    def close(self) -> None:
        self._functions.clear()
        del self._stream
        self._context.pop()
        self._context.detach()


def _try(function: Callable[..., Foreign], *arguments: object) -> Foreign:
    """Call a function of pycuda."""
    try:
        return function(*arguments)
    except pycuda.Error as error:
        _complain("a call", str(error))
