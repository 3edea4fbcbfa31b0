"""
Live nodes of a ring: `LiveNode` for threads, `AsyncLiveNode` for tasks.

Guaranteed, by one Redis that keeps its data: no two nodes own a key at one instant, by
what `LiveNode.owns` tells them, each by its own clock.  A key that moves from a node that
lives is let go by that one first.  When a node dies, others have its keys within its ttl
and a second; it gets exactly those back that were its, if it returns within its grace.

Not guaranteed: that a key has an owner at every instant.  Nor that work which was begun
ends before somebody else begins: a process may be frozen between asking and acting.  What
is written under `LiveNode.token_of`, through a fence, is refused then.  After a loss of
data two may own a key for up to a ttl.

Grace is not time without an owner: others stand in for a node that is away, from the end
of its lease on.  They hand over when it is back; they keep its keys when it is not.

Clock: as of every lease, the node's own, from before the question was sent (see
`coordkit.lease`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ._core.members import Members
from ._core.ring_member import (
    Handover,
    NodeLease,
    live_circle,
    live_members,
    live_record,
)
from ._core.ring_node import Node
from ._opened import DEFAULT_SILENCE
from .errors import CoordError
from .group import AsyncPresence, Presence
from .lock import Acquiring
from .lookups import Lookups

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine

#: For a process that is restarted or moved: longer than that takes.
DEFAULT_GRACE = 60.0


class LiveNode(NodeLease, Presence):
    """
    A node of a ring, which lives as long as its session keeps it, or until `leave`.

    It is a membership, kept as any (see `Member`): one that was lost joins again by
    itself.  To `leave` hands over at once.
    """

    __slots__ = ("_tender",)
    _engine: Engine

    def changes(self) -> Generator[Handover]:
        """
        Yield `Assigned` and `Revoked`: first what is its own, then every change.

        What is revoked is not owned any more, and is handed over when the next change is
        asked for: so that what was begun may end.  Where nobody asks for changes, it is
        handed over at once.  It ends when the node has left.
        """
        return self._engine.stream(self._tender.changes(self._engine.rid()))


class AsyncLiveNode(NodeLease, AsyncPresence):
    """
    A node of a ring, which lives as long as its session keeps it, or until `leave`.

    It is a membership, kept as any (see `Member`): one that was lost joins again by
    itself.  To `leave` hands over at once.
    """

    __slots__ = ("_tender",)
    _engine: AsyncEngine

    def changes(self) -> AsyncGenerator[Handover]:
        """
        Yield `Assigned` and `Revoked`: first what is its own, then every change.

        What is revoked is not owned any more, and is handed over when the next change is
        asked for: so that what was begun may end.  Where nobody asks for changes, it is
        handed over at once.  It ends when the node has left.
        """
        return self._engine.stream(self._tender.changes(self._engine.rid()))


class Homes(Lookups):
    """What a ring has to do with processes that are nodes of it."""

    _engine: Engine

    def join(
        self,
        node: str,
        *,
        weight: float = 1.0,
        zone: str = "",
        capacity: int | None = None,
        meta: Mapping[str, Any] | None = None,
        ttl: float | timedelta = DEFAULT_SILENCE,
        grace: float | timedelta = DEFAULT_GRACE,
    ) -> LiveNode:
        """
        Be a node of the ring, called *node*, for as long as this process is heard of.

        It is added if it is not there: with *weight*, *zone*, *capacity* and *meta*, which
        a node that is there keeps as they are.  *ttl*: for how long it may be silent; then
        others have its keys.  *grace*: for how long its place is kept after that: when it
        is back, it gets exactly its keys again.  In seconds, all of them.

        Where another process was that node, it waits until that one's ttl has passed;
        `KeyConflict` if it lives on.  `Unreachable` when the server gave no answer for one
        whole ttl.
        """
        engine, id_ = self._engine, self._ring
        record = live_record(Node(node, weight, zone, capacity, meta or {}), grace)
        circle = live_circle(engine.namespace, id_, ttl, engine.timeout)

        def new(rid: str, token: int, asked_at: float) -> LiveNode:
            made = LiveNode(engine, circle, record, rid, token, asked_at, rejoins=True)
            made._tender = self._tender(circle, made)
            return made

        live = engine.join(circle, record, new, replace=False)
        try:
            engine.load(self._local)
            engine.run(live._tender.enter())
            engine._following.attend(live._tender)
        except BaseException:
            with suppress(CoordError):
                engine.leave(live)
            raise
        return live

    def live(self) -> Members:
        """Return the live nodes: the members of the ring's own group."""
        engine = self._engine
        op = live_members(engine.namespace, self._ring, engine.timeout)
        return engine.run(op)


class AsyncHomes(Lookups):
    """What a ring has to do with processes that are nodes of it."""

    _engine: AsyncEngine

    def join(
        self,
        node: str,
        *,
        weight: float = 1.0,
        zone: str = "",
        capacity: int | None = None,
        meta: Mapping[str, Any] | None = None,
        ttl: float | timedelta = DEFAULT_SILENCE,
        grace: float | timedelta = DEFAULT_GRACE,
    ) -> Acquiring[AsyncLiveNode]:
        """
        Be a node of the ring, called *node*, for as long as this process is heard of.

        It is added if it is not there: with *weight*, *zone*, *capacity* and *meta*, which
        a node that is there keeps as they are.  *ttl*: for how long it may be silent; then
        others have its keys.  *grace*: for how long its place is kept after that: when it
        is back, it gets exactly its keys again.  In seconds, all of them.

        Where another process was that node, it waits until that one's ttl has passed;
        `KeyConflict` if it lives on.  `Unreachable` when the server gave no answer for one
        whole ttl.
        """
        engine, id_ = self._engine, self._ring
        record = live_record(Node(node, weight, zone, capacity, meta or {}), grace)
        circle = live_circle(engine.namespace, id_, ttl, engine.timeout)

        def new(rid: str, token: int, asked_at: float) -> AsyncLiveNode:
            made = AsyncLiveNode(
                engine, circle, record, rid, token, asked_at, rejoins=True
            )
            made._tender = self._tender(circle, made)
            return made

        async def start() -> AsyncLiveNode:
            live = await engine.join(circle, record, new, replace=False)
            try:
                await engine.load(self._local)
                await engine.run(live._tender.enter())
                engine._following.attend(live._tender)
            except BaseException:
                with suppress(CoordError):
                    await engine.leave(live)
                raise
            return live

        return Acquiring(f"{self.name!r} {record.identity!r}", start)

    async def live(self) -> Members:
        """Return the live nodes: the members of the ring's own group."""
        engine = self._engine
        op = live_members(engine.namespace, self._ring, engine.timeout)
        return await engine.run(op)
