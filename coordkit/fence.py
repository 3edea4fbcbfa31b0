"""
Fences: `Fence` for threads, `AsyncFence` for tasks.

A fence guards one resource.  It remembers the highest token it has seen and
refuses every lower one, atomically with the write that came with it.

Guaranteed: once a newer holder has been admitted, an older one is refused, for
as long as the server keeps its data.

Not guaranteed: anything about writes that do not pass through the fence, or
after a loss of data, until the next newer token arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core.fence import Guard
from ._core.keys import check_name, guard_key
from ._io.fork import OfOneProcess

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine


class Fence(OfOneProcess):
    """Checks the tokens of one resource.  Making one sends nothing."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = check_name(name)
        key = guard_key(engine.namespace, name)
        self._guard = Guard(name, key, engine.timeout)

    def check(self, token: int) -> None:
        """Admit *token*; `StaleToken` when a newer one was seen."""
        self._engine.run(self._guard.check(token))

    def set(self, field: str, value: str | bytes, *, token: int) -> None:
        """Write *value* (at most 64 KiB) if *token* is admitted; else `StaleToken`."""
        self._engine.run(self._guard.set(field, value, token))

    def get(self, field: str) -> bytes | None:
        """Return what was written to *field* last, as bytes; None when nothing was."""
        return self._engine.run(self._guard.get(field))

    def seen(self) -> int:
        """Return the highest token admitted so far; 0 when there is none."""
        return self._engine.run(self._guard.seen())

    def __repr__(self) -> str:
        return f"<Fence {self.name!r}>"


class AsyncFence(OfOneProcess):
    """Checks the tokens of one resource.  Making one sends nothing."""

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self._engine = engine
        self.name = check_name(name)
        key = guard_key(engine.namespace, name)
        self._guard = Guard(name, key, engine.timeout)

    async def check(self, token: int) -> None:
        """Admit *token*; `StaleToken` when a newer one was seen."""
        await self._engine.run(self._guard.check(token))

    async def set(self, field: str, value: str | bytes, *, token: int) -> None:
        """Write *value* (at most 64 KiB) if *token* is admitted; else `StaleToken`."""
        await self._engine.run(self._guard.set(field, value, token))

    async def get(self, field: str) -> bytes | None:
        """Return what was written to *field* last, as bytes; None when nothing was."""
        return await self._engine.run(self._guard.get(field))

    async def seen(self) -> int:
        """Return the highest token admitted so far; 0 when there is none."""
        return await self._engine.run(self._guard.seen())

    def __repr__(self) -> str:
        return f"<AsyncFence {self.name!r}>"
