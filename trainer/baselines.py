"""What a network must beat: colours."""

import cv2
import numpy as np

from trainer.data.transforms import HEIGHT, WIDTH, Clip
from trainer.embedding import FloatArray, FrameMeanEmbedder

STRIPES = 6
BINS = (8, 4, 4)
"""Hue, saturation, value."""


def histogram_embedder() -> FrameMeanEmbedder:
    """Square roots of HSV histograms of six horizontal stripes, averaged over frames."""
    return FrameMeanEmbedder(stripe_histograms, (HEIGHT, WIDTH))


def stripe_histograms(frames: Clip) -> FloatArray:
    """(N, H, W, 3) uint8 BGR to (N, stripes · bins). Only the middle half of the width counts, where
    the person is."""
    count, height, width = frames.shape[:3]
    tall = cv2.cvtColor(frames.reshape(-1, width, 3), cv2.COLOR_BGR2HSV)
    hsv = tall.reshape(count, height, width, 3)[:, :, width // 4 : width - width // 4]
    scale = np.array(BINS) / np.array([180, 256, 256])
    hue, saturation, value = np.moveaxis((hsv * scale).astype(np.int64), -1, 0)
    stripe = np.arange(height) * STRIPES // height
    cell = (hue * BINS[1] + saturation) * BINS[2] + value
    place = np.arange(count)[:, None, None] * STRIPES + stripe[None, :, None]
    bins = int(np.prod(BINS))
    counts = np.bincount((place * bins + cell).ravel(), minlength=count * STRIPES * bins)
    counts = counts.reshape(count, STRIPES, bins)
    shares: FloatArray = (counts / counts.sum(-1, keepdims=True)).astype(np.float32)
    return np.sqrt(shares).reshape(count, -1)
