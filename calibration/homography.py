"""From one plane to another: a homography from point pairs, some of which are wrong."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from calibration.errors import RefusedError, TooLittleError

Floats = NDArray[np.float64]

LEAST = 4
"""Point pairs that fix a homography."""
_THIN = 0.03
"""Of a cloud of points, least extent over greatest below which it is a line."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A homography and how well it explains its points."""

    matrix: Floats
    """(3, 3) source to target."""
    inliers: NDArray[np.bool_]
    """(N,) the point pairs that agree with it."""
    pixels: Floats
    """(N,) residuals in the source, which is a picture."""
    units: Floats
    """(N,) residuals in the target."""
    coverage: float
    """Share of the picture that the outline of the inliers spans."""

    def told(self, values: Floats) -> tuple[float, float]:
        """Median and 90th percentile over the inliers."""
        some = values[self.inliers]
        return float(np.median(some)), float(np.quantile(some, 0.9))


def fit(source: Floats, target: Floats, size: tuple[int, int], tolerance: float, what: str) -> Fit:
    """Source pixels (N, 2) of a picture of `size` to target points (N, 2).

    `tolerance` in pixels tells right pairs from wrong ones; `what` names the points in errors.
    """
    if len(source) < LEAST:
        raise TooLittleError(
            f"point pairs in {what}", len(source), LEAST, "spread them over the floor that is seen"
        )
    refuse_line(source, f"the points in the picture of {what}")
    refuse_line(target, f"the points on the floor of {what}")
    # Of OpenCV's methods the plain one: USAC found 5 of 28 right pairs where this one found all (OpenCV 5.0).
    back, _ = cv2.findHomography(target, source, cv2.RANSAC, tolerance, None, 10_000, 0.9999)
    if back is None:
        raise RefusedError(f"no homography fits the {len(source)} point pairs of {what}")
    for _ in range(3):  # who agrees and what they say settle together
        inliers = distances(back, target, source) <= tolerance
        if inliers.sum() < LEAST:
            break
        back = refine(back, target[inliers], source[inliers])
    pixels = distances(back, target, source)
    inliers = pixels <= tolerance
    if inliers.sum() < max(LEAST, 0.5 * len(source)):
        raise RefusedError(
            f"only {inliers.sum()} of the {len(source)} point pairs of {what} agree within {tolerance:.0f} "
            "pixels, at least half must: check for mixed up points"
        )
    refuse_line(source[inliers], f"those points in the picture of {what} that agree")
    matrix = np.linalg.inv(back)
    matrix /= np.abs(matrix).max()
    units = distances(matrix, source, target)
    return Fit(matrix, inliers, pixels, units, coverage(source[inliers], size))


def refine(matrix: Floats, source: Floats, target: Floats) -> Floats:
    """The least squares solution near a first guess, insensitive to what is left of wrong pairs."""
    scale, shift = _normal(source)
    target_scale, target_shift = _normal(target)
    a, b = (source - shift) / scale, (target - target_shift) / target_scale
    into = np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]])
    out = np.array(
        [[target_scale, 0, target_shift[0]], [0, target_scale, target_shift[1]], [0, 0, 1]]
    )
    guess = np.linalg.inv(out) @ matrix @ into
    guess = guess / np.linalg.norm(guess)

    def off(values: Floats) -> Floats:
        return (apply(values.reshape(3, 3), a) - b).ravel()

    spread = max(float(np.median(np.abs(off(guess.ravel())))), 1e-9)
    found = least_squares(off, guess.ravel(), loss="soft_l1", f_scale=2 * spread, max_nfev=60)
    better: Floats = out @ found.x.reshape(3, 3) @ np.linalg.inv(into)
    return better


def inverse(matrix: Floats) -> Floats:
    """The way back; numpy's error where there is none."""
    back: Floats = np.linalg.inv(matrix).astype(np.float64)
    return back


def apply(matrix: Floats, points: Floats) -> Floats:
    """(N, 2) points through a homography."""
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    depth = homogeneous[:, 2:]
    mapped: Floats = homogeneous[:, :2] / np.where(np.abs(depth) < 1e-12, 1e-12, depth)
    return mapped


def distances(matrix: Floats, source: Floats, target: Floats) -> Floats:
    """(N,) how far from its target each point ends up."""
    return np.asarray(np.hypot(*(apply(matrix, source) - target).T), np.float64)


def coverage(points: Floats, size: tuple[int, int]) -> float:
    """Share of a picture that the outline of points spans."""
    hull = cv2.convexHull(points.astype(np.float32))
    return float(cv2.contourArea(hull) / (size[0] * size[1]))


def refuse_line(points: Floats, what: str) -> None:
    """Points on one line, or in one place, fix no plane. So do all but one of them on a line."""
    for left_out in range(len(points)) if len(points) <= 8 else (-1,):
        some = np.delete(points, left_out, axis=0) if left_out >= 0 and len(points) > 3 else points
        extents = np.linalg.svd(some - some.mean(axis=0), compute_uv=False)
        if extents[0] < 1e-9 or extents[1] < _THIN * extents[0]:
            more = "all" if len(some) == len(points) else "all but one of"
            raise RefusedError(
                f"{more} {what} lie nearly on one line ({len(points)} points, {extents[1]:.3g} across "
                f"against {extents[0]:.3g} along): add points beside it"
            )


def _normal(points: Floats) -> tuple[float, Floats]:
    """A scale and a middle that bring points near the unit circle."""
    middle: Floats = points.mean(axis=0)
    return max(float(np.sqrt(((points - middle) ** 2).sum(axis=1).mean())), 1e-9), middle
