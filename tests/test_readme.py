"""What the README tells people to type exists, with the options that it names."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMAND = re.compile(r"^    (python (?:-m \w+|run_pipeline\.py)[^#\n]*)", re.MULTILINE)
SUBCOMMANDS = {"list", "find", "forget", "evaluate"}
"""Of run_pipeline.py; the modules' are words of their help."""


def commands() -> list[str]:
    return sorted({line.strip() for line in COMMAND.findall((ROOT / "README.md").read_text())})


def test_there_are_commands_to_check():
    assert len(commands()) > 12


@pytest.mark.parametrize("command", commands())
def test_every_command_and_option_exists(command):
    words = shlex.split(command)[1:]
    program = words[:2] if words[0] == "-m" else words[:1]
    rest = words[len(program) :]
    nested = bool(rest) and (words[0] == "-m" or rest[0] in SUBCOMMANDS)
    asked = [sys.executable, *program, *(rest[:1] if nested else []), "--help"]
    answer = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, check=False)
    assert answer.returncode == 0, answer.stderr
    for option in (word for word in rest if word.startswith("--")):
        assert option in answer.stdout, option


@pytest.mark.parametrize("target", ["demo", "test", "bench", "models", "quality"])
def test_every_target_exists(target):
    plan = subprocess.run(
        ["make", "--dry-run", target], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert plan.returncode == 0
    assert ".venv/bin" in plan.stdout
