"""What a good embedding costs: rank-1 against milliseconds a crop.

    python -m benchmarks.embeddings                                        about five minutes
    python -m benchmarks.embeddings --package int8=engines-here/edge-int8  other packages beside the shipped one
    python -m benchmarks.embeddings --quick                                fewer people and rounds

Every embedder goes through the slots of the live loop, one crop of a tracklet at a time, as the pipeline uses it.
Rank-1 and mAP are over rendered people that nothing was trained on (or a set in the MARS layout: --reid), after 16
frames of each, query and answer in different cameras. Networks in eight bits are made from other rendered people; those
without weights are timed only. Alternatives take turns, round by round. Writes benchmarks/results/embeddings.json and
embeddings.png.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.engines import seeded, spread
from benchmarks.machine import this_machine
from benchmarks.synthetic import data_folder
from calibration.int8.quantise import Order, quantise
from engines import StreamingReid
from engines.build import Request, build
from engines.openvino import fastest
from pipeline.networks import open_fastest, open_pool
from pipeline.settings import MODELS, EmbedderSettings
from synthetic.reid_set import ReidRequest, write_reid
from trainer.baselines import histogram_embedder
from trainer.data.mars import load
from trainer.data.transforms import Clip
from trainer.embedding import Embedder
from trainer.evaluation import search
from trainer.model import save_model
from trainer.scores import embedded

RESULTS = Path(__file__).parent / "results"
RETAIL = "person-reidentification-retail-0288"
SLOTS, BATCH = 64, 4
UNSEEN = 983
"""A seed whose people, site and cameras nothing was trained on or chosen by; nor were its clothes' colours."""
FRAMES = 16
"""Of each rendered person in each camera."""
CALIBRATED = ReidRequest(seed=3, train=0, test=24, frames=8, tracklets=1, cameras=3)
"""The people that networks in eight bits are made from."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One embedder."""

    name: str
    package: Path
    trained: bool


class SlotEmbedder:
    """Tracklets through slots, as the live loop embeds them; the last answer counts."""

    def __init__(self, pool: StreamingReid) -> None:
        self.size = pool.crop_size
        self._pool = pool

    def __call__(self, frames: Sequence[Clip]) -> NDArray[np.float32]:
        slots = np.array([self._pool.open() for _ in frames])
        last = np.zeros((len(frames), self._pool.embedding_size), np.float32)
        for index in range(len(frames[0])):  # the longest is first
            active = sum(len(tracklet) > index for tracklet in frames)
            crops = np.stack([tracklet[index] for tracklet in frames[:active]])
            last[:active] = self._pool.step(slots[:active], crops)
        for slot in slots.tolist():
            self._pool.close(slot)
        return last


def main() -> None:
    options = _options()
    console = Console()
    machine = this_machine(["openvino", "numpy"])
    rounds, people = (8, 12) if options.quick else (options.rounds, options.people)
    with TemporaryDirectory() as scratch:
        entries = list(_entries(Path(scratch), options.package))
        pools = {
            entry.name: open_pool(EmbedderSettings(str(entry.package), SLOTS), open_fastest)
            for entry in entries
        }
        console.print("timing", style="dim")
        times = timed(pools, rounds)
        root = options.reid or Path(scratch) / "reid"
        if not options.reid:
            console.print(f"rendering {people} people", style="dim")
            request = ReidRequest(
                UNSEEN,
                2,
                people,
                frames=FRAMES,
                tracklets=1,
                cameras=4,
                palette="train",
                test_palette="test",
            )
            write_reid(request, root)
        dataset = load(root)
        judges: dict[str, Embedder] = {
            entry.name: SlotEmbedder(pools[entry.name]) for entry in entries if entry.trained
        }
        judges["histogram"] = histogram_embedder()
        rows = []
        for name in [*(entry.name for entry in entries), "histogram"]:
            console.print(f"judging {name}", style="dim")
            found = search(*embedded(dataset, judges[name])) if name in judges else None
            rows.append(
                {
                    "name": name,
                    "rank1": found and found.rank1,
                    "mAP": found and found.mean_average_precision,
                    "ms": times.get(name),
                }
            )
    options.output.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": machine.as_json(),
        "command": "python -m benchmarks.embeddings",
        "data": str(options.reid.name) if options.reid else f"{people} rendered people, 4 cameras",
        "quick": options.quick,
        "batch": BATCH,
        "rows": rows,
    }
    (options.output / "embeddings.json").write_text(json.dumps(report, indent=1) + "\n")
    plot(rows, options.output / "embeddings.png")
    table = Table("embedder", "rank-1", "mAP", "ms a crop")
    for row in rows:
        name = str(row["name"])
        shares = ("no weights" if row[k] is None else f"{row[k]:.3f}" for k in ("rank1", "mAP"))
        table.add_row(name, *shares, f"{times[name]['median']:.2f}" if name in times else "")
    console.print(table)


