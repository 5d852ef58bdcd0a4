"""A detection set in YOLO layout: `images/{train,val}`, `labels/{train,val}`, `data.yaml`.

A label is the whole silhouette's box, for people who show enough to be asked for.
"""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from synthetic.crops import varied
from synthetic.errors import RequestError
from synthetic.load import load_site
from synthetic.palette import Palette
from synthetic.render import Rendered, Renderer
from synthetic.scene import surroundings_of
from synthetic.spread import Tally, spread
from synthetic.world import World
from synthetic.write import claim, output_errors

LEAST_VISIBLE = 0.25
LEAST_HEIGHT = 16
"""Pixels of a frame 540 high; smaller people are not labelled."""
DESCRIPTION = "train: images/train\nval: images/val\nnames:\n  0: person\n"
"""What detector trainings read first. Without a `path`, folders are those beside it."""
_PAUSE = 2.0
"""Seconds of the world between two pictures of a camera."""
_CAMERAS = 4
_PICTURES = 10
"""Of one camera. A detector that sees few walls takes the next one's bricks and signs for people."""


@dataclass(frozen=True, slots=True)
class DetectRequest:
    """What is to be written."""

    seed: int
    images: int
    val_share: float = 0.15
    size: tuple[int, int] = (960, 540)
    sites: tuple[str, ...] = ()
    """Where cameras hang; invented sites of this seed if empty. Validation pictures come from other
    cameras.
    """
    palette: Palette = "all"
    invented: int | None = None
    """How many sites of four cameras each are invented; so many that a camera gives ten pictures if None."""
    crowd: float = 1.0
    """How many times as many people as a site usually has."""
    least_visible: float = LEAST_VISIBLE
    """Share of a person that must show for a label."""


@dataclass(frozen=True, slots=True)
class _Job:
    request: DetectRequest
    half: Literal["train", "val"]
    site: str
    camera: str
    count: int
    folder: Path


def write_detect(request: DetectRequest, folder: Path, processes: int = 1) -> dict[str, object]:
    """Render the set into `folder`, keeping pictures that are there; returns its figures."""
    if not (2 <= request.images <= 1_000_000 and 0 < request.val_share < 1):
        raise RequestError(
            "A set has at least two images, and a share for validation between 0 and 1."
        )
    if not (0.1 <= request.crowd <= 10 and 0 < request.least_visible <= 1):
        raise RequestError(
            "A crowd is 0.1 to 10 times the usual one; what shows is a share, above 0 and up to 1."
        )
    jobs = _jobs(request, folder)
    with output_errors(folder):
        for half in ("train", "val"):
            for kind in ("images", "labels"):
                (folder / kind / half).mkdir(parents=True, exist_ok=True)
        claim(folder, request, "images/*/*.jpg")
        spread(
            _write_camera,
            jobs,
            [j.count for j in jobs],
            [f"{j.half} {j.site} {j.camera}" for j in jobs],
            processes,
        )
        (folder / "data.yaml").write_text(DESCRIPTION, encoding="ascii")
        return {
            half: sum(1 for _ in (folder / "images" / half).glob("*.jpg"))
            for half in ("train", "val")
        }


def _jobs(request: DetectRequest, folder: Path) -> list[_Job]:
    """Pictures spread evenly over cameras; every sixth camera or so is kept for validation."""
    invented = request.invented or max(2, request.images // (_CAMERAS * _PICTURES))
    sites = request.sites or tuple(
        f"generated:{_CAMERAS}:{request.seed * 1000 + k}" for k in range(invented)
    )
    cameras = [(name, camera.name) for name in sites for camera in load_site(name).cameras]
    held = max(1, round(len(cameras) * request.val_share))
    order = np.random.default_rng([request.seed, 29]).permutation(len(cameras))
    halves: list[tuple[Literal["train", "val"], list[int], int]] = [
        ("val", [int(k) for k in order[:held]], max(1, round(request.images * request.val_share))),
        ("train", [int(k) for k in order[held:]] or [int(order[0])], 0),
    ]
    halves[1] = "train", halves[1][1], request.images - halves[0][2]
    jobs = []
    for half, rows, images in halves:
        shares = [images // len(rows) + (k < images % len(rows)) for k in range(len(rows))]
        jobs += [
            _Job(request, half, *cameras[row], count, folder)
            for row, count in zip(rows, shares, strict=True)
            if count
        ]
    return jobs


def _write_camera(job: _Job, tally: Tally) -> None:
    request = job.request
    site = load_site(job.site).resized(request.size)
    site = replace(site, people=max(1, round(site.people * request.crowd)))
    camera = site.camera(job.camera)
    seed = zlib.crc32(f"{request.seed} {job.site}".encode())  # every site has people of its own
    world = World(site, seed, request.palette)
    renderer = Renderer(camera, surroundings_of(site), world.identity, seed)
    stem = f"{job.site.replace(':', '-').replace('/', '-')}_{job.camera}"
    with output_errors(job.folder):
        for number in range(job.count):
            picture = job.folder / "images" / job.half / f"{stem}_{number:06d}.jpg"
            if not picture.exists():
                rng = np.random.default_rng([request.seed, 31, number, *job.camera.encode()])
                renderer.tune(varied(camera.optics, rng))
                shown = renderer.render(
                    world.people_at(number * _PAUSE + rng.uniform(0, 1)), number
                )
                label = job.folder / "labels" / job.half / f"{picture.stem}.txt"
                label.write_text(labels(shown, request.least_visible), encoding="ascii")
                _, encoded = cv2.imencode(
                    ".jpg", shown.image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(55, 96))]
                )
                part = picture.with_suffix(".part")
                part.write_bytes(encoded.tobytes())
                part.replace(picture)
            tally.add()


def labels(shown: Rendered, least_visible: float = LEAST_VISIBLE) -> str:
    """Lines of class, centre x, centre y, width, height as shares of the picture."""
    height, width = shown.image.shape[:2]
    boxes = shown.boxes[
        (shown.visibility >= least_visible)
        & (shown.boxes[:, 3] - shown.boxes[:, 1] >= LEAST_HEIGHT * height / 540)
    ]
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    rows = np.concatenate([centres, sizes], axis=1) / (width, height, width, height)
    return "".join(f"0 {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for x, y, w, h in rows)
