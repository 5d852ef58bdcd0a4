"""The README's figures, written from the results: `python -m benchmarks.readme`

Between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->` stands what results/NAME.json says: ratios first, then
absolute figures, then where, when and with which command it was measured. Nobody edits these places by hand.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import TABLES, Report

README = Path(__file__).parent.parent / "README.md"
RESULTS = Path(__file__).parent / "results"
BLOCK = re.compile(r"(<!-- bench:(\w+) -->\n)(.*?)(<!-- /bench:\2 -->)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write them, or with --check say whether they are as the results have it."""
    parser = argparse.ArgumentParser("python -m benchmarks.readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if it would")
    options = parser.parse_args(arguments)
    text = README.read_text()
    fresh = rendered(text)
    if options.check:
        print("as the results have it" if fresh == text else "out of date: make bench")
        return int(fresh != text)
    README.write_text(fresh)
    return 0


def rendered(text: str, results: Path = RESULTS) -> str:
    """A text with all its blocks as the results have them."""

    def block(match: re.Match[str]) -> str:
        name, path = match[2], results / f"{match[2]}.json"
        if path.exists():
            report = json.loads(path.read_text())
            body = f"{TABLES[name](report)}\n\n{_provenance(report)}"
        else:
            body = f"Not measured yet: `python -m benchmarks.{name}`."
        return f"{match[1]}{body}\n{match[4]}"

    return BLOCK.sub(block, text)


def _provenance(report: Report) -> str:
    machine = report["machine"]
    versions = machine.get("versions") or report.get("versions") or {}
    words = [
        f"`{report['command']}`",
        f"{machine['processor']}, {machine['cores']} cores",
        *([f"load {machine['load']} at the start"] if "load" in machine else []),
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        machine["date"],
    ]
    return "Measured by " + "; ".join(word for word in words if word) + "."


if __name__ == "__main__":
    sys.exit(main())
