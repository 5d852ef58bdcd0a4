"""A re-identification set in the folder layout of MARS, from identities that no other seed shares.

`bbox_train/<id>/<id>C<camera>T<tracklet>F<frame>.jpg`, `bbox_test/…` and `info/` as MARS has them.
Identities
1…train are for training, the following ones for testing; each half may have its own clothes colours
and cameras.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from synthetic.crops import CLEAR, ROUGH, tracklet, varied
from synthetic.errors import RequestError
from synthetic.load import load_site
from synthetic.palette import Palette
from synthetic.render import Image, Renderer
from synthetic.scene import surroundings_of
from synthetic.spread import Tally, spread
from synthetic.world import World
from synthetic.write import claim, output_errors

_SIZE = (128, 256)
_STRANGERS, _COMPANY = 100_000, 400
"""Passers-by are people far from any number that a set uses."""


@dataclass(frozen=True, slots=True)
class ReidRequest:
    """What is to be written."""

    seed: int
    train: int
    """Identities to train on."""
    test: int
    frames: int = 16
    """Crops per tracklet."""
    tracklets: int = 2
    """Per identity and camera."""
    cameras: int = 6
    site: str = ""
    """Where training cameras hang; cameras of a generated site of this seed if empty."""
    test_site: str = ""
    """Where test cameras hang; as in training if empty."""
    size: tuple[int, int] = (960, 540)
    """Of the frames that crops are cut from."""
    palette: Palette = "all"
    test_palette: Palette | None = None
    rough: bool = False
    """People as live cameras see them: cut by the picture's edge, and behind others."""

    def half(self, name: Literal["train", "test"]) -> tuple[str, Palette, range]:
        """Site, palette and identities of one half."""
        site = self.site or f"generated:{self.cameras}:{self.seed}"
        if name == "train":
            return site, self.palette, range(1, self.train + 1)
        return (
            self.test_site or site,
            self.test_palette or self.palette,
            range(self.train + 1, self.train + self.test + 1),
        )


@dataclass(frozen=True, slots=True)
class _Job:
    request: ReidRequest
    half: Literal["train", "test"]
    camera: int
    folder: Path


def write_reid(request: ReidRequest, folder: Path, processes: int = 1) -> dict[str, object]:
    """Render the set into `folder`, keeping tracklets that are there; returns its figures."""
    if not (0 <= request.train <= 9000 and 1 <= request.test <= 9000 - request.train):
        raise RequestError("A set has at least one test identity and at most 9000 in all.")
    if not (
        1 <= request.frames <= 999 and 1 <= request.tracklets <= 99 and 1 <= request.cameras <= 9
    ):
        raise RequestError(
            "Tracklets have 1 to 999 frames; there are 1 to 99 per camera and 1 to 9 cameras."
        )
    jobs, sizes, names = [], [], []
    halves: tuple[Literal["train", "test"], ...] = ("train", "test")
    for half in halves:
        site, _, identities = request.half(half)
        if not identities:
            continue
        for number, camera in enumerate(load_site(site).cameras[:9]):
            jobs.append(_Job(request, half, number, folder))
            sizes.append(len(identities) * request.tracklets)
            names.append(f"{half} {camera.name}")
    with output_errors(folder):
        (folder / "info").mkdir(parents=True, exist_ok=True)
        claim(folder, request, "bbox_*")
        spread(_write_camera, jobs, sizes, names, processes)
        return {half: _index(folder, half) for half in halves}


def _write_camera(job: _Job, tally: Tally) -> None:
    """All tracklets of one camera."""
    site_name, palette, identities = job.request.half(job.half)
    site = load_site(site_name).resized(job.request.size)
    world = World(site, job.request.seed, palette)
    camera = site.cameras[job.camera]
    renderer = Renderer(camera, surroundings_of(site), world.identity, job.request.seed)
    others = np.arange(1, _COMPANY + 1) + _STRANGERS
    with output_errors(job.folder):
        for person in identities:
            for repeat in range(job.request.tracklets):
                number = job.camera * job.request.tracklets + repeat + 1
                stem = f"{person:04d}C{job.camera + 1}T{number:04d}"
                home = job.folder / f"bbox_{job.half}" / f"{person:04d}"
                if not (home / f"{stem}F{job.request.frames:03d}.jpg").exists():
                    rng = np.random.default_rng([job.request.seed, 23, person, job.camera, repeat])
                    renderer.tune(varied(camera.optics, rng))
                    manner = ROUGH if job.request.rough else CLEAR
                    cuts = tracklet(
                        renderer, world, person, others, job.request.frames, rng, manner
                    )
                    home.mkdir(parents=True, exist_ok=True)
                    quality = int(rng.integers(60, 96))
                    for frame, cut in enumerate(cuts):
                        _save(home / f"{stem}F{frame + 1:03d}.jpg", cut.pixels, quality)
                tally.add()


def _save(path: Path, pixels: Image, quality: int) -> None:
    shrinks = pixels.shape[0] > _SIZE[1]
    sized = cv2.resize(pixels, _SIZE, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    _, encoded = cv2.imencode(".jpg", sized, [cv2.IMWRITE_JPEG_QUALITY, quality])
    part = path.with_suffix(".part")
    part.write_bytes(encoded.tobytes())
    part.replace(path)


def _index(folder: Path, half: str) -> dict[str, int]:
    """Write the files of `info/` for one half."""
    names = [path.name for path in _pictures(folder / f"bbox_{half}")]
    stems = [name[:11] for name in names]
    starts = [k for k in range(len(stems)) if k == 0 or stems[k] != stems[k - 1]]
    ends = [*starts[1:], len(stems)] if starts else []
    rows = [
        (a + 1, b, int(stems[a][:4]), int(stems[a][5])) for a, b in zip(starts, ends, strict=True)
    ]
    info = np.array(rows, dtype=np.float64).reshape(-1, 4)
    (folder / "info" / f"{half}_name.txt").write_text(
        "".join(f"{name}\n" for name in names), encoding="ascii"
    )
    savemat(str(folder / "info" / f"tracks_{half}_info.mat"), {f"track_{half}_info": info})
    if half == "test":
        savemat(str(folder / "info" / "query_IDX.mat"), {"query_IDX": _queries(info)})
    return {"identities": len(np.unique(info[:, 2])), "tracklets": len(info), "crops": len(names)}


def _queries(info: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1, Q) numbers, from 1, of the first tracklet of each identity in each camera, if seen by two
    cameras.
    """
    firsts = np.sort(np.unique(info[:, 2:], axis=0, return_index=True)[1])
    seen = {int(k): len(set(info[info[:, 2] == k, 3])) for k in np.unique(info[:, 2])}
    return np.array([[k + 1 for k in firsts if seen[int(info[k, 2])] > 1]], dtype=np.float64)


def _pictures(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for home in sorted(folder.iterdir()):
            yield from sorted(home.glob("*.jpg"))
