"""What a session is of either flavour: what it knows without asking, and its defaults."""

from __future__ import annotations

from typing import Generic, TypeVar

from ._io.engine import AsyncEngine, Engine
from ._io.fork import OfOneProcess

E = TypeVar("E", Engine, AsyncEngine)

DEFAULT_URL = "redis://localhost:6379/0"
DEFAULT_TTL = 30.0
#: A question for each id costs a thousand times as much; a crash wastes a thousand.
DEFAULT_BLOCK = 1000
#: An election's: its leader is missed sooner than the holder of a lock.
DEFAULT_TERM = 15.0
#: A group's: after a crash its members are listed for so long.
DEFAULT_SILENCE = 10.0
#: How long a waiter's place outlives it: a crash in the queue costs the others so much.
DEFAULT_WAITER_TTL = 3.0
#: A ring may be gone by for so long without an answer of the server.
DEFAULT_STALENESS = 30.0


class Opened(OfOneProcess, Generic[E]):
    """What both flavours know without asking anybody."""

    _engine: E

    @property
    def namespace(self) -> str:
        """What keeps this session's names apart from those of others."""
        return self._engine.namespace

    @property
    def address(self) -> str:
        """Where it leads, without secrets."""
        return self._engine.source.address

    @property
    def identity(self) -> str:
        """Who this process is, for whoever asks who holds a lock."""
        return self._engine.identity

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} namespace={self.namespace!r}>"
