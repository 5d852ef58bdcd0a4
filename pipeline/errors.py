"""Everything that can go wrong in the live loop, short of a defect.

PipelineError
├── AddressError        a camera address is malformed or of a kind that cannot be read
├── FeedError           a camera or file cannot be opened, fell silent, or is damaged
├── DetectorError       a detector's network does not fit its description
├── EvaluationError     tracks or truth cannot be read, or do not fit each other
├── SettingsError       a site's file or the command line does not say what is needed
├── OutputError         the run's folder cannot be written
└── IdentifyError       settings or embeddings that identities cannot be made of
    └── StoreError      the file of identities cannot be opened, or is not for this network
        └── StoreInUse  another run holds it
"""


class PipelineError(Exception):
    """Base of all errors of this package. Its text is one sentence fit for a user."""


class AddressError(PipelineError):
    """A camera address is malformed or of a kind that cannot be read. Names no password."""


class FeedError(PipelineError):
    """A camera or file cannot be opened, fell silent, or is damaged. Names no password."""


class DetectorError(PipelineError):
    """A detector's network takes or gives something else than its description says."""


class EvaluationError(PipelineError):
    """A file of tracks or truth is missing or malformed, or the two do not fit each other."""


class SettingsError(PipelineError):
    """A site's file, or the command line, is malformed or incomplete."""


class OutputError(PipelineError):
    """The folder of a run cannot be made or written."""


class IdentifyError(PipelineError):
    """Settings contradict themselves, or embeddings do not fit those already known."""


class StoreError(IdentifyError):
    """The file of identities is foreign, damaged, newer, in use, or belongs to another network."""


class StoreInUse(StoreError):
    """The file of identities belongs to a run that is going on."""
