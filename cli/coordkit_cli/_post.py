"""
What a guard and its shim tell each other: a line of JSON a message, a pipe each way.

=============================  ==========================================================
the guard to the shim
``run`` *instant* *more*       run the command, with more in its environment, until then
``deadline`` *instant*         the lease may be relied on until then
``pass on`` *signal*           send it to the group
``end`` *signal* *instant*     send it to the group (0: none), and SIGKILL at that instant
the shim to the guard
``started`` *pid*              the command runs, as this process
``failed`` *errno*             it could not be run
``stopped`` *signal*           the terminal has stopped it, as a job
``ending``                     the deadline is near: the group is being ended
``exited`` *status*            the command has ended: its exit code, or minus the signal
``gone``                       nothing of its group runs any more
=============================  ==========================================================
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any


class Post:
    """One side's ends of the two pipes."""

    def __init__(self, reading: int, writing: int) -> None:
        # A frozen reader must not freeze the writer.  What does not fit is dropped: only
        # deadlines are that many, and the next one says more.
        for fd in (reading, writing):
            os.set_blocking(fd, False)
        self.reading = reading
        self._writing = writing
        self._unread = b""
        #: whether the other side is gone
        self.ended = False

    def send(self, *message: Any) -> None:
        """Tell the other side, if it is there."""
        with suppress(OSError):
            os.write(self._writing, json.dumps(message).encode() + b"\n")

    def received(self) -> list[Any]:
        """Return what has come; `ended` tells that nothing will any more."""
        while not self.ended:
            try:
                chunk = os.read(self.reading, 65536)
            except BlockingIOError:
                break
            self.ended = not chunk
            self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Let the other side see that this one is gone."""
        os.close(self.reading)
        os.close(self._writing)


def pair() -> tuple[Post, Post]:
    """Return the two sides of a new post."""
    (one, to_one), (other, to_other) = os.pipe(), os.pipe()
    return Post(one, to_other), Post(other, to_one)
