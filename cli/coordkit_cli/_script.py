"""
Scripts of the user that are run beside a command, by the shell.

Each is in a process group of its own, and can be ended with all that it has started.
The first process of a container buries the dead that nobody else does; not these, for
who has started one wants to know how it ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from threading import Lock

from ._command import SHELL

_PROC = "/proc"
#: A script is known before anybody could bury it.
_starting = Lock()
_running: set[int] = set()


class Script:
    """One run of a script; OSError when it cannot be run."""

    def __init__(self, text: str, environ: Mapping[str, str], output: int) -> None:
        """Start it, its output to that file descriptor; DEVNULL: nowhere."""
        with _starting:
            self._popen = subprocess.Popen(  # noqa: S603 - what the user has written
                [SHELL, "-c", text],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environ),
                process_group=0,
            )
            _running.add(self._popen.pid)

    def wait(self, timeout: float | None = None) -> int | None:
        """Return its exit code, or minus the signal; None if it has not ended in time."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        _running.discard(self._popen.pid)
        return code

    def kill(self) -> None:
        """End it with all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self.wait()


def bury_orphans() -> None:
    """As the first process of a container: bury whom nobody else does."""
    if not _starting.acquire(blocking=False):
        return  # later: whoever calls this has more to do
    try:
        for pid in _dead(os.getpid()):
            if pid not in _running:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
    finally:
        _starting.release()


def _dead(parent: int) -> Iterator[int]:
    """Yield the children of *parent* that have ended and are not buried."""
    for name in filter(str.isdigit, os.listdir(_PROC)):
        try:
            with open(f"{_PROC}/{name}/stat", "rb") as stat:
                # Its name comes before, in brackets, and may hold anything.
                state, its_parent, *_ = stat.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        if state == b"Z" and int(its_parent) == parent:
            yield int(name)
