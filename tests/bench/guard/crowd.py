"""Many guards of one name, started at once: a history of what their commands believed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from cli.program import Program
from support import history
from support.processes import Child

#: The command: it says what it was told, and that it is over.
_COMMAND = Path(__file__).with_name("_one_of_many.py")
_NAME = "crowd"


class Crowd(NamedTuple):
    """What came of it."""

    codes: Sequence[int]
    events: Sequence[history.Event]

    @property
    def ran(self) -> int:
        """How many commands ran to their end."""
        return history.summary(self.events).get("released", 0)

    def check(self) -> None:
        """Check that no two ran at once and that tokens rose."""
        history.no_overlap(self.events)
        history.tokens_rise(self.events)


def run(program: Program, number: int, *, ttl: float = 10.0) -> Crowd:
    """Start so many guards at once; return when all have ended."""
    path = program.directory / "history"
    run = ("lock", "run", "--ttl", f"{ttl:g}", _NAME, "--")
    with ExitStack() as stack:
        started: list[Child] = []
        for i in map(str, range(number)):
            with history.Recorder(path, i) as recorder:
                recorder.asked(_NAME, "command")
            command = (sys.executable, str(_COMMAND), str(path), i)
            started.append(stack.enter_context(program.start(*run, *command)))
        codes = [child.wait(60.0) for child in started]
    return Crowd(codes, history.read([path]))
