"""One whole pipeline over the cameras of a site, from compressed video to tracks.

    python peer_runs.py NAME JOB.json ANSWER.npz

Runs in the peer's own environment, hence needs nothing but numpy and that peer. Every peer decodes with
its own means, camera after camera: to a peer that knows one camera at a time that costs nothing, and it
keeps its caches warm. The first frames of a camera warm up and are not timed.
"""

import importlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Theirs: TypeAlias = Any
"""Whatever a peer takes or gives."""


@dataclass(frozen=True, slots=True)
class Job:
    """What all contestants are given."""

    videos: list[str]
    weights: str
    """The detector, as Ultralytics trained it."""
    export: str
    """The same network as Ultralytics exports it to OpenVINO."""
    package: str
    """The same network as a package of ours."""
    embedder: str
    size: tuple[int, int]
    """Height and width that the detector sees."""
    threads: int
    scratch: str
    most: int | None = None
    """Frames of each video that a peer is given; all."""


@dataclass(slots=True)
class Followed:
    """One camera: MOT rows, and what every track looked like when it was last seen."""

    rows: list[np.ndarray] = field(default_factory=list)
    looks: dict[int, np.ndarray] = field(default_factory=dict)

    def note(self, frame: int, ids: np.ndarray, boxes: np.ndarray) -> None:
        sizes = boxes[:, 2:] - boxes[:, :2]
        self.rows.append(np.column_stack([np.full(len(ids), frame), ids, boxes[:, :2], sizes]))


def ultralytics(job: Job, video: str, weights: str, reid: str | None) -> Iterator[Followed]:
    """`YOLO(weights).track(video)`: BoT-SORT as shipped, with re-ID by the network that is named."""
    package = importlib.import_module("ultralytics")
    utils = importlib.import_module("ultralytics.utils")
    config = utils.YAML.load(Path(package.__file__).parent / "cfg/trackers/botsort.yaml")
    config |= {"with_reid": reid is not None, "model": reid or "auto"}
    settings = Path(job.scratch) / "botsort.yaml"
    utils.YAML.save(settings, config)
    model = package.YOLO(weights, task="detect")
    stream = model.track(
        video, stream=True, tracker=str(settings), imgsz=list(job.size), classes=[0], conf=0.1,
        device="cpu", verbose=False,
    )  # fmt: skip
    followed = Followed()
    for frame, result in enumerate(stream, start=1):
        boxes = result.boxes
        if boxes.id is not None:
            followed.note(frame, boxes.id.cpu().numpy(), boxes.xyxy.cpu().numpy())
        for track in model.predictor.trackers[0].tracked_stracks:
            if track.smooth_feat is not None:
                followed.looks[int(track.track_id)] = np.asarray(track.smooth_feat, np.float32)
        yield followed


def classifier(job: Job) -> str:
    """Ultralytics' own re-ID network for exports, as a file, with the weights that it begins with."""
    path = Path(job.scratch) / "yolo26n-cls.pt"
    if not path.exists():
        importlib.import_module("ultralytics").YOLO("yolo26n-cls.yaml").save(path)
    return str(path)


def boxmot(job: Job, video: str) -> Iterator[Followed]:
    """BoxMOT's BoT-SORT behind the same detector, with its OSNet in random weights."""
    torch, cv2 = map(importlib.import_module, ("torch", "cv2"))
    detector = importlib.import_module("ultralytics").YOLO(job.weights, task="detect")
    family = importlib.import_module("boxmot.reid.backbones.families.osnet")
    network = family.osnet_x0_25(num_classes=1, pretrained=False).eval()

    class Looks:
        @torch.inference_mode()
        def get_features(self, boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
            whole = np.clip(np.asarray(boxes)[:, :4].astype(int), 0, None)
            crops = [
                cv2.resize(image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], (128, 256))
                for x0, y0, x1, y1 in whole
            ]
            if not crops:
                return np.empty((0, 512), np.float32)
            pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
            return np.asarray(network(pixels).numpy())

    tracker = importlib.import_module("boxmot").BotSort(reid_model=Looks())
    followed, capture, frame = Followed(), cv2.VideoCapture(video), 0
    while True:
        there, image = capture.read()
        if not there:
            return
        frame += 1
        (result,) = detector.predict(
            image, imgsz=list(job.size), classes=[0], conf=0.1, device="cpu", verbose=False
        )
        tracks = np.asarray(tracker.update(result.boxes.data.cpu().numpy(), image))
        if len(tracks):
            followed.note(frame, tracks[:, 4], tracks[:, :4])
        yield followed


PEERS = {
    "ultralytics": lambda job, video: ultralytics(job, video, job.weights, "auto"),
    "ultralytics OpenVINO": lambda job, video: ultralytics(job, video, job.export, None),
    "ultralytics OpenVINO, re-ID": lambda job, video: ultralytics(
        job, video, job.export, classifier(job)
    ),
    "BoxMOT": boxmot,
}
WARM_UP = 10
"""Frames of a camera that are not timed."""


