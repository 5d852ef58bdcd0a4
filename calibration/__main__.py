"""`python -m calibration`: one command a module of calibration/commands."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from calibration.errors import CalibrationError
from engines.answering import answered
from engines.errors import EngineError
from pipeline.errors import PipelineError
from pipeline.ingest.redact import redact

COMMANDS = {
    "collect": "pictures of a site to measure on, deleted after some days",
    "int8": "a network in eight bits, if it is as good as it was",
    "ranges": "what a detector's package needs to compute in eight bits on CPUs, written into it",
    "threshold": "how much a likeness says, learned from a run without labels",
    "ground": "where in each picture which part of the floor is",
    "travel": "which cameras neighbour which, and how long people take",
}
"""Each is calibration/commands/<name>.py with `EXAMPLES`, `add_arguments(parser)` and `run(options) -> int`."""
BAD_INPUT = 2
EPILOG = """examples:
  python run_pipeline.py --site site.toml --record --output runs/today
  python -m calibration threshold runs/today --site site.toml
  python -m calibration collect --site site.toml -o sets/hall
  python -m calibration int8 grl-edge.safetensors -o engines-here/grl-int8 --data sets/hall --site site.toml
  python -m calibration travel runs/today --site site.toml

Each command writes its result into the site's file, with where it comes from, and a page that shows it.
exit codes: 0 done, 2 bad input, 3 too little data, 4 the result is not good enough, 130 stopped
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Answers the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser(words).parse_args(words)
        return answered(lambda: _module(options.command).run(options))
    except CalibrationError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except (PipelineError, EngineError) as error:
        print(f"error: {redact(str(error))}", file=sys.stderr)  # a site's file names cameras
        return BAD_INPUT
    except ModuleNotFoundError as error:
        print(
            f"error: calibration needs {error.name}: pip install 'throughline[calibrate]'",
            file=sys.stderr,
        )
        return BAD_INPUT
    except KeyboardInterrupt:
        print("stopped; the site's file is as it was", file=sys.stderr)
        return 130


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """All commands; the options only of the one that is asked for, so that no other one's libraries are loaded."""
    raw = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(
        "python -m calibration",
        description="Fit the system to a site, with little or no labelling.",
        epilog=EPILOG,
        formatter_class=raw,
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, told in COMMANDS.items():
        parser = commands.add_parser(name, help=told, description=told, formatter_class=raw)
        if words and words[0] == name:
            module = _module(name)
            parser.epilog = module.EXAMPLES
            module.add_arguments(parser)
    return whole


def _module(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 (modules have no common type)
    return importlib.import_module(f"calibration.commands.{name}")


if __name__ == "__main__":
    sys.exit(main())
