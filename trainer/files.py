"""Files that are whole or not there, and folders that one works in at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import StorageError, UsageError


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


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else works in `folder` meanwhile: who comes second is refused. The lock ends with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        guard = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another training is at work in {folder}: wait for its end, or choose another folder"
            ) from None
        except OSError:  # a file system that knows no locks
            pass
        yield
    finally:
        os.close(guard)
