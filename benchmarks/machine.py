"""Where and when something was measured: goes with every result."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on."""

    processor: str
    cores: int
    load: float
    """Average over the last minute when measuring began: much above zero means a busy machine."""
    python: str
    versions: dict[str, str]
    date: str

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def this_machine(packages: Iterable[str] = ()) -> Machine:
    """This machine, now, with the versions of the packages that matter."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        load=round(os.getloadavg()[0], 2),
        python=platform.python_version(),
        versions={name: importlib.metadata.version(name) for name in packages},
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    extras = [
        flag
        for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
        if flag in flags
    ]
    return f"{names[0] if names else platform.machine()} ({', '.join(extras)})"
