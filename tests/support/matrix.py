"""What becomes of a command when its guard gets a signal: one cell of a table each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from support.groups import groups, with_variable
from support.guards import COMMANDS, MARK, Guarded
from support.history import now
from support.polling import until

if TYPE_CHECKING:
    from cli.program import Program

SIGNALS = ("SIGKILL", "SIGSTOP", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
#: Every signal with every command.
CELLS = [(signum, command) for signum in SIGNALS for command in COMMANDS]
#: Long enough for the guards of a row that start at once, short enough to wait for.
TTL, GRACE = 2.0, 0.3
#: A command whose lease was renewed so often after a signal was not ended by it.
RENEWALS = 2


class Cell(NamedTuple):
    """What was seen."""

    #: the guard's exit code, minus the signal that ended it, or None: it runs on
    code: int | None
    #: whether the command's group was gone, and for SIGSTOP: before the lease's end
    gone: bool
    #: whether something that had left the group runs on
    escaped: bool

    def __str__(self) -> str:
        if self.code is None:
            return "runs on, with its lease"
        code = "killed" if self.code < 0 else str(self.code)
        group = "gone" if self.gone else "RUNS ON"
        return f"{group}, {code}" + ("; who left runs on" if self.escaped else "")


def expected(signum: str, command: str) -> Cell:
    """Return what the documentation promises."""
    ignored = (signum, command) == ("SIGTERM", "ignores TERM")
    codes = {"SIGKILL": -9, "SIGSTOP": 76}
    code = codes.get(signum, 128 + signal.Signals[signum])
    return Cell(
        code=None if ignored else code,
        gone=not ignored,
        escaped=command == "leaves the group",
    )


def seen(program: Program, signum: str, command: str) -> Cell:
    """Send the signal to the guard of such a command, and see what becomes of both."""
    name = f"{signum} {command}"
    options = ("--ttl", str(TTL), "--kill-after", str(GRACE))
    terminal = command == "reads the terminal"
    with Guarded(
        program, name, COMMANDS[command], *options, terminal=terminal
    ) as guarded:
        guarded.ready()
        if command == "leaves the group":
            until(lambda: guarded.escaped)
        deadline = guarded.deadline()
        os.kill(guarded.guard.pid, signal.Signals[signum])
        gone_at, deadline = _awaited(guarded, deadline)
        if gone_at is None:
            return Cell(None, gone=False, escaped=bool(guarded.escaped))
        if signum == "SIGSTOP":
            guarded.guard.sigcont()
        code = guarded.guard.wait()
        escaped = with_variable(MARK, guarded.mark)
        return Cell(code, gone=gone_at < deadline, escaped=bool(escaped))


def _awaited(guarded: Guarded, deadline: float) -> tuple[float | None, float]:
    """Return when the group was gone, or None if it runs on; and the last deadline."""
    group, renewals = guarded.group, 0
    while groups().get(group):
        with suppress(FileNotFoundError):  # the group was gone just now
            later = guarded.deadline()
            renewals += later > deadline
            deadline = max(later, deadline)
        if renewals > RENEWALS:
            return None, deadline
        time.sleep(0.001)
    return now(), deadline


def table(cells: Mapping[tuple[str, str], Cell]) -> str:
    """Return the table of all `CELLS`, in Markdown."""
    lines = [
        f"| signal to the guard | {' | '.join(COMMANDS)} |",
        f"|{' --- |' * (1 + len(COMMANDS))}",
    ]
    for signum in SIGNALS:
        row = [str(cells[signum, command]) for command in COMMANDS]
        lines.append(f"| {signum} | {' | '.join(row)} |")
    return "\n".join(lines)
