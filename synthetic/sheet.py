"""Contact sheets: what was written, to be looked at."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.render import Image

Row = NDArray[np.float64]
"""Person, left, top, width, height, visibility."""

_CELL = (480, 270)
_CROP = (96, 192)
_MOMENTS = 6


def site_sheets(folder: Path, cameras: Sequence[str]) -> list[Path]:
    """`sheet_frames.jpg`: every camera at some moments; `sheet_identity.jpg`: who is seen most."""
    truth = {name: _truth(folder / "gt" / f"{name}.txt") for name in cameras}
    count = max((max(rows, default=1) for rows in truth.values()), default=1)
    moments = [round(1 + k * (count - 1) / (_MOMENTS - 1)) for k in range(_MOMENTS)]
    grid = [
        [
            _boxed(image, truth[name].get(number, []))
            for number, image in _frames(folder, name, moments)
        ]
        for name in cameras
    ]
    person = _most_seen(truth)
    crops = [_crops(folder, name, truth[name], person) for name in cameras]
    pages = {"sheet_frames.jpg": _grid(grid, _CELL), "sheet_identity.jpg": _grid(crops, _CROP)}
    for name, page in pages.items():
        cv2.imwrite(str(folder / name), page)
    return [folder / name for name in pages]


def reid_sheet(folder: Path, half: str = "test", people: int = 12) -> Path:
    """`sheet_<half>.jpg`: a row per identity, two crops of every tracklet."""
    rows = []
    for home in sorted((folder / f"bbox_{half}").iterdir())[:people]:
        tracklets: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(home.glob("*.jpg")):
            tracklets[path.name[:11]].append(path)
        chosen = [
            path for paths in tracklets.values() for path in (paths[0], paths[len(paths) // 2])
        ]
        rows.append([_read(path) for path in chosen[:16]])
    page = folder / f"sheet_{half}.jpg"
    cv2.imwrite(str(page), _grid(rows, _CROP))
    return page


def detection_sheet(folder: Path, columns: int = 4, count: int = 16) -> Path:
    """`sheet.jpg`: pictures spread over the set, with their labels."""
    pictures = sorted((folder / "images").glob("*/*.jpg"))
    chosen = [pictures[k * len(pictures) // count] for k in range(min(count, len(pictures)))]
    cells = []
    for path in chosen:
        image = _read(path)
        label = folder / "labels" / path.parent.name / f"{path.stem}.txt"
        boxes = np.loadtxt(label, ndmin=2).reshape(-1, 5)[:, 1:]
        sizes = boxes[:, 2:]
        corners = np.concatenate([boxes[:, :2] - sizes / 2, sizes], axis=1) * (
            [*image.shape[1::-1]] * 2
        )
        cells.append(_boxed(image, [np.array([-1, *box, 1.0]) for box in corners]))
    page = folder / "sheet.jpg"
    cv2.imwrite(
        str(page), _grid([cells[k : k + columns] for k in range(0, len(cells), columns)], _CELL)
    )
    return page


def _truth(path: Path) -> dict[int, list[Row]]:
    rows: dict[int, list[Row]] = defaultdict(list)
    for line in path.read_text(encoding="ascii").splitlines():
        fields = np.array(line.split(","), dtype=np.float64)
        rows[int(fields[0])].append(fields[[1, 2, 3, 4, 5, 8]])
    return rows


def _frames(folder: Path, camera: str, numbers: Sequence[int]) -> Iterator[tuple[int, Image]]:
    """The frames of those numbers, counted from 1, in their order."""
    wanted = set(numbers)
    with av.open(str(folder / f"{camera}.mp4")) as file:
        for number, frame in enumerate(file.decode(video=0), start=1):
            if number in wanted:
                yield number, frame.to_ndarray(format="bgr24")
            if number >= max(wanted):
                return


def _crops(folder: Path, camera: str, truth: dict[int, list[Row]], person: int) -> list[Image]:
    """Up to 16 crops of a person from one camera, spread over the time that they show."""
    seen = [
        (n, r) for n, rows in sorted(truth.items()) for r in rows if r[0] == person and r[5] > 0.3
    ]
    chosen = dict(seen[k * len(seen) // 16] for k in range(16)) if seen else {}
    crops = []
    for number, image in _frames(folder, camera, list(chosen) or [1]):
        if number in chosen:
            _, x, y, w, h, _ = (int(v) for v in chosen[number])
            crops.append(image[max(0, y) : y + h, max(0, x) : x + w])
    return crops


def _most_seen(truth: dict[str, dict[int, list[Row]]]) -> int:
    """Whoever is seen by most cameras, and among them longest."""
    frames: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for camera, rows in truth.items():
        for frame in rows.values():
            for row in frame:
                frames[int(row[0])][camera] += 1
    ranked = sorted(frames, key=lambda k: (len(frames[k]), sum(frames[k].values())))
    return ranked[-1] if ranked else 0


def _boxed(image: Image, rows: Sequence[Row]) -> Image:
    drawn = image.copy()
    for person, x, y, w, h, share in rows:
        hue = int(person * 47) % 180
        bright = np.array([[[hue, 220, 255 if share >= 0.5 else 130]]], dtype=np.uint8)
        colour = tuple(int(v) for v in cv2.cvtColor(bright, cv2.COLOR_HSV2BGR)[0, 0])
        corner = round(x), round(y)
        cv2.rectangle(drawn, corner, (round(x + w) - 1, round(y + h) - 1), colour, 1)
        if person >= 0:
            text = f"{person:.0f} {share:.2f}"
            cv2.putText(
                drawn, text, (corner[0], corner[1] - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour
            )
    return drawn


def _grid(rows: Sequence[Sequence[Image]], cell: tuple[int, int]) -> Image:
    width = max((len(row) for row in rows), default=1) or 1
    page = np.full((cell[1] * max(1, len(rows)), cell[0] * width, 3), 40, dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            small = cv2.resize(image, cell, interpolation=cv2.INTER_AREA)
            page[r * cell[1] : (r + 1) * cell[1], c * cell[0] : (c + 1) * cell[0]] = small
    return page


def _read(path: Path) -> Image:
    return np.asarray(cv2.imread(str(path)), dtype=np.uint8)
