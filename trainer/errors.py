"""Everything that can go wrong on the way to weights.

TrainerError
├── WeightsError          a weights file is missing, cut short or of another network
├── DataError             a data set is missing, incomplete or unreadable
│   ├── LayoutError       …files or folders are not where its layout puts them
│   └── ImageError        …a picture cannot be read
├── UsageError            options that do not fit together, or a file that is not what it should be
└── TrainingError         training cannot go on
    ├── CheckpointError   …a checkpoint is missing, cut short, or of another training
    ├── DivergedError     …the loss or the weights stopped being numbers
    └── StorageError      …the disk is full or may not be written
"""


class TrainerError(Exception):
    """Base of all errors of this package. Its text is one sentence fit for a user."""


class WeightsError(TrainerError):
    """A weights file is missing, cut short or belongs to another network."""


class DataError(TrainerError):
    """A data set is missing, incomplete or unreadable."""


class LayoutError(DataError):
    """Files or folders are not where the data set's layout puts them."""


class ImageError(DataError):
    """A picture is missing, cut short or not a picture."""


class UsageError(TrainerError):
    """Options that do not fit together, or a file that is not what it should be."""


class TrainingError(TrainerError):
    """Training cannot go on."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, cut short, or belongs to another training."""


class DivergedError(TrainingError):
    """The loss or the weights stopped being numbers."""


class StorageError(TrainingError):
    """The disk is full or may not be written."""
