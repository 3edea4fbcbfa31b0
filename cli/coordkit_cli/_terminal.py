"""The controlling terminal, and whose turn at it is."""

from __future__ import annotations

import os
import stat
from contextlib import suppress


class Terminal:
    """
    The terminal that the guard was started from, if there is one.

    The guard's own group, *home*, is what its shell knows; the command's group is lent
    the terminal while it runs, as a shell would do with a job.  If it does not read it
    as its input, or writes into a pipe, it is lent it only when it asks, which stops it
    for an instant: its neighbours in a script or a pipeline may want it, too.

    Who calls `hand_to` or `take_back` ignores SIGTTOU: else it would be stopped.
    """

    def __init__(self) -> None:
        self.home = os.getpgrp()
        self._wanted = os.isatty(0) and not _is_pipe(1)
        self._lent = False
        try:
            self._fd = os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY)
        except OSError:
            self._fd = -1  # none, as under cron

    def lend(self, *, asked: bool = False) -> bool:
        """Return whether the command's group is to have it now; then `hand_to` it."""
        self._wanted = self._wanted or asked
        lent = self._wanted and self._foreground() == self.home
        self._lent = self._lent or lent
        return lent

    def hand_to(self, group: int) -> None:
        """Make *group* the one that reads it and gets its signals."""
        with suppress(OSError):  # it has ended, or the terminal has hung up
            os.tcsetpgrp(self._fd, group)

    def take_back(self) -> None:
        """Give it back to the guard's group if it was lent."""
        if self._lent and self._foreground() != self.home:
            self.hand_to(self.home)
        self._lent = False

    def _foreground(self) -> int:
        try:
            return os.tcgetpgrp(self._fd)
        except OSError:
            return -1


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False  # it is closed
