"""Run every benchmark, one after the other, each in a fresh process, and write the README's tables."""

import argparse
import subprocess
import sys
import time

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
        description="Measure, print tables, and rewrite benchmarks/results and the README's tables. Takes an "
        "hour and a half: the machine should be idle.",
        epilog="example: python -m benchmarks --only engines tracker",
    )
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL)
    asked = parser.parse_args().only
    begun = time.monotonic()
    ends = []
    for number, name in enumerate(asked, 1):
        print(f"── {name} ({number} of {len(asked)}) ──", flush=True)
        start = time.monotonic()
        code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        minutes = (time.monotonic() - start) / 60
        ends.append(f"{name:15} {minutes:5.1f} min" + (f"  failed ({code})" if code else ""))
    print("── how long each took ──", *ends, sep="\n")
    print(f"{'together':15} {(time.monotonic() - begun) / 60:5.1f} min")
    return sum("failed" in line for line in ends)


if __name__ == "__main__":
    sys.exit(main())
