"""
Counters: `Counter` for threads, `AsyncCounter` for tasks.

Guaranteed, by one Redis that keeps its data: an add whose answer came was counted
once, also when answers were lost and it was asked for again; values are exact up to a
64-bit integer, and one that would leave it, or the bounds that were asked for, is
refused and changes nothing; with a token, adds are counted in the order of tokens.

Not guaranteed: what became of an add that ended in `Unreachable`.  It may be counted
once, even later.  Who adds again counts a second time, unless with the same *rid*.
What a server or a client holds back for longer than ten minutes, in the middle of
asking again, may be counted twice.  Data that the server loses are lost.

Example::

    orders = session.counter("orders")
    orders.add(5, token=lease.token)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core.counters import Counters
from ._io.fork import OfOneProcess

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine


class Counter(OfOneProcess):
    """
    One number that many add to.  Making one sends nothing.

    A counter in several shards bears more adds at once, on several nodes of a cluster
    too.  It cannot be fenced or bounded.  Its value is the sum of the shards: of one
    server at one instant; of a cluster, each node's at its own.
    """

    def __init__(self, engine: Engine, name: str, shards: int | None) -> None:
        self._engine = engine
        self._tally = counters(engine).tally(name, shards)

    @property
    def name(self) -> str:
        """What this counter is called."""
        return self._tally.name

    def add(
        self,
        n: int = 1,
        *,
        token: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        rid: str | None = None,
    ) -> int:
        """
        Add *n*, perhaps negative; return the new value (of a sharded one, of one shard).

        *token*: `StaleToken` when a newer one was seen.  *at_least*, *at_most*: what the
        new value may be, else `OutOfBounds`.  *rid*: an id of your own for this request,
        such as that of a message; for a day, who adds with the same one gets the same
        answer, and nothing is added.  A refused add is as if it had never been.
        """
        return self._engine.run(
            self._tally.add(n, token=token, at_least=at_least, at_most=at_most, rid=rid)
        )

    def value(self) -> int:
        """Return the present value; 0 when there is none."""
        return self._engine.run(self._tally.value())

    def set(self, value: int, *, token: int | None = None) -> int:
        """Give it a value; return the one before, in which every earlier add is counted."""
        return self._engine.run(self._tally.set(value, token=token))

    def delete(self, *, token: int | None = None) -> int:
        """
        Take it away; return the value it had.

        For a week its highest token is known: an older one is refused as before.
        """
        return self._engine.run(self._tally.delete(token=token))

    def __repr__(self) -> str:
        return f"<Counter {self._tally.shown()}>"


class AsyncCounter(OfOneProcess):
    """
    One number that many add to.  Making one sends nothing.

    A counter in several shards bears more adds at once, on several nodes of a cluster
    too.  It cannot be fenced or bounded.  Its value is the sum of the shards: of one
    server at one instant; of a cluster, each node's at its own.
    """

    def __init__(self, engine: AsyncEngine, name: str, shards: int | None) -> None:
        self._engine = engine
        self._tally = counters(engine).tally(name, shards)

    @property
    def name(self) -> str:
        """What this counter is called."""
        return self._tally.name

    async def add(
        self,
        n: int = 1,
        *,
        token: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        rid: str | None = None,
    ) -> int:
        """
        Add *n*, perhaps negative; return the new value (of a sharded one, of one shard).

        *token*: `StaleToken` when a newer one was seen.  *at_least*, *at_most*: what the
        new value may be, else `OutOfBounds`.  *rid*: an id of your own for this request,
        such as that of a message; for a day, who adds with the same one gets the same
        answer, and nothing is added.  A refused add is as if it had never been.
        """
        return await self._engine.run(
            self._tally.add(n, token=token, at_least=at_least, at_most=at_most, rid=rid)
        )

    async def value(self) -> int:
        """Return the present value; 0 when there is none."""
        return await self._engine.run(self._tally.value())

    async def set(self, value: int, *, token: int | None = None) -> int:
        """Give it a value; return the one before, in which every earlier add is counted."""
        return await self._engine.run(self._tally.set(value, token=token))

    async def delete(self, *, token: int | None = None) -> int:
        """
        Take it away; return the value it had.

        For a week its highest token is known: an older one is refused as before.
        """
        return await self._engine.run(self._tally.delete(token=token))

    def __repr__(self) -> str:
        return f"<AsyncCounter {self._tally.shown()}>"


def counters(engine: Engine | AsyncEngine) -> Counters:
    """Return all counters of the namespace of a session."""
    return Counters(
        engine.namespace,
        lanes=engine.lanes,
        timeout=engine.timeout,
        scatter=engine.source.clustered,
    )
