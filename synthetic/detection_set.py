"""A detection set in YOLO layout: `images/{train,val}`, `labels/{train,val}`, `data.yaml`.

A label is the whole silhouette's box, for people who show enough to be asked for.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from synthetic.camera import Camera
from synthetic.clutter import furnished, strewn
from synthetic.crops import varied
from synthetic.errors import RequestError
from synthetic.load import load_site
from synthetic.palette import Palette
from synthetic.render import Rendered, Renderer
from synthetic.scene import surroundings_of
from synthetic.spread import Tally, spread
from synthetic.world import People, World
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
_STEPS_AWAY, _LARGE, _SEEN, _TRIES = (1.2, 4.5), 0.4, 0.6, 4
"""From near: metres to whom it is about, their least share of the picture's height and of themselves that
shows, and how many places are tried.
"""


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
    near: float = 0.0
    """Share of pictures whose camera is taken to within a few steps of somebody, whom it shows large."""
    clutter: float = 0.0
    """Share of cameras in rooms full of furniture, with shapes of every kind on what stands still."""


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
    if request.invented is not None and not 1 <= request.invented <= request.images:
        raise RequestError("Sites that are invented are 1 or more, and no more than the images.")
    if not 0 <= request.near <= 1:
        raise RequestError("What is seen from near is a share of the pictures, 0 to 1.")
    if not 0 <= request.clutter <= 1:
        raise RequestError("Cluttered rooms are a share of the cameras, 0 to 1.")
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
    invented = (
        request.invented
        if request.invented is not None
        else max(2, request.images // (_CAMERAS * _PICTURES))
    )
    sites = request.sites or tuple(
        f"generated:{_CAMERAS}:{request.seed * 1000 + k}" for k in range(invented)
    )
    cameras = [(name, camera.name) for name in sites for camera in load_site(name).cameras]
    if len(cameras) < 2:
        raise RequestError(
            "there is one camera only, and it cannot be learnt from and judged by at once"
        )
    held = min(max(1, round(len(cameras) * request.val_share)), len(cameras) - 1)
    order = np.random.default_rng([request.seed, 29]).permutation(len(cameras))
    halves: list[tuple[Literal["train", "val"], list[int], int]] = [
        ("val", [int(k) for k in order[:held]], max(1, round(request.images * request.val_share))),
        ("train", [int(k) for k in order[held:]], 0),
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

    def look_through(camera: Camera) -> Renderer:
        return Renderer(camera, around, world.identity, seed)

    taste = np.random.default_rng([seed, 37, *camera.name.encode()])
    cluttered = request.clutter > 0 and taste.random() < request.clutter
    around = surroundings_of(furnished(site, taste) if cluttered else site)
    usual = look_through(camera)
    stem = f"{job.site.replace(':', '-').replace('/', '-')}_{job.camera}"
    with output_errors(job.folder):
        for number in range(job.count):
            picture = job.folder / "images" / job.half / f"{stem}_{number:06d}.jpg"
            if not picture.exists():
                rng = np.random.default_rng([request.seed, 31, number, *job.camera.encode()])
                optics = varied(camera.optics, rng)
                people = world.people_at(number * _PAUSE + rng.uniform(0, 1))
                near = request.near and rng.random() < request.near
                renderer = (_beside(people, camera, look_through, rng) if near else None) or usual
                renderer.tune(optics)
                shapes = np.random.default_rng([seed, 41, number, *camera.name.encode()])
                empty = strewn(renderer.empty, shapes) if cluttered else None
                shown = renderer.render(people, number, empty=empty)
                label = job.folder / "labels" / job.half / f"{picture.stem}.txt"
                label.write_text(labels(shown, request.least_visible), encoding="ascii")
                _, encoded = cv2.imencode(
                    ".jpg", shown.image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(55, 96))]
                )
                part = picture.with_suffix(".part")
                part.write_bytes(encoded.tobytes())
                part.replace(picture)
            tally.add()


def _beside(
    people: People,
    camera: Camera,
    look_through: Callable[[Camera], Renderer],
    rng: np.random.Generator,
) -> Renderer | None:
    """A camera a few steps from somebody who then is large in it; None where walls leave no place for one."""
    for _ in range(_TRIES if len(people) else 0):
        whom = int(rng.integers(len(people)))
        at = people.position[whom]
        away = np.arctan2(*(np.asarray(camera.position[:2]) - at)[::-1]) + rng.normal(0, 0.6)
        x, y = at + rng.uniform(*_STEPS_AWAY) * np.array([np.cos(away), np.sin(away)])
        ahead = at + rng.normal(0, 0.3, 2)
        nearer = replace(
            camera,
            position=(float(x), float(y), float(rng.uniform(1.0, 2.6))),
            look_at=(float(ahead[0]), float(ahead[1]), float(rng.uniform(0.8, 1.5))),
            fov=float(rng.uniform(45, 85)),
        )
        renderer = look_through(nearer)
        truth = renderer.locate(people)
        tall = (truth.boxes[:, 3] - truth.boxes[:, 1]) / camera.size[1] > _LARGE
        if np.any((truth.ids == people.ids[whom]) & tall & (truth.visibility > _SEEN)):
            return renderer
    return None


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
