"""What decides whether a quantised network is good enough: labels where there are some, else the network itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from calibration.errors import TooLittleError, UsageError
from calibration.int8.likeness import average_precision, cosines
from calibration.int8.samples import Samples, steps_of
from engines.engine import Engine
from engines.package import Head, Kind, Manifest
from pipeline.detect import Detector, DetectorSpec
from pipeline.frames import Detections, FloatArray
from pipeline.pixels import Image

AP_ALLOWED = 0.01
COSINE_ALLOWED, AGREEMENT_ALLOWED = 0.01, 0.03
LEAST_PEOPLE = 20
SURE = 0.25
"""The network's own detections from here on count as people where there are no labels."""
DRIFT_STEPS = (1, 8, 64)
_BATCH = 16


class Judge(Protocol):
    """Says how good a network is: higher is better."""

    measure: str
    judged_on: str
    allowed: float
    """How much less the quantised network may reach."""

    def __call__(self, engine: Engine) -> float: ...


class StreamLikeness:
    """Mean cosine with the network's own embeddings, over all steps of streams that it was not measured on."""

    measure, allowed = "cosine", COSINE_ALLOWED

    def __init__(self, reference: Engine, samples: Samples) -> None:
        self._samples = samples
        self._wanted = steps_of(reference, samples, "embedding")
        self.judged_on = f"no labels: the network itself, {samples.source}"

    def __call__(self, engine: Engine) -> float:
        given = steps_of(engine, self._samples, "embedding")
        return float(np.nan_to_num(cosines(given, self._wanted)).mean())


@dataclass(frozen=True, slots=True)
class Pictures:
    """Frames with the boxes of the people in them."""

    images: Sequence[Image]
    truth: Sequence[FloatArray]
    """By picture, (M, 4) float32: left, top, right, bottom in pixels."""
    source: str


class LabelledDetector:
    """AP50 of a detector on frames of known people."""

    measure, allowed = "AP50", AP_ALLOWED

    def __init__(self, manifest: Manifest, pictures: Pictures) -> None:
        self._manifest, self._pictures = manifest, pictures
        people = sum(map(len, pictures.truth))
        if people < LEAST_PEOPLE:
            raise TooLittleError(f"people labelled in {pictures.source}", people, LEAST_PEOPLE)
        self.judged_on = f"{people} people in {len(pictures.images)} frames of {pictures.source}"

    def __call__(self, engine: Engine) -> float:
        found = detections(engine, self._manifest, self._pictures.images, least=0.01)
        return average_precision(found, self._pictures.truth)


class DetectorAgreement(LabelledDetector):
    """AP50 where what the network itself is sure of stands for the truth."""

    measure, allowed = "agreement", AGREEMENT_ALLOWED

    def __init__(self, manifest: Manifest, reference: Engine, images: Sequence[Image]) -> None:
        found = detections(reference, manifest, images, least=SURE)
        truth = [picture.boxes for picture in found]
        people = sum(map(len, truth))
        if people < LEAST_PEOPLE:
            raise TooLittleError(
                f"people that {manifest.network} itself finds in {len(images)} frames",
                people,
                LEAST_PEOPLE,
                "give --labels, or frames with people in them",
            )
        super().__init__(manifest, Pictures(images, truth, "the calibration set"))
        self.judged_on = (
            f"no labels: {people} people that the network itself finds in {len(images)} frames"
        )


def detections(
    engine: Engine, manifest: Manifest, images: Sequence[Image], *, least: float
) -> list[Detections]:
    """People in pictures, as the pipeline finds them."""
    spec = DetectorSpec(
        head=manifest.head or Head.ULTRALYTICS, size=manifest.input_size, score=least
    )
    detector = Detector(engine, spec)
    found: list[Detections] = []
    for start in range(0, len(images), _BATCH):
        found += detector(images[start : start + _BATCH])
    return found


def labelled_pictures(folder: Path, most: int) -> Pictures:
    """The validation half of a set in YOLO layout: one text file beside each picture, class 0 is people."""
    half = next((h for h in ("val", "train") if (folder / "images" / h).is_dir()), None)
    if half is None or not (folder / "labels" / half).is_dir():
        raise UsageError(
            f"{folder} is not in the YOLO layout: images/val and labels/val are wanted"
        )
    paths = sorted(p for p in (folder / "images" / half).iterdir() if p.suffix in (".jpg", ".png"))
    images, truth = [], []
    for path in paths[:: max(1, len(paths) // most)][:most]:
        image = cv2.imread(str(path))
        if image is None:
            raise UsageError(f"{path} is not a picture that can be read")
        images.append(np.asarray(image, np.uint8))
        truth.append(_boxes(folder / "labels" / half / f"{path.stem}.txt", images[-1]))
    return Pictures(images, truth, folder.resolve().name)


def drift(engine: Engine, reference: Engine, samples: Samples) -> dict[str, float]:
    """Mean cosine of two streams' embeddings after 1, 8 and 64 steps over the same crops, states apart."""
    long = samples.first(max(DRIFT_STEPS), samples.steps.shape[1])
    given, wanted = (steps_of(which, long, "embedding") for which in (engine, reference))
    alike = np.nan_to_num(cosines(given, wanted)).mean(axis=1)
    return {str(step): float(alike[step - 1]) for step in DRIFT_STEPS}


def is_stream(kind: Kind) -> bool:
    return kind is Kind.GRL_STREAM


def _boxes(path: Path, image: Image) -> FloatArray:
    try:
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        found = np.array([row[1:] for row in rows if row and row[0] == "0"], np.float32)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not a label file of the YOLO layout: {error}") from error
    if found.size and (found.shape[1:] != (4,) or not np.isfinite(found).all()):
        raise UsageError(
            f"{path} is not a label file of the YOLO layout: a box is its class and four numbers"
        )
    centre, size = np.split(found.reshape(-1, 4), 2, axis=1)
    scale = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
    return np.asarray(np.hstack([centre - size / 2, centre + size / 2]) * scale, np.float32)
