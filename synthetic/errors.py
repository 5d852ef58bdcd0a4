"""Everything that can go wrong while a site is described, rendered or written.

SyntheticError
├── SiteError     a site's description is missing, unreadable or makes no sense
├── RequestError  what was asked for cannot be made: a size, a duration, a count
└── OutputError   the result could not be written: no room, no permission, foreign files in the way
"""


class SyntheticError(Exception):
    """Base of all errors of this package. Its text is one sentence fit for a user."""


class SiteError(SyntheticError):
    """A site's description is missing, unreadable or contradicts itself."""


class RequestError(SyntheticError):
    """A request is out of range."""


class OutputError(SyntheticError):
    """A file could not be written."""
