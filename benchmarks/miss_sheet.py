"""A picture of a detector's worst misses: the largest and most visible people whom it did not find."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.judging import Judged, people_of
from benchmarks.known_people import Scene
from pipeline.frames import Detections

COLUMNS, ROWS, TILE = 8, 5, (220, 260)
"""Width and height of a tile."""
TRUE, FOUND, OTHERS = (0, 220, 0), (0, 0, 255), (200, 160, 0)


def write_sheet(of: Judged, least: float, path: Path) -> None:
    """Green: who was missed; blue: the others; red: what was found, with its score."""
    told = people_of(of.scenes)
    worth = np.where(of.best < least, told["height"] * told["visibility"], -1.0)
    rows = np.argsort(-worth)[: COLUMNS * ROWS]
    owners = np.repeat(np.arange(len(of.scenes)), [int(s.counted.sum()) for s in of.scenes])
    firsts = np.searchsorted(owners, owners)
    sheet = np.zeros((ROWS * TILE[1], COLUMNS * TILE[0], 3), np.uint8)
    for place, row in enumerate(rows[worth[rows] >= 0].tolist()):
        scene, found = of.scenes[owners[row]], of.found[owners[row]]
        person = int(np.nonzero(scene.counted)[0][row - firsts[row]])
        y, x = place // COLUMNS * TILE[1], place % COLUMNS * TILE[0]
        sheet[y : y + TILE[1], x : x + TILE[0]] = _tile(scene, person, found)
    if not cv2.imwrite(str(path), sheet):
        raise OSError(f"cannot write {path}")


def _tile(scene: Scene, person: int, found: Detections) -> NDArray[np.uint8]:
    high, wide = scene.image.shape[:2]
    box = scene.boxes[person]
    centre, side = (box[:2] + box[2:]) / 2, max(float((box[2:] - box[:2]).max()), 30.0) * 1.7
    scale = TILE[1] / side
    shift = np.array(TILE) / 2 - centre * scale
    matrix = np.column_stack([np.eye(2) * scale, shift])
    tile = np.asarray(cv2.warpAffine(scene.image, matrix, TILE), np.uint8)

    def draw(corners: NDArray[np.float32], colour: tuple[int, int, int], text: str = "") -> None:
        left, top, right, bottom = (
            (corners * scale + np.tile(shift, 2)).round().astype(int).tolist()
        )
        if right < 0 or bottom < 0 or left >= TILE[0] or top >= TILE[1]:
            return
        cv2.rectangle(tile, (left, top), (right, bottom), colour, 1)
        if text:
            at = min(max(left, 0), TILE[0] - 40), min(max(top + 12, 12), TILE[1] - 4)
            cv2.putText(tile, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1)

    for other in np.delete(scene.boxes, person, axis=0):
        draw(other, OTHERS)
    for row in np.nonzero(found.scores >= 0.1)[0]:
        draw(found.boxes[row], FOUND, f"{found.scores[row]:.2f}")
    draw(box, TRUE)
    text = f"{box[3] - box[1]:.0f} px, {scene.visibility[person]:.0%} of {wide}x{high}"
    cv2.putText(tile, text, (3, TILE[1] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1)
    return tile
