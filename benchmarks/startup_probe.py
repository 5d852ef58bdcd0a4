"""A run of the pipeline that says when each part of its start was done: `python -m benchmarks.startup_probe FILE …`

The words after FILE are those of `run_pipeline.py`, which is then run as it is. With the first event the moments go to
FILE, as JSON: seconds since the epoch.
"""

import json
import os
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:  # what it takes to import them is measured
    from pipeline.frames import IdentityEvent
    from pipeline.publish.sink import Sighting

RUN = Path(__file__).parent.parent / "run_pipeline.py"
P, R = ParamSpec("P"), TypeVar("R")


def main(file: Path, words: Sequence[str]) -> None:
    """Run, with a stopwatch around each part."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does, before numpy
    moments = {"interpreter": time.time()}
    import pipeline.cli  # noqa: PLC0415 (this is what is measured)

    moments["imports"] = time.time()
    run, publish = pipeline.run, pipeline.publish

    def after(function: Callable[P, R], moment: str) -> Callable[P, R]:
        """The same function, which notes when it has first come back."""

        @wraps(function)
        def timed(*given: P.args, **named: P.kwargs) -> R:
            answer = function(*given, **named)
            moments.setdefault(moment, time.time())
            return answer

        return timed

    def swap(module: object, name: str, new: object) -> None:
        getattr(module, name)  # one that has moved would be measured never, and in silence
        setattr(module, name, new)

    for name, moment in (
        ("open_detector", "detector"),
        ("open_pool", "embedder"),
        ("warm_up", "compiled"),
    ):
        swap(run, name, after(getattr(run, name), moment))

    class TimedTracks(publish.TrackFiles):
        def sighting(self, sighting: "Sighting") -> None:
            super().sighting(sighting)
            moments.setdefault("first picture of the video", sighting.frame.time)
            moments.setdefault("first frame", time.time())
            if "first event" in moments and not file.exists():
                part = file.with_suffix(".part")
                part.write_text(json.dumps(moments))
                part.replace(file)

    class TimedEvents(publish.EventLog):
        def events(self, events: "Sequence[IdentityEvent]") -> None:
            super().events(events)
            if events and "first event" not in moments:
                moments["first event"] = time.time()
                moments["picture of the event"] = events[0].time

    parts = sys.modules["pipeline.publish.parts"]
    swap(parts, "TrackFiles", TimedTracks)
    swap(parts, "EventLog", TimedEvents)
    sys.argv = [str(RUN), *words]
    runpy.run_path(str(RUN), run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
