"""Resident memory of one process that streams: run by benchmarks.engines in a fresh interpreter."""

import json
import os
import sys
from pathlib import Path

import numpy as np

from engines import StreamingReid, open_engine


def main(package: str, capacity: int) -> None:
    """Fill every slot, feed them for two segments, and print megabytes as JSON."""
    before = resident()
    engine = open_engine(package)
    pool = StreamingReid(engine, capacity)
    slots = np.array([pool.open() for _ in range(capacity)])
    crops = np.random.default_rng(0).integers(0, 256, (capacity, *pool.crop_size, 3), np.uint8)
    for _ in range(16):
        pool.step(slots, crops)
    row = sum(
        int(np.prod(spec.shape[1:])) * np.dtype(spec.dtype).itemsize
        for name, spec in engine.inputs.items()
        if name.startswith("state.")
    )
    answer = {"resident_mb": resident(), "interpreter_mb": before, "rows_mb": row * capacity / 1e6}
    print(json.dumps(answer | {"bytes_a_slot": row, "slots": capacity}))


def resident() -> float:
    """Megabytes of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
