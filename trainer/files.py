"""Files that are whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` in the end, or is gone if anything fails."""
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except BaseException:
        with suppress(OSError):  # what failed is said, and not that there is nothing to remove
            draft.unlink()
        raise
