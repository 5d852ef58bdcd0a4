"""The trainer's command line. Nothing heavy is imported here, so that help is instant."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

NETWORKS = ("grl-edge", "grl-r50")
EPILOG = """examples:
  python -m trainer train --data mars:/data/mars --network grl-r50 --recipe paper --backbone imagenet -o runs/r50
  python -m trainer train --data runs/reid --mode clip --recipe strong -o runs/clip
  python -m trainer train --data runs/reid --mode causal --teacher runs/clip/weights.safetensors -o runs/causal
  python -m trainer settle runs/causal/weights.safetensors --data runs/reid -o runs/causal/settled.safetensors
  python -m trainer evaluate --data runs/reid runs/causal/weights.safetensors:stream,mean histogram
  python -m trainer embed --weights models/grl-edge.safetensors --mode stream crops/ -o crops.npz
  torchrun --nproc-per-node 4 -m trainer train --data mars:/data/mars --network grl-r50 -o runs/r50
"""
DATA = """mars:FOLDER, ls-vid:FOLDER, ilids-vid:FOLDER#SPLIT, prid2011:FOLDER#SPLIT, or a FOLDER in the
MARS layout (<id>/<id>C<camera>T<tracklet>F<frame>.jpg, or bbox_train and bbox_test of such)"""


def parser() -> argparse.ArgumentParser:
    """Every command with its options; `command` names the module that runs it."""
    raw = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(
        "python -m trainer",
        description="Train, judge and use networks that recognise people.",
        epilog=EPILOG,
        formatter_class=raw,
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _train(commands.add_parser("train", help="train a network", epilog=EPILOG, formatter_class=raw))
    _evaluate(commands.add_parser("evaluate", help="compare networks, modes and engines"))
    _embed(commands.add_parser("embed", help="turn tracklets into vectors"))
    _import(
        commands.add_parser("import-reference", help="convert the published code's checkpoints")
    )
    _detector(commands.add_parser("detector", help="fine-tune a YOLO to find people"))
    _likeness(commands.add_parser("likeness", help="fit what a cosine says, from vectors of embed"))
    _settle(
        commands.add_parser("settle", help="measure the memory frame by frame, for young tracklets")
    )
    _models(commands.add_parser("models", help="train the shipped weights anew"))
    return whole


def _train(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--data",
        required=True,
        nargs="+",
        help=f"{DATA}; several are learnt from together, and the first one's test half judges",
    )
    train.add_argument("--test", help="judge on this data set instead of the one learnt from")
    train.add_argument("-o", "--output", type=Path, required=True, help="folder of this training")
    train.add_argument("--network", choices=NETWORKS, default="grl-edge")
    train.add_argument("--mode", choices=("clip", "causal", "mean"), default="clip")
    train.add_argument(
        "--recipe",
        choices=("paper", "strong", "live"),
        default="strong",
        help="the paper's, a stronger one, or that with small people in compressed video (strong)",
    )
    train.add_argument("--init", type=Path, help="weights to start from")
    train.add_argument(
        "--backbone",
        help="a backbone to start from: a file of torchvision or timm weights, or imagenet (timm downloads it)",
    )
    train.add_argument("--teacher", type=Path, help="weights of the clip network to learn from")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    train.add_argument("--epochs", type=_positive, help="instead of the recipe's")
    train.add_argument("--pairs", type=_positive, help="pairs in a batch, all processes together")
    train.add_argument(
        "--family",
        type=_positive,
        help="so many people who look alike to the weights of --init are in a batch together (1: as drawn)",
    )
    train.add_argument("--length", type=_positive, help="frames in a clip")
    train.add_argument(
        "--size",
        type=_height_and_width,
        metavar="HxW",
        help="crops of this size (those of --init, else 256x128); a quarter of the pixels trains four times as fast",
    )
    train.add_argument("--lr", type=float, help="instead of the recipe's")
    train.add_argument("--seed", type=_seed, default=0)
    train.add_argument(
        "--holdout",
        type=_share,
        default=0.1,
        help="share of identities kept to judge by, for a folder without a test half (0.1)",
    )
    train.add_argument(
        "--drop-single", action="store_true", help="leave out people seen in one camera only"
    )
    train.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    train.add_argument(
        "--precision",
        choices=("no", "bf16", "fp16"),
        default="no",
        help="mixed precision; bf16 is up to twice as fast on a CPU with AMX, and on GPUs",
    )
    train.add_argument("--threads", type=_positive, default=2, help="that decode pictures (2)")
    train.add_argument("--checkpoint-every", type=_positive, default=200, help="steps (200)")
    train.add_argument("--judge-every", type=_positive, default=5, help="epochs (5)")
    train.add_argument(
        "--settle",
        type=_none_or_enough,
        default=1000,
        metavar="TRACKLETS",
        help="with which the memory of a causal network is measured in the end, as `settle` does (1000; 0: not)",
    )
    train.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument(
        "subjects",
        nargs="+",
        metavar="SUBJECT",
        help="WEIGHTS:MODE,MODE… (clip, causal, stream, window, mean), an engine package, or histogram",
    )
    evaluate.add_argument("--data", required=True, help=DATA)
    evaluate.add_argument(
        "--frames", type=_positive, nargs="*", default=[], help="also judge after so many frames"
    )
    evaluate.add_argument(
        "--holdout",
        type=_share,
        default=0.0,
        help="judge by the people alone whom a training with this --holdout and --seed left out (0: by all)",
    )
    evaluate.add_argument("--seed", type=_seed, default=0, help="of that training (0)")
    evaluate.add_argument("--rerank", action="store_true", help="also re-rank (k-reciprocal)")
    evaluate.add_argument("--report", type=Path, help="write a page of plots and examples")
    _running(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print the table as JSON")


def _embed(embed: argparse.ArgumentParser) -> None:
    embed.add_argument("folder", type=Path, metavar="DIR", help="people in the MARS layout")
    embed.add_argument("--weights", required=True, help="weights, or an engine package")
    embed.add_argument(
        "--mode", choices=("clip", "causal", "stream", "window", "mean"), default="stream"
    )
    embed.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="an .npz with embedding, ids, cameras, tracklets",
    )
    _running(embed)


def _import(reference: argparse.ArgumentParser) -> None:
    reference.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    reference.add_argument("-o", "--output", type=Path, required=True)


def _detector(detector: argparse.ArgumentParser) -> None:
    detector.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        help="a data.yaml, or folders with images/ and labels/, each with train/ and val/",
    )
    detector.add_argument(
        "--start",
        default="yolo11n.yaml",
        help="weights (.pt) or architecture (.yaml) to start from: one of ultralytics', or people.yaml, "
        "a YOLO11n that CPUs compute faster (yolo11n.yaml)",
    )
    detector.add_argument(
        "--init",
        type=Path,
        help="weights (.pt) whose layers the architecture takes over, as far as they are alike",
    )
    detector.add_argument(
        "-o", "--output", type=Path, required=True, help="folder of this training"
    )
    detector.add_argument("--epochs", type=_positive, default=30)
    detector.add_argument(
        "--size", type=_positive, default=640, help="longer side of its input (640)"
    )
    detector.add_argument("--batch", type=_positive, default=16)
    detector.add_argument(
        "--lr",
        type=_between(0, 1),
        help="AdamW's first learning rate (0.002; long trainings: MuSGD)",
    )
    detector.add_argument(
        "--whole",
        action="store_true",
        help="pictures whole and in their own shape, which is that of all, never four in one: to end a training with",
    )
    detector.add_argument("--seed", type=_seed, default=0)
    detector.add_argument("--device", default="cpu", help="cpu, or the number of a GPU (cpu)")
    detector.add_argument(
        "--half", action="store_true", help="in bfloat16 on a CPU that has it, nearly twice as fast"
    )
    detector.add_argument("--resume", action="store_true", help="go on from the last epoch")
    detector.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _between(low: float, high: float) -> Callable[[str], float]:
    """The type of an option: a number strictly between."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low < value < high:
            raise argparse.ArgumentTypeError(
                f"must be a number between {low} and {high}, not {text}"
            )
        return value

    return number


