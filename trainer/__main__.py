"""`python -m trainer`: see trainer/arguments.py for its commands, trainer/commands for what they do."""

import importlib
import sys

from trainer.arguments import parser
from trainer.errors import TrainerError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 bad input (one sentence on stderr), 130 stopped."""
    options = parser().parse_args(arguments)
    command = options.command.replace("-", "_")
    try:
        # A command's libraries (torch above all) take seconds to load: only when it is run.
        module = importlib.import_module(f"trainer.commands.{command}")
        answering = importlib.import_module("engines.answering")
        code: int = answering.answered(lambda: module.run(options) or 0)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was saved stays", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
