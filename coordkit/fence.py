"""
Fences: `Fence` for threads, `AsyncFence` for tasks.

A fence guards one resource.  It remembers the highest token it has seen and
refuses every lower one, atomically with the write that came with it.

Guaranteed: once a newer holder has been admitted, an older one is refused, for
as long as the server keeps its data; and a write whose answer came was made once,
also when answers were lost and it was asked for again.

Not guaranteed: anything about writes that do not pass through the fence, or
after a loss of data, until the next newer token arrives.  A write that ended in
`Unreachable` may have been made, or may be later, unless a newer token comes first.

Example::

    ledger = session.fence("ledger")
    ledger.set("cursor", "42", token=lease.token)
    ledger.append("closed the books", token=lease.token)
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ._core.fence import Entry, Guard
from ._core.keys import check_name, fence_keys
from ._io.fork import OfOneProcess

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine

#: So many entries of a journal are kept, and read, unless asked otherwise.
KEEP, LIMIT = 1000, 1000


class Fence(OfOneProcess):
    """Checks the tokens of one resource, and keeps what is written with them."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = check_name(name)
        keys = fence_keys(engine.namespace, name)
        self._guard = Guard(name, keys, engine.lanes, engine.timeout)

    def check(self, token: int) -> None:
        """Admit *token*; `StaleToken` when a newer one was seen."""
        self._engine.run(self._guard.check(token))

    def seen(self) -> int:
        """Return the highest token admitted so far; 0 when there is none."""
        return self._engine.run(self._guard.seen())

    # -- values -------------------------------------------------------------------------

    def set(
        self,
        field: str,
        value: str | bytes,
        *,
        token: int,
        ttl: float | timedelta | None = None,
    ) -> None:
        """
        Write *value* (at most 64 KiB) if *token* is admitted; else `StaleToken`.

        With a *ttl*, in seconds, it is gone after so long.
        """
        self._engine.run(self._guard.set(field, value, token, ttl))

    def get(self, field: str) -> bytes | None:
        """Return what was written to *field* last, as bytes; None when nothing was."""
        return self._engine.run(self._guard.get(field))

    def delete(self, field: str, *, token: int) -> None:
        """Take away what was written to *field*, if *token* is admitted; else `StaleToken`."""
        self._engine.run(self._guard.delete(field, token))

    def cas(
        self,
        field: str,
        value: str | bytes,
        *,
        expected: str | bytes | None,
        token: int,
        ttl: float | timedelta | None = None,
    ) -> bool:
        """
        Write *value* if *expected* stands there, None: nothing; return whether it did.

        The token is admitted either way; `StaleToken` when a newer one was seen.
        """
        return self._engine.run(self._guard.cas(field, value, expected, token, ttl))

    # -- the journal ----------------------------------------------------------------------

    def append(
        self,
        value: str | bytes,
        *,
        token: int,
        expected: int | None = None,
        keep: int = KEEP,
    ) -> int:
        """
        Append an entry (at most 64 KiB) if *token* is admitted; return its number.

        Numbers rise by one from 1; the entry's term is the token.  *expected*: the
        number that the last entry must have, else `Overtaken` and nothing is appended;
        so who does not know what became of an append may ask again.  *keep*: older
        entries than so many are forgotten.
        """
        return self._engine.run(self._guard.append(value, token, expected, keep))

    def journal(self, *, after: int = 0, limit: int = LIMIT) -> list[Entry]:
        """
        Return the entries that follow number *after*, oldest first, *limit* at most.

        When the first of them is not *after* + 1, those between were forgotten.
        """
        return self._engine.run(self._guard.journal(after, limit))

    def last(self) -> int:
        """Return the number of the journal's last entry; 0 when there is none."""
        return self._engine.run(self._guard.last())

    def __repr__(self) -> str:
        return f"<Fence {self.name!r}>"


class AsyncFence(OfOneProcess):
    """Checks the tokens of one resource, and keeps what is written with them."""

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self._engine = engine
        self.name = check_name(name)
        keys = fence_keys(engine.namespace, name)
        self._guard = Guard(name, keys, engine.lanes, engine.timeout)

    async def check(self, token: int) -> None:
        """Admit *token*; `StaleToken` when a newer one was seen."""
        await self._engine.run(self._guard.check(token))

    async def seen(self) -> int:
        """Return the highest token admitted so far; 0 when there is none."""
        return await self._engine.run(self._guard.seen())

    # -- values -------------------------------------------------------------------------

    async def set(
        self,
        field: str,
        value: str | bytes,
        *,
        token: int,
        ttl: float | timedelta | None = None,
    ) -> None:
        """
        Write *value* (at most 64 KiB) if *token* is admitted; else `StaleToken`.

        With a *ttl*, in seconds, it is gone after so long.
        """
        await self._engine.run(self._guard.set(field, value, token, ttl))

    async def get(self, field: str) -> bytes | None:
        """Return what was written to *field* last, as bytes; None when nothing was."""
        return await self._engine.run(self._guard.get(field))

    async def delete(self, field: str, *, token: int) -> None:
        """Take away what was written to *field*, if *token* is admitted; else `StaleToken`."""
        await self._engine.run(self._guard.delete(field, token))

    async def cas(
        self,
        field: str,
        value: str | bytes,
        *,
        expected: str | bytes | None,
        token: int,
        ttl: float | timedelta | None = None,
    ) -> bool:
        """
        Write *value* if *expected* stands there, None: nothing; return whether it did.

        The token is admitted either way; `StaleToken` when a newer one was seen.
        """
        return await self._engine.run(
            self._guard.cas(field, value, expected, token, ttl)
        )

    # -- the journal ----------------------------------------------------------------------

    async def append(
        self,
        value: str | bytes,
        *,
        token: int,
        expected: int | None = None,
        keep: int = KEEP,
    ) -> int:
        """
        Append an entry (at most 64 KiB) if *token* is admitted; return its number.

        Numbers rise by one from 1; the entry's term is the token.  *expected*: the
        number that the last entry must have, else `Overtaken` and nothing is appended;
        so who does not know what became of an append may ask again.  *keep*: older
        entries than so many are forgotten.
        """
        return await self._engine.run(self._guard.append(value, token, expected, keep))

    async def journal(self, *, after: int = 0, limit: int = LIMIT) -> list[Entry]:
        """
        Return the entries that follow number *after*, oldest first, *limit* at most.

        When the first of them is not *after* + 1, those between were forgotten.
        """
        return await self._engine.run(self._guard.journal(after, limit))

    async def last(self) -> int:
        """Return the number of the journal's last entry; 0 when there is none."""
        return await self._engine.run(self._guard.last())

    def __repr__(self) -> str:
        return f"<AsyncFence {self.name!r}>"
