"""`embed`: a folder of tracklets to an .npz of vectors."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.console import Console
from rich.progress import Progress

from trainer.commands.subjects import embedder, mode_named
from trainer.data.folder import numbered
from trainer.embedding import embed
from trainer.errors import StorageError
from trainer.files import drafted


def run(options: argparse.Namespace) -> None:
    """Embed every tracklet of the folder and write `embedding`, `ids`, `cameras`, `tracklets`."""
    found = numbered(options.folder)
    tracklets = [tracklet for _, tracklet in found]
    console = Console(stderr=True)
    network = embedder(
        Path(options.weights), mode_named(options.mode), options.device, options.threads
    )
    # The file is opened first: a place that cannot be written to is known before the work, not after it.
    with _opened(options.output) as file, Progress(console=console, transient=True) as progress:
        task = progress.add_task("embedding", total=len(tracklets))
        vectors = embed(
            tracklets,
            network,
            threads=options.threads,
            advance=lambda done: progress.advance(task, done),
        )
        np.savez(
            file,
            embedding=vectors,
            ids=np.array([tracklet.identity for tracklet in tracklets], np.int64),
            cameras=np.array([tracklet.camera for tracklet in tracklets], np.int64),
            tracklets=np.array([number for number, _ in found], np.int64),
        )
    console.print(
        f"{len(tracklets)} tracklets, {vectors.shape[1]} values each: {options.output}",
        soft_wrap=True,
        markup=False,
    )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with drafted(path) as draft, draft.open("wb") as file:
            yield file
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
