"""Everything that can go wrong on the way to weights.

TrainerError
├── WeightsError    a weights file is missing, cut short or of another network
├── DataError       a data set is missing, incomplete or unreadable
└── TrainingError   training cannot go on: the loss is not finite, a checkpoint cannot be written
"""


class TrainerError(Exception):
    """Base of all errors of this package. Its text is one sentence fit for a user."""


class WeightsError(TrainerError):
    """A weights file is missing, cut short or belongs to another network."""


class DataError(TrainerError):
    """A data set is missing, incomplete or unreadable."""


class TrainingError(TrainerError):
    """Training cannot go on."""
