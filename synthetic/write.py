"""A site on disk: `<camera>.mp4`, `gt/<camera>.txt`, `site.json`.

Cameras are written by several processes; whatever is complete is kept, so an interrupted run goes
on where it was.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from synthetic.errors import OutputError, RequestError
from synthetic.live import Feed
from synthetic.load import load_site
from synthetic.palette import Palette
from synthetic.render import Image, Rendered
from synthetic.routes import routes_of
from synthetic.site import Site
from synthetic.spread import Tally, spread
from synthetic.transits import transits_of, travel_times

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, slots=True)
class SiteRequest:
    """What is to be written."""

    site: str
    seed: int
    duration: float
    """Seconds."""
    fps: float | None = None
    size: tuple[int, int] | None = None
    palette: Palette = "all"

    def load(self) -> Site:
        """The site with the wanted size and frame rate."""
        site = load_site(self.site)
        if self.size:
            site = site.resized(self.size)
        return replace(site, fps=self.fps) if self.fps else site


def write_site(request: SiteRequest, folder: Path, processes: int = 1) -> dict[str, object]:
    """Render every camera of a site into `folder`; returns what `site.json` holds."""
    if not 0 < request.duration <= 86400 or (
        request.fps is not None and not 0 < request.fps <= 240
    ):
        raise RequestError(
            "A duration is above 0 and up to 86400 seconds, a frame rate above 0 and up to 240."
        )
    site = request.load()
    frames = max(1, round(request.duration * site.fps))
    routes_of(site, site.doors + site.spots)  # a site that cannot be walked is told before any work
    with output_errors(folder):
        (folder / "gt").mkdir(parents=True, exist_ok=True)
        claim(folder, request, "*.mp4")
        todo = [
            (request, camera.name, folder)
            for camera in site.cameras
            if not _complete(folder, camera.name)
        ]
        spread(_write_camera, todo, [frames] * len(todo), [name for _, name, _ in todo], processes)
        described = _described(site, request, folder)
        _replace(folder / "site.json", json.dumps(described, indent=1) + "\n")
    return described


@contextmanager
def output_errors(folder: Path) -> Iterator[None]:
    """Turn what the file system says into one sentence."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}.") from error


def claim(folder: Path, request: "DataclassInstance", made: str) -> None:
    """Refuse to mix two different requests in one folder; `made` is what a foreign folder would
    hold.
    """
    note = folder / "request.json"
    wanted = json.dumps(asdict(request))
    if note.exists() and note.read_text(encoding="utf-8").strip() != wanted:
        raise OutputError(f"{folder} holds something else; choose another folder or remove it.")
    if not note.exists() and any(folder.glob(made)):
        raise OutputError(f"{folder} holds files that were not made here; choose another folder.")
    _replace(note, wanted + "\n")


class Video:
    """An H.264 file, written frame by frame; the same pictures give the same file.

    Frames are padded to whole macroblocks here and cropped by the stream's header: left to itself,
    x264 fills the rest of a block with what happens to be in memory, and files differ.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float, crf: int) -> None:
        width, height = size
        self._right, self._below = -width % 16, -height % 16
        self._file = av.open(str(path), "w", format="mp4")
        rate = Fraction(fps).limit_denominator(1001)
        options = {
            "crf": str(crf),
            "preset": "veryfast",
            "threads": "1",
            "bf": "0",  # and no looking ahead: as cameras do, and steadier from run to run
            "g": str(max(1, round(2 * fps))),
            "x264-params": f"crop-rect=0,0,{self._right},{self._below}:"
            "mbtree=0:weightp=0:rc-lookahead=0",
        }
        self._stream = self._file.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height = width + self._right, height + self._below
        self._stream.pix_fmt = "yuv420p"
        self._stream.thread_count = 1
        self._stream.codec_context.time_base = self._tick = 1 / rate
        self._count = 0

    def add(self, image: Image) -> None:
        """Append one picture."""
        whole = cv2.copyMakeBorder(image, 0, self._below, 0, self._right, cv2.BORDER_REPLICATE)
        # OpenCV's conversion is the same on every run; swscale's threads may not be
        planes = cv2.cvtColor(whole, cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = self._count, self._tick
        self._count += 1
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        self._file.mux(self._stream.encode())
        self._file.close()


def mot_rows(number: int, rendered: Rendered) -> str:
    """Lines of MOT ground truth for frame `number`, counted from 1."""
    lines = [
        f"{number},{person},{x0:.0f},{y0:.0f},{x1 - x0:.0f},{y1 - y0:.0f},1,1,{share:.4f}\n"
        for person, (x0, y0, x1, y1), share in zip(
            rendered.ids, rendered.boxes, rendered.visibility, strict=True
        )
    ]
    return "".join(lines)


def _write_camera(job: tuple[SiteRequest, str, Path], tally: Tally) -> None:
    request, name, folder = job
    feed = Feed(
        request.load(), name, request.seed, duration=request.duration, palette=request.palette
    )
    part, rows = folder / f"{name}.mp4.part", folder / "gt" / f"{name}.txt.part"
    with output_errors(folder), rows.open("w", encoding="ascii") as truth:
        video = Video(part, feed.camera.size, feed.site.fps, feed.camera.optics.crf)
        for shot in feed:
            video.add(shot.rendered.image)
            truth.write(mot_rows(shot.index + 1, shot.rendered))
            tally.add()
        video.close()
    rows.replace(folder / "gt" / f"{name}.txt")
    part.replace(folder / f"{name}.mp4")  # last: its presence says that the camera is complete


def _complete(folder: Path, name: str) -> bool:
    return (folder / f"{name}.mp4").is_file() and (folder / "gt" / f"{name}.txt").is_file()


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _described(site: Site, request: SiteRequest, folder: Path) -> dict[str, object]:
    """What `site.json` says."""
    names = [camera.name for camera in site.cameras]
    transits = transits_of({name: folder / "gt" / f"{name}.txt" for name in names}, site.fps)
    cameras = {
        camera.name: {
            "width": camera.size[0],
            "height": camera.size[1],
            "matrix": camera.matrix.tolist(),
            "distortion": [camera.k1, 0.0, 0.0, 0.0, 0.0],
            "rotation": camera.rotation.tolist(),
            "translation": camera.translation.tolist(),
            "position": list(camera.position),
            "floor_to_image": camera.homography.tolist(),
            "image_to_floor": np.linalg.inv(camera.homography).tolist(),
        }
        for camera in site.cameras
    }
    return {
        "name": site.name,
        "request": asdict(request),
        "fps": site.fps,
        "frames": max(1, round(request.duration * site.fps)),
        "units": "metres, seconds, pixels; homographies map undistorted pixels; OpenCV conventions",
        "bounds": list(site.bounds),
        "doors": [list(door) for door in site.doors],
        "cameras": cameras,
        "travel_times": travel_times(transits),
        "transits": [asdict(transit) for transit in transits],
    }
