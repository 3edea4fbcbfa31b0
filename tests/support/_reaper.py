"""
End what a dead test process left behind.  A program, started by `processes.py`.

It reads lines from its standard input, whose other end only the test process holds:
`pid N` and `dir PATH` put something under care, `-pid N` and `-dir PATH` take it
out.  When the test process is gone, however it went, every process under care is
killed and every directory removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys

pids: dict[int, int | None] = {}
dirs: set[str] = set()


def handle(line: str) -> None:
    """Obey one line."""
    verb, _, operand = line.partition(" ")
    if verb == "dir":
        dirs.add(operand)
    elif verb == "-dir":
        dirs.discard(operand)
    elif verb == "pid":
        # A pidfd names this very process, even if its number is used again.
        try:
            pids[int(operand)] = os.pidfd_open(int(operand))
        except ProcessLookupError:
            pass  # ended already
        except (AttributeError, OSError):  # not Linux, or an old one
            pids[int(operand)] = None
    elif verb == "-pid":
        fd = pids.pop(int(operand), None)
        if fd is not None:
            os.close(fd)


def main() -> None:
    """Serve until the test process is gone, then clean up after it."""
    for line in sys.stdin.buffer:
        handle(line.decode("utf-8", "surrogateescape").rstrip("\n"))
    for pid, fd in pids.items():
        try:
            if fd is None:
                os.kill(pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        except OSError:
            pass  # ended by itself
    for path in dirs:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