def _likeness(likeness: argparse.ArgumentParser) -> None:
    likeness.add_argument("vectors", type=Path, metavar="VECTORS.npz")
    likeness.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="PACKAGE.likeness.json beside the package that made the vectors",
    )
    likeness.add_argument(
        "--even", type=_between(-1, 1), help="cosine that says nothing, instead of the fit's"
    )
    likeness.add_argument(
        "--slope", type=_between(0, 1000), help="nats a unit of cosine, instead of the fit's"
    )
    likeness.add_argument(
        "--known",
        type=_between(0, 1),
        help="chance that a tracklet is of somebody known (not written)",
    )
    likeness.add_argument(
        "--young",
        type=_between(0, 1),
        help="how much less alike one frame alone is to its own person (not written)",
    )


def _settle(settle: argparse.ArgumentParser) -> None:
    settle.add_argument("weights", type=Path, help="of a causal network")
    settle.add_argument(
        "--data", required=True, nargs="+", help=f"what it learnt from, or its like: {DATA}"
    )
    settle.add_argument("-o", "--output", type=Path, required=True, help="the same, settled")
    settle.add_argument(
        "--recipe", choices=("paper", "strong", "live"), default="strong", help="how it learnt"
    )
    settle.add_argument("--tracklets", type=_positive, default=2000, help="so many, drawn (2000)")
    settle.add_argument("--seed", type=_seed, default=0)
    settle.add_argument("--threads", type=_positive, default=2, help="to read pictures with (2)")
    settle.add_argument("--cpu", action="store_true", help="even where there is a GPU")


def _models(models: argparse.ArgumentParser) -> None:
    models.add_argument("names", nargs="*", metavar="NAME", help="which ones (all)")
    models.add_argument(
        "--work", type=Path, default=Path("runs/models"), help="where data and trainings go"
    )
    models.add_argument(
        "--output", type=Path, default=Path("models"), help="where weights and cards go"
    )
    models.add_argument(
        "--plan",
        type=Path,
        default=Path(__file__).with_name("shipped.toml"),
        help="how weights are made (trainer/shipped.toml)",
    )
    models.add_argument("--dry-run", action="store_true", help="print the commands only")


def _running(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1… (cpu)")
    command.add_argument("--threads", type=_positive, default=2, help="that decode pictures (2)")


def _height_and_width(text: str) -> tuple[int, int]:
    height, x, width = text.partition("x")
    if not (x and height.isdigit() and width.isdigit() and min(int(height), int(width)) >= 32):
        raise argparse.ArgumentTypeError("must be HEIGHTxWIDTH, 32 or more each, as in 256x128")
    return int(height), int(width)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("must be a share of the identities, from 0 to below 1")
    return value


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text}")
    return int(text)


def _none_or_enough(text: str) -> int:
    """As `settling` wants them."""
    if text != "0" and _positive(text) < 64:
        raise argparse.ArgumentTypeError("must be 0, or 64 and more")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 0 to {2**31 - 1}, not {text}"
        )
    return int(text)
