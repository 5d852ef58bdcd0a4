"""Everything that can go wrong between a network and its answer.

EngineError
├── BackendError        the backend is not installed, or has no device here
├── PackageError        a package cannot be opened: missing, cut short, altered, not ours
│   └── PackageMismatch …was built for another device, version or range; says what differs
├── WrongThread         a device is used by a thread that does not own it
├── BuildError          TensorRT cannot compile a graph; says why
├── InputError          an array does not fit the network: name, shape, type
├── SlotsExhausted      more tracklets are open than the pool has rows
├── ExportError         a network cannot be turned into a graph
└── FetchError          official weights could not be downloaded or are not what they should be
"""


class EngineError(Exception):
    """Base of all errors of this package. Its text is one sentence fit for a user."""


class BackendError(EngineError):
    """The backend is not installed, or finds no device on this machine."""


class PackageError(EngineError):
    """An engine package is missing, incomplete, altered or not one of ours."""


class PackageMismatch(PackageError):
    """A sound package that was built for something else than this machine."""


class WrongThread(EngineError):
    """A device and all that lives on it belong to one thread, and this is another."""


class BuildError(EngineError):
    """A graph could not be compiled for this device."""


class InputError(EngineError):
    """An array does not fit what the network takes."""


class SlotsExhausted(EngineError):
    """Every row of recurrent state is in use."""


class ExportError(EngineError):
    """A network could not be turned into a graph."""


class FetchError(EngineError):
    """Official weights could not be had, or their checksum is wrong."""
