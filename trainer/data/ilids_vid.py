"""iLIDS-VID: 300 people in an airport, two cameras.

root/i-LIDS-VID/sequences/cam1/person001/cam1_person001_00317.png, and the same for cam2.
"""

from pathlib import Path

from trainer.data.dataset import Dataset, require
from trainer.data.halves import halved, sequence
from trainer.errors import LayoutError


def load(root: Path, split: int = 0) -> Dataset:
    """Read iLIDS-VID and halve its people as split `split` of ten."""
    inner = root / "i-LIDS-VID" / "sequences"
    require(root, "iLIDS-VID", ("i-LIDS-VID/sequences/cam1/", "i-LIDS-VID/sequences/cam2/"))
    people = [
        sorted(path.name for path in (inner / camera).glob("person*") if path.is_dir())
        for camera in ("cam1", "cam2")
    ]
    if not people[0] or people[0] != people[1]:
        odd = sorted(set(people[0]) ^ set(people[1]))
        raise LayoutError(
            f"{inner}: cam1 and cam2 must hold the same people as person001, person002, …"
            + (f"; {odd[0]} is in one of them only" if odd else "")
        )
    pairs = [
        (
            sequence(inner / "cam1" / name, "*.png", int(name.removeprefix("person")), 1),
            sequence(inner / "cam2" / name, "*.png", int(name.removeprefix("person")), 2),
        )
        for name in people[0]
    ]
    return halved("iLIDS-VID", pairs, split)
