"""
Run a program as the leader of its session, on the terminal that is its input.

If its input is none, on one of its own: the program holds the other end too, and its
children do, so it does not hang up before all have ended.  It says nothing there.
"""

from __future__ import annotations

import fcntl
import os
import pty
import sys
import termios

if not os.isatty(0):
    ours, theirs = pty.openpty()
    os.dup2(theirs, 0)
    os.close(theirs)
    os.set_inheritable(ours, True)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - on purpose
