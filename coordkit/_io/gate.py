"""A gate before a session's way to the server, for the partitions of `coordkit.testing`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import Unreachable


class Gate:
    """Stands before what a driver asks, or is woken by: while it is shut nothing passes."""

    def __init__(
        self,
        inner: Any,
        shut: Callable[[], bool],
    ) -> None:
        self._inner = inner
        self._shut = shut

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def call(self, call: Any) -> Any:
        """Run a script."""
        return self._passed(self._inner.call, call)

    def pipeline(self, calls: Any, timeout: float) -> Any:
        """Run several."""
        return self._passed(self._inner.pipeline, calls, timeout)

    def listen(self, rid: str, timeout: float, channel: str = "") -> Any:
        """Keep every wake for *rid*."""
        return self._passed(self._inner.listen, rid, timeout, channel)

    def wait(self, rid: str, timeout: float) -> Any:
        """Wait for a wake."""
        woken = self._inner.wait(rid, timeout)
        return None if self._shut() else woken

    def _check(self, *, sent: bool) -> None:
        if self._shut():
            raise Unreachable("cut off by partition()", sent=sent)

    def _passed(self, asking: Callable[..., Any], *what: Any) -> Any:
        self._check(sent=False)
        answer = asking(*what)
        self._check(sent=True)
        return answer


class AsyncGate(Gate):
    """The same for tasks."""

    async def wait(self, rid: str, timeout: float) -> Any:  # as its twin
        """Wait for a wake."""
        woken = await self._inner.wait(rid, timeout)
        return None if self._shut() else woken

    async def _passed(self, asking: Callable[..., Any], *what: Any) -> Any:
        self._check(sent=False)
        answer = await asking(*what)
        self._check(sent=True)
        return answer
