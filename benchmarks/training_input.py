"""Is the network the limit of a training, or the pictures? `python -m benchmarks.training_input`

Steps on fresh batches, decoded and augmented beside the network, against steps that see one batch
over and over; in turns within one process, compared round by round. On a CPU, which decodes and computes
alike, the ratio of processor time tells the same and is not disturbed by other programs.

And on a CPU, what a step costs by torch's own layers, by ours and by ours in bfloat16, of the crops and clips that the
last epochs of the shipped embedder have.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.engines import spread
from benchmarks.machine import this_machine
from trainer.cpu_layers import quicken
from trainer.data.dataset import Tracklet
from trainer.data.loading import Batch, TrainingBatches
from trainer.data.sampling import PairSampler
from trainer.model import create_model
from trainer.objective import Objective
from trainer.recipes import STRONG, Mode

RESULT = Path(__file__).parent / "results" / "training_input.json"
PACKAGES = ("torch", "opencv-python", "numpy")
LAYERS = {
    "float32, torch's layers": (False, False),
    "float32": (True, False),
    "bfloat16": (True, True),
}
"""Whether layers are ours, and whether they compute in half precision."""
LAST_EPOCHS = replace(STRONG, pairs=16, length=4)
SIZE = (192, 96)


def main() -> None:
    """Print steps per second of both and their ratio, and rewrite the result."""
    parser = argparse.ArgumentParser("python -m benchmarks.training_input", description=__doc__)
    parser.add_argument("--network", default="grl-edge")
    parser.add_argument("--pairs", type=int, default=STRONG.pairs)
    parser.add_argument("--steps", type=int, default=15, help="of each kind (15)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    network = create_model(options.network)
    if options.device == "cpu":
        quicken(network)
    objective = Objective(network, 64, STRONG, Mode.CLIP).to(options.device)
    optimiser = torch.optim.AdamW(objective.parameter_groups(), lr=1e-4)
    with tempfile.TemporaryDirectory() as folder:
        sampler = PairSampler(_tracklets(Path(folder), network.size), options.pairs, seed=0)
        batches = TrainingBatches(
            sampler, STRONG.augmentation, network.size, STRONG.length, threads=options.threads
        ).epoch(0)
        kept = next(batches)
        _step(objective, optimiser, kept)

        fed, compute = [], []
        for _ in range(options.steps):
            fed.append(_seconds(lambda: _step(objective, optimiser, next(batches))))
            compute.append(_seconds(lambda: _step(objective, optimiser, kept)))
        batches.close()
    crops = 2 * options.pairs * STRONG.length
    (wall_fed, cpu_fed), (wall, cpu) = np.array(fed).T, np.array(compute).T
    report = {
        "machine": this_machine(PACKAGES).as_json(),
        "command": " ".join(["python -m benchmarks.training_input", *sys.argv[1:]]),
        "network": options.network,
        "device": options.device,
        "crops_per_step": crops,
        "crops_per_second": spread((crops / wall_fed).tolist()),
        "compute_only": spread((crops / wall).tolist()),
        "ratio": spread((wall / wall_fed).tolist()),
        "processor_time_ratio": spread((cpu / cpu_fed).tolist()),
        "step_seconds": _steps(options.steps) if options.device == "cpu" else {},
    }
    print(json.dumps(report, indent=1))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")


def _steps(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds of a step by number of threads and kind of layers, which take turns."""
    rng = np.random.default_rng(0)
    shape = (2 * LAST_EPOCHS.pairs, LAST_EPOCHS.length, *SIZE, 3)
    batch = Batch(
        rng.integers(0, 256, shape, np.uint8),
        np.arange(LAST_EPOCHS.pairs).repeat(2).astype(np.int64),
    )
    ready = {}
    for name, (ours, half) in LAYERS.items():
        network = create_model("grl-edge")
        if ours:
            quicken(network)
        objective = Objective(network, 64, LAST_EPOCHS, Mode.CAUSAL)
        objective.to(memory_format=torch.channels_last)
        ready[name] = (
            objective, torch.optim.AdamW(objective.parameter_groups(), lr=1e-4), batch, half
        )  # fmt: skip
    answer, cores = {}, torch.get_num_threads()
    for threads in sorted({1, cores}):
        torch.set_num_threads(threads)
        seconds: dict[str, list[float]] = {name: [] for name in ready}
        for turn in range(rounds + 1):
            for name, step in ready.items():
                wall, _ = _seconds(partial(_step, *step))
                if turn:  # the first is to get warm by
                    seconds[name].append(wall)
        answer[str(threads)] = {name: spread(values) for name, values in seconds.items()}
    return answer


def _step(
    objective: Objective, optimiser: torch.optim.Optimizer, batch: Batch, half: bool = False
) -> None:
    device = next(objective.parameters()).device
    clips, labels = (torch.from_numpy(a).to(device) for a in (batch.clips, batch.labels))
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        terms = objective(clips, labels)
    loss = torch.stack(list(terms.values())).sum()
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    loss.item()  # waits for the device


def _seconds(action: Callable[[], None]) -> tuple[float, float]:
    """By the clock, and of the processor."""
    began = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def _tracklets(folder: Path, size: tuple[int, int]) -> list[Tracklet]:
    """128 tracklets of eight pictures that compress like photographs of people."""
    rng = np.random.default_rng(0)
    tracklets = []
    for index in range(128):
        coarse = rng.integers(0, 256, (16, 8, 3), np.uint8)
        picture = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
        paths = [str(folder / f"{index}-{frame}.jpg") for frame in range(8)]
        for path in paths:
            grain = rng.integers(-12, 13, picture.shape)
            cv2.imwrite(path, np.clip(picture + grain, 0, 255).astype(np.uint8))
        tracklets.append(Tracklet(tuple(paths), index // 2, index % 2))
    return tracklets


if __name__ == "__main__":
    main()
