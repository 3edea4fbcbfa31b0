"""
Ends what a demo left behind when it could not do so itself.  A program.

It reads lines from its standard input, whose other end only the demo holds: `pid N`
puts a process under care, `-pid N` takes it out.  When the demo is gone, however it
went, every process under care is killed, the frozen ones too.
"""

from __future__ import annotations

import os
import signal
import sys

SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows knows only the latter


def hold(pid: int) -> int | None:
    """Return what names this very process, even if its number is used again."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or it has ended
        return None


def kill(pid: int, held: int | None) -> None:
    """Kill a process, unless it has ended."""
    try:
        if held is not None:
            signal.pidfd_send_signal(held, SIGKILL)
        elif not hasattr(os, "pidfd_open"):
            os.kill(pid, SIGKILL)
    except OSError:
        pass  # it has ended


def main() -> None:
    """Serve until the demo is gone, then clean up after it."""
    under_care: dict[int, int | None] = {}
    for line in sys.stdin:
        verb, pid = line.split()
        if verb == "pid":
            under_care[int(pid)] = hold(int(pid))
        else:
            held = under_care.pop(int(pid), None)
            if held is not None:
                os.close(held)
    for number, held in under_care.items():
        kill(number, held)


if __name__ == "__main__":
    main()
