"""What the program costs before and after the command, as wall time against an import."""

from __future__ import annotations

import compileall
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import coordkit
import coordkit_cli
from cli.program import Program

from ..report import OURS
from ..rounds import Samples, turns

IMPORT = 'python -c "import redis, click"'
PASS = "python -c pass"


def compiled() -> None:
    """Compile the program, as pip does when it installs it, whatever the environment says."""
    for package in (coordkit, coordkit_cli):
        assert package.__file__ is not None
        compileall.compile_dir(Path(package.__file__).parent, quiet=2)


def of_run(program: Program, rounds: int) -> Samples:
    """Return the wall times of `lock run x -- true` and of the imports, in ms."""
    python = [sys.executable, "-c", "import redis, click"]
    ours = [*_installed(), "lock", "run", "x", "--", "true"]
    return _measured(program, {OURS: ours, IMPORT: python}, rounds)


def of_help(program: Program, rounds: int) -> Samples:
    """Return the wall times of `coordkit --help` and of an empty program, in ms."""
    python = [sys.executable, "-c", "pass"]
    return _measured(program, {OURS: [*_installed(), "--help"], PASS: python}, rounds)


def _installed() -> list[str]:
    """Return the console script: what a user types."""
    return [str(Path(sys.executable).with_name("coordkit"))]


def _measured(
    program: Program, commands: Mapping[str, Sequence[str]], rounds: int
) -> Samples:
    samples: Samples = {name: [] for name in commands}
    for name in turns(list(commands), rounds + 1):
        begun = time.perf_counter()
        subprocess.run(
            commands[name], env=program.env, stdout=subprocess.DEVNULL, check=True
        )
        samples[name].append(1000 * (time.perf_counter() - begun))
    return {name: taken[1:] for name, taken in samples.items()}  # the first is cold