def timed(pools: Mapping[str, StreamingReid], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds a crop, in batches of `BATCH`, in turn."""
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in pools}
    crops = {
        name: rng.integers(0, 256, (BATCH, *pool.crop_size, 3), np.uint8)
        for name, pool in pools.items()
    }
    slots = {name: np.array([pool.open() for _ in range(BATCH)]) for name, pool in pools.items()}
    for turn in range(rounds + 2):
        for name, pool in pools.items():
            began = time.perf_counter()
            pool.step(slots[name], crops[name])
            if turn >= 2:  # the first ones warm up
                times[name].append(1e3 * (time.perf_counter() - began) / BATCH)
    for name, pool in pools.items():
        for slot in slots[name].tolist():
            pool.close(slot)
    return {name: spread(values) for name, values in times.items()}


def plot(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Better is up, cheaper is left; what has no weights stands on the floor, hollow. Colours have no price."""
    mpl.use("Agg")
    figure, axis = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    shown = [(row, row["ms"], row["rank1"]) for row in rows if isinstance(row["ms"], dict)]
    floor = min((rank1 for _, _, rank1 in shown if isinstance(rank1, float)), default=0.5) - 0.02
    for number, (row, ms, rank1) in enumerate(shown):
        assert isinstance(ms, dict)
        known = isinstance(rank1, float)
        height = rank1 if isinstance(rank1, float) else floor
        ends = [[ms["median"] - ms["least"]], [ms["most"] - ms["median"]]]
        axis.errorbar(
            ms["median"], height, xerr=ends, fmt="o", capsize=3, color="black" if known else "grey",
            markerfacecolor="black" if known else "white",
        )  # fmt: skip
        told = str(row["name"]) + ("" if known else " (no weights)")
        axis.annotate(
            told, (ms["median"], height), textcoords="offset points", va="center",
            xytext=(0, 12 if number % 2 else -13), ha="center", fontsize=9,
        )  # fmt: skip
    axis.set(xscale="log", xlabel="milliseconds a crop (least, median, most)", ylabel="rank-1")
    axis.margins(x=0.2, y=0.25)
    axis.grid(alpha=0.3, which="both")
    axis.set_title("What a good embedding costs")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _entries(scratch: Path, packages: Sequence[tuple[str, Path]]) -> Sequence[Entry]:
    """The shipped network, the paper's (in random weights if none are given), both in eight bits, and others."""
    people = scratch / "calibrated"
    write_reid(CALIBRATED, people)
    shipped = MODELS / "grl-edge.safetensors"
    entries = [
        Entry("grl-edge", MODELS / "grl-edge", True),
        Entry("grl-edge, int8", _in_eight_bits(shipped, people, scratch / "grl-edge-int8"), True),
    ]
    if "grl-r50" not in dict(packages):
        weights, package = scratch / "grl-r50.safetensors", scratch / "grl-r50"
        save_model(seeded("grl-r50"), "grl-r50", weights)
        build(Request(weights, package, precision=fastest()))
        narrow = _in_eight_bits(weights, people, scratch / "grl-r50-int8")
        entries += [Entry("grl-r50", package, False), Entry("grl-r50, int8", narrow, False)]
    entries += [Entry(name, package, True) for name, package in packages]
    retail = data_folder() / "models" / RETAIL / "FP16" / f"{RETAIL}.xml"
    return [*entries, *([Entry("retail-0288", retail, True)] if retail.exists() else [])]


def _in_eight_bits(weights: Path, people: Path, output: Path) -> Path:
    """As `python -m calibration int8 --force` makes it."""
    order = Order(
        weights, output, people / "bbox_test", pictures=100, sensitivity=False, force=True
    )
    quantise(order, lambda what, done: None)
    return output


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--package", type=_named, action="append", default=[], metavar="NAME=DIR",
        help="another embedder with trained weights; may be repeated",
    )  # fmt: skip
    parser.add_argument("--reid", type=Path, help="people in the MARS layout (rendered)")
    parser.add_argument("--people", type=int, default=60, help="rendered ones (60)")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for what is written")
    return parser.parse_args()


def _named(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not path or not Path(path).exists():
        raise argparse.ArgumentTypeError(
            f"expected NAME=DIR of a package that exists, not '{text}'"
        )
    return name, Path(path)


if __name__ == "__main__":
    main()
