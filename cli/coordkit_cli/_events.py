"""What happens to a command under a lease, told to whoever wants to know it."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from typing import Any

from ._exit import Exit, Failure
from ._output import json_line, note


class Events:
    """
    A stream of events on a file descriptor, a file with the state, and notes on stderr.

    None of them holds up the guard: what a reader is too slow for is left out, and the
    next event tells how many were.
    """

    def __init__(self, fd: int | None, path: str | None, loudness: int) -> None:
        self._fd = fd
        self._path = path
        self._loudness = loudness
        self._state: dict[str, Any] = {}
        self._missed = 0

    def begin(self, **facts: Any) -> None:
        """Tell of the beginning; 78 if the state cannot be stored, while nothing runs."""
        try:
            self._keep(self._record("waiting", facts))
        except OSError as error:
            raise Failure(self._no_file(error), Exit.CONFIG) from None

    def tell(self, event: str, **facts: Any) -> None:
        """Tell of an event; the state is the sum of all that was told."""
        try:
            self._keep(self._record(event, facts))
        except OSError as error:
            self.say(self._no_file(error))
            self._path = None

    def pulse(self, event: str, **facts: Any) -> None:
        """Tell of something that happens over and over: only the stream has it."""
        self._record(event, facts)

    def say(self, message: str, *, level: int = 0) -> None:
        """Say something to those who want to hear so much."""
        if self._loudness >= level and _takes(2):
            note(message)

    def _record(self, event: str, facts: dict[str, Any]) -> dict[str, Any]:
        record = {"event": event, "at": round(time.time(), 3), **facts}
        if self._fd is None:
            return record
        if not _takes(self._fd):
            self._missed += 1
            return record
        missed = {"missed": self._missed} if self._missed else {}
        with suppress(OSError):  # its reader has left
            os.write(self._fd, json_line(record | missed).encode() + b"\n")
            self._missed = 0
        return record

    def _keep(self, record: dict[str, Any]) -> None:
        """Put a new file in the place of the old one: its readers see all or nothing."""
        self._state |= record
        if self._path is None:
            return
        new = f"{self._path}.new"
        with open(new, "w", encoding="utf-8") as file:
            file.write(json_line(self._state) + "\n")
        os.replace(new, self._path)

    def _no_file(self, error: OSError) -> str:
        return f"cannot write the status to {self._path}: {error.strerror}"


def _takes(fd: int) -> bool:
    """Whether a line can be written to *fd* at once."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))
