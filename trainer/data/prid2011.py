"""PRID2011, multi-shot: two cameras outdoors, of which the first 200 people are in both.

root/multi_shot/cam_a/person_0001/0001.png, and the same for cam_b. As published work does, the
people with more than 21 frames in each camera take part (178 of them).
"""

from pathlib import Path

from trainer.data.dataset import Dataset, require
from trainer.data.halves import halved, sequence
from trainer.errors import LayoutError

IN_BOTH = 200
MORE_THAN = 21


def load(root: Path, split: int = 0) -> Dataset:
    """Read PRID2011 and halve its people as split `split` of ten."""
    require(root, "PRID2011", ("multi_shot/cam_a/", "multi_shot/cam_b/"))
    cameras = root / "multi_shot" / "cam_a", root / "multi_shot" / "cam_b"
    pairs = []
    for number in range(1, IN_BOTH + 1):
        folders = [camera / f"person_{number:04d}" for camera in cameras]
        if not all(folder.is_dir() for folder in folders):
            continue
        first, second = (sequence(f, "*.png", number, i + 1) for i, f in enumerate(folders))
        if min(len(first), len(second)) > MORE_THAN:
            pairs.append((first, second))
    if len(pairs) < 2:
        raise LayoutError(
            f"{root / 'multi_shot'}: fewer than two people (person_0001 to person_0200) have more "
            f"than {MORE_THAN} frames in both cam_a and cam_b"
        )
    return halved("PRID2011", pairs, split)
