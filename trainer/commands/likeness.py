"""`likeness`: what a cosine between two people's embeddings says, for the matcher to start from."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from rich.console import Console

from trainer.errors import DataError, StorageError, UsageError
from trainer.files import drafted
from trainer.likeness import fit_likeness

STEEPEST = 1000.0
"""Nats a unit of cosine: what a live run takes."""


def run(options: argparse.Namespace) -> None:
    """Fit it to vectors that `embed` wrote, and write it beside a package."""
    try:
        with options.vectors.open("rb") as file, np.load(file) as arrays:
            vectors, ids, cameras = (arrays[name] for name in ("embedding", "ids", "cameras"))
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise UsageError(f"{options.vectors} holds no vectors of `embed`: {error}") from error
    if not np.issubdtype(vectors.dtype, np.floating):
        raise UsageError(f"{options.vectors} holds no vectors of `embed`, but {vectors.dtype}")
    if options.output.resolve() == options.vectors.resolve():
        raise UsageError(f"{options.output} holds the vectors: choose another file")
    if vectors.ndim != 2 or not (ids.shape == cameras.shape == vectors.shape[:1]):
        raise UsageError(f"{options.vectors} holds no vectors of `embed`: their shapes do not fit")
    if not (np.isfinite(vectors).all() and vectors.any(axis=1).all()):
        raise UsageError(f"{options.vectors} holds vectors that are not finite, or zero")
    likeness = fit_likeness(vectors, ids, cameras)
    chosen = {"even": options.even, "slope": options.slope}
    likeness = replace(likeness, **{k: v for k, v in chosen.items() if v is not None})
    if not 0 < likeness.slope <= STEEPEST:
        raise DataError(
            f"{options.vectors} does not say what a cosine is worth: {likeness.slope:.3g} nats a unit of it, "
            f"where 0 to {STEEPEST:g} can be; more people are needed, or other vectors, or --slope"
        )
    told = {"even": round(likeness.even, 4), "slope": round(likeness.slope, 2)}
    more = {"known": options.known, "young": options.young}
    told |= {key: value for key, value in more.items() if value is not None}
    _write(options.output, json.dumps(told) + "\n")
    Console(stderr=True).print(
        f"{options.output}: even at {likeness.even:.3f}, {likeness.slope:.1f} nats a unit of cosine",
        markup=False,
        soft_wrap=True,
    )


def _write(path: Path, text: str) -> None:
    try:
        with drafted(path) as draft:
            draft.write_text(text)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
