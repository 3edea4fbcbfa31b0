"""What a command ends with is what the guard ends with."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from cli.program import Program
from support.guards import shell

#: How many run at a time, each under a lock of its own.
_TOGETHER = 4
#: These do not end a process, or not one that nobody traces.
_HARMLESS = {
    *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
    *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
}


def deadly() -> list[signal.Signals]:
    """Return every signal with a name that ends who does not expect it."""
    return [each for each in signal.Signals if each not in _HARMLESS]


def of_exits(program: Program, codes: Iterable[int]) -> Mapping[int, int]:
    """Return by the code that a command exits with what the guard exits with."""
    return _run(program, {code: f"exit {code}" for code in codes})


def of_deaths(program: Program) -> Mapping[int, int]:
    """Return by the signal that ends a command what the guard exits with."""
    return _run(program, {each: f"ulimit -c 0; kill -{each} $$" for each in deadly()})


def _run(program: Program, scripts: Mapping[int, str]) -> Mapping[int, int]:
    def run(number: int) -> int:
        words = ("lock", "run", f"code-{number}", "--", *shell(scripts[number]))
        return program.run(*words).code

    with ThreadPoolExecutor(_TOGETHER) as pool:
        return dict(zip(scripts, pool.map(run, scripts), strict=True))
