"""`coordkit lock run` and its command, seen from outside."""

from __future__ import annotations

import json
import os
import secrets
import signal
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from support.groups import children, groups, variable, with_variable
from support.history import now
from support.polling import until

if TYPE_CHECKING:
    from cli.program import Program

#: What makes a program the leader of a session with a terminal.
ON_TERMINAL = (
    *(sys.executable, "-I", "-S"),
    str(Path(__file__).with_name("_on_terminal.py")),
)
#: What every process has that a command starts, wherever it goes.
MARK = "COORDKIT_TESTS_COMMAND"
READY = "the command is ready"


def shell(script: str) -> tuple[str, ...]:
    """Return a command that says when it is ready: *script* has `ready` for it."""
    return ("/bin/sh", "-c", f"ready() {{ echo {READY!r}; }}; {script}")


#: What a command may be like.
COMMANDS = {
    "plain": shell("ready; exec sleep 600"),
    "shell with a grandchild": shell("sleep 600 & sleep 600 & ready; wait"),
    "ignores TERM": shell("trap '' TERM; ready; while :; do sleep 0.1; done"),
    "leaves the group": shell("setsid sleep 600 & ready; wait"),
    "reads the terminal": shell("ready; exec cat"),
}


class Guarded:
    """
    A guard that runs *command* under the lock *name*, or as another *verb* says.

    As a context manager it is ended at the exit, with everything that it started.
    """

    def __init__(
        self,
        program: Program,
        name: str,
        command: Sequence[str],
        *options: str,
        verb: Sequence[str] = ("lock", "run"),
        terminal: bool = False,
        env: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.mark = secrets.token_hex(8)
        self._status = program.directory / f"{self.mark}.json"
        self._lease_file: Path | None = None
        #: until when the command had its lease, when that was last looked up
        self.last_deadline = 0.0
        self.guard = program.start(
            *(*verb, "--status-file", str(self._status), *options, name, "--"),
            *("/usr/bin/env", f"{MARK}={self.mark}", *command),
            under=ON_TERMINAL if terminal else (),
            env=env,
        )

    @property
    def state(self) -> dict[str, Any]:
        """What the guard has told of itself, by its status file."""
        try:
            state: dict[str, Any] = json.loads(self._status.read_text())
        except FileNotFoundError:
            return {}
        return state

    @property
    def group(self) -> int:
        """The number of the command's group."""
        return int(self.state["pid"])

    @property
    def members(self) -> set[int]:
        """Those of the command's group that still run."""
        return groups().get(self.group, set())

    @property
    def escaped(self) -> set[int]:
        """Those that the command has started and that left its group."""
        return with_variable(MARK, self.mark, outside_of=self.group)

    @property
    def shim(self) -> int:
        """The process id of the shim, while the guard is there."""
        (shim,) = children(self.guard.pid)
        return shim

    def ready(self) -> Self:
        """Wait until the command is."""
        self.guard.wait_for_output(READY, timeout=30.0)
        until(lambda: "pid" in self.state)  # it tells it when it hears of it
        # A process has no environment for an instant, while it becomes another program.
        path = until(
            lambda: next(filter(None, (_lease_file(pid) for pid in self.members)), None)
        )
        self._lease_file = Path(path or "")
        self.deadline()
        return self

    @property
    def pids(self) -> tuple[int, int]:
        """The process ids of the guard and of its shim."""
        return self.guard.pid, self.shim

    @property
    def lease_file(self) -> Path:
        """Where the command looks up how long it has its lease."""
        assert self._lease_file is not None, "not ready"
        return self._lease_file

    def deadline(self) -> float:
        """Return until when the command may rely on the lease, as it reads it; 0 if lost."""
        number: int = struct.unpack("=Q", self.lease_file.read_bytes())[0]
        self.last_deadline = max(number / 1e9, self.last_deadline)
        return number / 1e9

    def gone_at(self, timeout: float = 30.0) -> float:
        """Wait until nobody of the group runs; return when that was seen."""
        group = self.group

        def gone() -> bool:
            with suppress(FileNotFoundError):  # it is removed at the end
                self.deadline()
            return not groups().get(group)

        until(gone, timeout=timeout, every=0.001)
        return now()

    def end(self) -> None:
        """End the guard, the command, and whoever left it."""
        self.guard.end()
        left = until(lambda: not self._killed(), timeout=5.0, every=0.01)
        assert left

    def _killed(self) -> set[int]:
        alive = with_variable(MARK, self.mark)
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return alive

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _lease_file(pid: int) -> str | None:
    return variable(pid, "COORDKIT_LEASE_FILE")
