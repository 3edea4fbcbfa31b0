"""Who this process is, and what becomes of a session when it forks."""

from __future__ import annotations

import os
import socket
from typing import NoReturn, Protocol
from weakref import WeakSet


class _Forkable(Protocol):
    def after_fork(self) -> None:
        """Start anew in a child process."""
        ...


class OfOneProcess:
    """What belongs to the process that made it."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} belongs to one process: it cannot be pickled or copied"
        )


_known: WeakSet[_Forkable] = WeakSet()


def born_again(engine: _Forkable) -> None:
    """Have *engine* start anew in the child of every fork."""
    _known.add(engine)


def process_identity(unique: str) -> str:
    """Return a name for this process that says where to look for it."""
    host = socket.gethostname()
    printable = "".join(c if c.isprintable() else "?" for c in host)[:200]
    return f"{printable or 'localhost'}:{os.getpid()}:{unique[:6]}"


def _in_child() -> None:
    for engine in list(_known):
        engine.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