def run_peer(name: str, job: Job) -> dict[str, np.ndarray]:
    """All cameras of a job, one after the other."""
    answer: dict[str, np.ndarray] = {}
    seconds: list[float] = []
    processor = 0.0
    for camera, video in enumerate(job.videos):
        followed, began, cpu = Followed(), 0.0, 0.0
        shown = islice(PEERS[name](job, video), job.most)
        for number, followed in enumerate(shown):  # noqa: B007 - the last is kept
            now = time.perf_counter()
            if number >= WARM_UP:
                seconds.append(now - began)
            elif number == WARM_UP - 1:
                cpu = processor_seconds()
            began = time.perf_counter()
        processor += processor_seconds() - cpu
        answer[f"{camera}/rows"] = np.concatenate([*followed.rows, np.empty((0, 6))])
        ids = sorted(followed.looks)
        answer[f"{camera}/tracks"] = np.array(ids, np.int64)
        answer[f"{camera}/looks"] = np.array([followed.looks[k] for k in ids], np.float32)
    times = np.array(seconds)
    return answer | measures(len(times), times.sum(), processor, times)


def throughline(job: Job) -> dict[str, np.ndarray]:
    """Ours, as the command line runs it: all cameras at once, files completely, no videos drawn; on
    a rendered site with its measured floor, as in the demonstration.
    """
    run, settings = map(importlib.import_module, ("pipeline.run", "pipeline.settings"))
    mot, ground = map(importlib.import_module, ("pipeline.mot_text", "calibration.commands.ground"))
    known, measured = Path(job.scratch) / "site.toml", Path(job.videos[0]).parent / "site.json"
    if measured.is_file():
        ground.calibrate_known(measured, known)
    floor = settings.load_settings(known) if measured.is_file() else settings.Settings()
    site = settings.Settings(
        camera=tuple(settings.CameraSettings(video) for video in job.videos),
        detector=settings.DetectorSettings(package=job.package),
        embedder=settings.EmbedderSettings(package=job.embedder),
        ground=floor.ground,
        overlap=floor.overlap,
    )
    folder = Path(job.scratch) / "run"
    summary = run.run(site, run.RunOptions(folder, every_frame=True, video=False, start=0.0))
    # Networks are open by then, as the peers' are after the frames that warm them up.
    cpu = float(summary["processor_seconds"])
    frames, cameras = int(summary["frames"]), len(job.videos)
    work = sum(took for stage, took in summary["stage_seconds"].items() if stage != "wait")
    # a frame waits for those that are looked at with it: one of each camera, or of several rounds
    together = max(cameras, run.AHEAD)
    answer = measures(frames, summary["seconds"], cpu, np.array([work * together / frames]))
    for camera, name in enumerate(summary["cameras"]):
        path = folder / "tracks" / f"{name}.txt"
        found = mot.read_mot(path) if path.exists() else mot.parse(np.empty((0, 6)))
        sizes = found.boxes[:, 2:] - found.boxes[:, :2]
        answer[f"{camera}/rows"] = np.column_stack(
            [found.frames, found.ids, found.boxes[:, :2], sizes]
        )
    return answer


def prepare_torchvision() -> None:
    """Beside a CPU torch the compiled part of torchvision may not load: then OpenCV's, compiled
    too, suppresses boxes, so that no peer is slowed by a stand-in.
    """
    importlib.import_module("trainer.compat").import_with_torchvision("ultralytics")
    torch, cv2, vision = map(importlib.import_module, ("torch", "cv2", "torchvision"))

    def nms(boxes: Theirs, scores: Theirs, limit: float) -> Theirs:
        sides = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)
        kept = cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), 0.0, limit)
        return torch.as_tensor(np.asarray(kept, np.int64).reshape(-1))

    try:
        vision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
        native = vision.extension._has_ops()
    except (RuntimeError, AttributeError):
        native = False
    if not native:
        vision.ops.nms = nms


def measures(
    frames: int, seconds: float, processor: float, latency: np.ndarray
) -> dict[str, np.ndarray]:
    return {
        "frames_per_second": np.array(frames / seconds),
        "processor_ms_per_frame": np.array(1e3 * processor / frames),
        "peak_memory_mb": np.array(_peak_memory()),
        "latency_ms": np.array(1e3 * latency.mean()),
    }


def processor_seconds() -> float:
    """Of this process with all its threads, and of its children."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def _peak_memory() -> float:
    """Megabytes. What `getrusage` says begins with the size of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    name, given, answer = sys.argv[1:]
    raw = json.loads(Path(given).read_text())
    job = Job(**raw | {"size": tuple(raw["size"])})
    if name == "throughline":
        result = throughline(job)
    else:
        prepare_torchvision()
        importlib.import_module("torch").set_num_threads(job.threads)
        result = run_peer(name, job)
    np.savez(answer, **result)


if __name__ == "__main__":
    main()
