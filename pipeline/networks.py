"""The networks that settings name: opened, warmed up, and asked what they are."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

import numpy as np

from engines import FrameAverages, StreamingReid, open_engine
from engines.adopt import adopt
from engines.engine import Engine
from engines.opening import is_foreign
from engines.package import FASTEST, Head, Kind, read_manifest, sha256
from pipeline.detect import Detector, DetectorSpec
from pipeline.errors import SettingsError
from pipeline.frames import Detections, Frame
from pipeline.live import TRACKING
from pipeline.settings import DetectorSettings, EmbedderSettings
from pipeline.track import TrackerSettings
from pipeline.zones import Detect

OpenNetwork: TypeAlias = Callable[[Path, int | None], Engine]
"""Opens a package, or a foreign graph, for no more than so many pictures at once, where that is known."""


def open_fastest(path: Path, most: int | None = None) -> Engine:
    """The network computing as fast as this machine can, for no more than so many pictures at once."""
    return open_engine(path, precision=FASTEST, max_batch=most)


def side_by_side(
    first: Callable[[], Detect], second: Callable[[], StreamingReid], *, threads: bool
) -> tuple[Detect, StreamingReid]:
    """What both open. With `threads` the first one works on a thread of its own.

    Whoever is told to stop does not wait for it: nobody can stop a network that is being opened.
    """
    if not threads:
        later = second()
        return first(), later
    helper = ThreadPoolExecutor(1, "opening")
    try:
        opening = helper.submit(first)
        later = second()
        return opening.result(), later
    finally:
        helper.shutdown(wait=False, cancel_futures=True)


def open_detector(
    settings: DetectorSettings,
    open_network: OpenNetwork,
    most: int | None = None,
    hands: int = 1,
) -> Detect:
    """The detector that the settings name: a package of ours or a foreign graph. `most`: pictures at once.

    `hands`: so many threads may look at once. More of them wait for one another.
    """
    path = Path(settings.package)
    head, size = _head(path)
    spec = DetectorSpec(head=head, size=size, classes=settings.classes, score=settings.score)
    if settings.precision != FASTEST:
        open_network = partial(_open_in, settings.precision)
    engine = open_network(path, most)
    detectors = [Detector(engine, spec) for _ in range(hands)]
    nothing = np.full((*size, 3), spec.fill, np.uint8)
    detectors[0]([nothing] * (most or 1))  # the first run takes longest
    idle: SimpleQueue[Detector] = SimpleQueue()
    for detector in detectors:
        idle.put(detector)

    def detect(frames: Sequence[Frame]) -> list[Detections]:
        detector = idle.get()
        try:
            return detector([frame.shown for frame in frames])
        finally:
            idle.put(detector)

    return detect


def open_pool(settings: EmbedderSettings, open_network: OpenNetwork) -> StreamingReid:
    """Slots of the embedder that the settings name; one that embeds single frames gets their mean."""
    path = Path(settings.package)
    kind = adopt(path).kind if is_foreign(path) else read_manifest(path).kind
    engine = open_network(path, None)
    if kind not in (Kind.GRL_STREAM, Kind.FRAME_EMBEDDER):
        raise SettingsError(f"{path} is a {kind}, not an embedder of crops")
    stream = engine if kind is Kind.GRL_STREAM else FrameAverages(engine)
    pool = StreamingReid(stream, settings.slots)
    slot = pool.open()  # here too
    pool.step(np.array([slot]), np.full((1, *pool.crop_size, 3), 114, np.uint8))
    pool.close(slot)
    return pool


def may_look_ahead(settings: DetectorSettings) -> bool:
    """Whether any thread may run that detector, or only the one that opened it."""
    path = Path(settings.package)
    return is_foreign(path) or read_manifest(path).backend != "tensorrt"


def tracking(detector: DetectorSettings) -> TrackerSettings:
    """How sure the tracker may be of that detector's boxes."""
    path, sure = Path(detector.package), detector.sure
    if sure is None and not is_foreign(path):
        sure = read_manifest(path).sure
    sure = 0.5 if sure is None else sure
    return replace(TRACKING, sure=sure, beyond_doubt=max(sure + 0.1, TRACKING.beyond_doubt))


def network_of(settings: EmbedderSettings) -> tuple[str, str]:
    """Name and weights' hash of an embedder: embeddings of equal ones can be compared, in whatever precision."""
    path = Path(settings.package)
    if not is_foreign(path):
        manifest = read_manifest(path)
        return manifest.network, manifest.source_sha256
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else path
    return path.stem, sha256(weights)


def _open_in(precision: str, path: Path, most: int | None = None) -> Engine:
    return open_engine(path, precision=precision, max_batch=most)


def _head(path: Path) -> tuple[Head, tuple[int, int]]:
    if is_foreign(path):
        adopted = adopt(path)
        head, size = adopted.head, adopted.size
    else:
        manifest = read_manifest(path)
        head, size = manifest.head, manifest.input_size
    if head is None:
        raise SettingsError(f"{path} is not a detector")
    return head, size
