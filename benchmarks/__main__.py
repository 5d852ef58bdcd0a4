"""Run every benchmark, one after the other, each in a fresh process, and write the README's tables."""

import argparse
import subprocess
import sys

ALL = (
    "engines",
    "synthetic",
    "detector",
    "startup",
    "tracker",
    "pipeline",
    "peers",
    "growth",
    "embeddings",
    "int8",
    "calibration",
    "training_input",
    "soak",
    "gpu",
    "readme",
)
"""In this order; the README's tables are written last, from all results."""


def main() -> int:
    """Answers how many failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure, print tables, and rewrite benchmarks/results and the README's tables. Takes about an "
        "hour: the machine should be idle.",
        epilog="example: python -m benchmarks --only engines tracker",
    )
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL)
    failed = 0
    for name in parser.parse_args().only:
        print(f"── {name} ──", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
            != 0
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
