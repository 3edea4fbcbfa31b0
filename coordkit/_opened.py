"""What a session of either flavour knows without asking anybody."""

from __future__ import annotations

from datetime import timedelta
from typing import Generic, TypeVar

from ._core.span import LONGEST_CALL, seconds
from ._io.engine import AsyncEngine, Engine
from ._io.fork import OfOneProcess

E = TypeVar("E", Engine, AsyncEngine)


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


def call_seconds(timeout: float | timedelta) -> float:
    """Return how long one question may take: 10 ms to 2 s."""
    return seconds(timeout, "timeout", least=0.01, most=LONGEST_CALL)
