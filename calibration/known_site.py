"""Cameras whose geometry is known: `site.json`, as `python -m synthetic site` writes it, or anything alike."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calibration.errors import UsageError
from calibration.floor_plan import with_view
from pipeline.ground import GroundSettings

ERROR = 0.25
"""Metres: with exact cameras, what is left is where in a stride the feet are, and how a body leans."""


def read_known(path: Path) -> tuple[GroundSettings, ...]:
    """Every camera's floor: width, height, image_to_floor (undistorted pixels), and if there is any, the lens."""
    try:
        cameras = json.loads(path.read_text())["cameras"]
        found = [_ground(name, camera) for name, camera in sorted(cameras.items())]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(
            f"{path} is not a site's description with cameras of width, height and image_to_floor: {error!r}"
        ) from error
    if not found:
        raise UsageError(f"{path} describes no camera")
    return tuple(found)


def _ground(name: str, camera: Mapping[str, object]) -> GroundSettings:
    matrix = np.array(camera["image_to_floor"], np.float64).reshape(9)
    if not np.isfinite(matrix).all():
        raise ValueError(f"image_to_floor of {name} holds what is no number")
    lens: tuple[float, ...] = ()
    distortion = np.array(camera.get("distortion", []), np.float64)
    if distortion[2:].any():
        raise ValueError(
            f"distortion of {name} has more than its first two numbers, and no more are understood"
        )
    if distortion.any():
        intrinsic = np.array(camera["matrix"], np.float64).reshape(3, 3)
        fx, fy, cx, cy = intrinsic[0, 0], intrinsic[1, 1], intrinsic[0, 2], intrinsic[1, 2]
        lens = tuple(map(float, (fx, fy, cx, cy, distortion[0], distortion[1])))
    size = int(str(camera["width"])), int(str(camera["height"]))
    return with_view(GroundSettings(name, size, tuple(map(float, matrix)), ERROR, lens))
