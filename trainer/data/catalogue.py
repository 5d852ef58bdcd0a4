"""Data sets by name: `mars:/data/mars`, `ilids-vid:/data/ilids#3`, or just a folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainer.data import folder, ilids_vid, ls_vid, mars, prid2011
from trainer.data.dataset import Dataset, Tracklet
from trainer.errors import UsageError

NAMES = ("mars", "ilids-vid", "prid2011", "ls-vid", "folder")


def open_dataset(address: str, holdout: float = 0.0, seed: int = 0) -> Dataset:
    """Read the data set at `address`: NAME:FOLDER, NAME:FOLDER#SPLIT, or FOLDER (MARS layout).

    Of a folder without a test half, `holdout` of the people, drawn by `seed`, are kept to be judged by.
    """
    name, colon, place = address.partition(":")
    if not colon:
        name, place = "folder", address
    if name == "dukemtmc-videoreid":
        raise UsageError("DukeMTMC-VideoReID was withdrawn by its authors and is not supported")
    if name not in NAMES:
        raise UsageError(f"'{name}' is not a data set; there are {', '.join(NAMES)}")
    place, _, split = place.partition("#")
    if split and (not split.isdigit() or name not in ("ilids-vid", "prid2011")):
        raise UsageError(f"'#{split}': only ilids-vid and prid2011 have splits, numbered from 0")
    root = Path(place)
    match name:
        case "mars":
            return mars.load(root)
        case "ilids-vid":
            return ilids_vid.load(root, int(split or 0))
        case "prid2011":
            return prid2011.load(root, int(split or 0))
        case "ls-vid":
            return ls_vid.load(root)
        case _:
            return folder.load(root, holdout, seed)


def people_together(sets: Sequence[Dataset]) -> tuple[Tracklet, ...]:
    """Everybody that several sets have to learn from; nobody of one set is anybody of another."""
    together: list[Tracklet] = []
    for each in sets:
        numbers = {t.identity for t in each.train}
        first = 1 + max((t.identity for t in together), default=-1) - min(numbers, default=0)
        together += [replace(t, identity=t.identity + first) for t in each.train]
    return tuple(together)
