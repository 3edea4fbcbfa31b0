"""
A file of eight bytes that a command can look up: until when its lease may be relied on.

They are nanoseconds on the clock of the leases (``CLOCK_BOOTTIME``, where there is
one), as an unsigned number in the machine's own byte order.  They are written in one
piece: whoever maps the file or reads its eight bytes at once sees the last deadline or
the new one.  0 means that the lease is lost.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

SIZE = 8


class LeaseFile:
    """The file of one lease, in memory where the system has such a place."""

    def __init__(self) -> None:
        #: where it is; "" if there is no place that can be written to
        self.path = ""
        self._cell: memoryview | None = None
        for directory in _places():
            path = os.path.join(directory, f"coordkit-{os.urandom(8).hex()}.lease")
            with suppress(OSError):
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                self.path = path
                break
        else:
            return
        os.ftruncate(fd, SIZE)
        self._map = mmap.mmap(fd, SIZE)
        os.close(fd)
        # One store of the processor: an item of a memoryview is copied as a whole.
        self._cell = memoryview(self._map).cast("Q")

    def write(self, deadline: float) -> None:
        """Set the deadline."""
        if self._cell is not None:
            self._cell[0] = int(deadline * 1e9)

    def remove(self) -> None:
        """Take the file away; who has it open can read it on."""
        if self._cell is not None:
            self._cell.release()
            self._map.close()
            self._cell = None
            with suppress(OSError):
                os.unlink(self.path)


def _places() -> list[str]:
    names = ("XDG_RUNTIME_DIR", "TMPDIR")
    given = [os.environ.get(name, "") for name in names]
    return [place for place in (*given, "/dev/shm", "/tmp") if place]  # noqa: S108
