"""Everything that can go wrong while a site is calibrated.

CalibrationError        exit code 2: bad input
├── UsageError          options that do not fit together, or a file that is not what it should be
├── RecordError         a recording of running data is missing, damaged, foreign or past its date
├── SiteFileError       the site's file does not parse, or would not with the result in it
├── StorageError        a result cannot be written
├── TooLittleError      exit code 3: not enough data; says how much there is and how much is needed
└── RefusedError        exit code 4: there was enough data, but the result is not good enough to be used
"""


class CalibrationError(Exception):
    """Base of all errors of this package. Its text is one sentence fit for a user."""

    exit_code = 2


class UsageError(CalibrationError):
    """Options that do not fit together, or a file that is not what it should be."""


class RecordError(CalibrationError):
    """A recording of running data is missing, damaged, foreign or past its date."""


class SiteFileError(CalibrationError):
    """The site's file does not parse, or would not with the result in it."""


class StorageError(CalibrationError):
    """A result cannot be written."""


class TooLittleError(CalibrationError):
    """There is too little data for a result that one could rely on."""

    exit_code = 3

    def __init__(self, what: str, there: float, needed: float, advice: str = "") -> None:
        """`what` is counted: "pairs of people seen together", "point pairs in hall-west"."""
        self.what, self.there, self.needed = what, there, needed
        more = f"; {advice}" if advice else ""
        super().__init__(f"too little data: {there:g} {what}, {needed:g} are needed{more}")


class RefusedError(CalibrationError):
    """There was enough data, but the result is not good enough to be used."""

    exit_code = 4
