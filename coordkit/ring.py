"""
Rings: `Ring` for threads, `AsyncRing` for tasks.

A ring maps every key to one of its nodes.  It is stored in Redis, slot by slot, and
looked up in this process, in a table that is kept fresh.

Guaranteed: exact shares (a node has its weight's part of all slots, to one slot), the
least movement by every change, and that two who change a ring at once do not lose each
other's change.  A lookup takes no lock and asks nobody.

Not guaranteed: that all processes look at the same version.  A change is hinted to all
at once, and seen within 5 s where the hint is lost; until then two of them may differ
on the keys that moved.  When the server has been silent for longer than *max_staleness*
lookups raise `StaleRing`; a process that was frozen may answer a few more before it
notices.

A node may be a process that lives: see `join` and `coordkit.live`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from ._core import ring as _core
from ._core import ring_export as _export
from ._core import ring_history as _history
from ._core import ring_load as _load
from ._core import ring_verify as _verify
from ._core.observe import Resumed, Suspended, observe
from ._core.ring import shape
from ._core.ring_change import Change, wanted
from ._core.ring_history import RingDiff, Watching
from ._core.ring_node import Nodes, nodes_of, once, weights_of
from ._core.ring_read import RingInfo
from ._core.ring_slot import DEFAULT_SLOTS
from ._core.ring_write import RingChange
from ._core.span import seconds
from .live import AsyncHomes, Homes
from .plan import AsyncPlan, Plan

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine

#: What `watch` yields.
RingEvent: TypeAlias = RingInfo | RingChange | Suspended | Resumed

LONGEST_STALENESS = 86_400.0


def staleness_seconds(span: float | timedelta) -> float:
    """Return how long a ring may be gone by without an answer: 1 s to a day."""
    return seconds(span, "max_staleness", least=1.0, most=LONGEST_STALENESS)


class Ring(Homes):
    """A map of keys to nodes that all processes share.  Making one sends nothing."""

    _engine: Engine

    # -- changes ----------------------------------------------------------------------

    def create(
        self,
        *,
        slots: int = DEFAULT_SLOTS,
        mode: str = "balanced",
        replicas: int = 1,
    ) -> RingChange:
        """
        Make the ring, without nodes; `KeyConflict` if there is one of that name.

        A ring that is not created is made by the first `add`, with these defaults.
        *slots*: a power of two, 2^10 to 2^20; more slots make shares finer.  *mode*:
        ``"balanced"``, or ``"hashed"``: 160 points a node, from its name alone, for a
        ring that can be derived again without its data.  *replicas*: how long a
        preference list is, if one does not say.
        """
        form = shape(slots, mode, replicas)
        return self._engine.run(_core.create(self._ring, form, self._writer()))

    def add(
        self,
        node: str | Nodes,
        *,
        weight: float = 1.0,
        zone: str = "",
        capacity: int | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> RingChange:
        """
        Add a node, or several at once: names, a mapping of weights, `Node` objects.

        `KeyConflict` if the ring has a node of that name.
        """
        nodes = nodes_of(node, weight=weight, zone=zone, capacity=capacity, meta=meta)
        return self._change(wanted(add=nodes))

    def remove(self, *nodes: str) -> RingChange:
        """Remove nodes: what they have is spread over all others; `NoNode` if one is unknown."""
        return self._change(wanted(remove=once(nodes)))

    def reweight(
        self, node: str | Mapping[str, float], weight: float | None = None
    ) -> RingChange:
        """Change the weight of a node, or of several at once; `NoNode` if one is unknown."""
        return self._change(wanted(reweight=weights_of(node, weight)))

    def plan(
        self,
        *,
        add: Nodes = (),
        remove: Iterable[str] = (),
        reweight: Mapping[str, float] | None = None,
    ) -> Plan:
        """
        Make up a change of the ring as it is now, and change nothing.

        Without a change: what a plan that goes in steps has left open.
        """
        change = wanted(add=add, remove=remove, reweight=reweight or {})
        writer = self._writer()
        op = _core.plan(self._ring, change, writer, self._local.snapshot)
        return Plan(self._engine, self._ring, self._engine.run(op), writer)

    def delete(self) -> bool:
        """Take the ring away, with all that is assigned; return whether there was one."""
        return self._engine.run(_core.delete(self._ring, self._engine.rid()))

    def import_(self, document: Mapping[str, Any], *, over: bool = False) -> RingChange:
        """
        Make the ring what `export` has told, slot by slot.

        `KeyConflict` if there is one of that name, unless it is to be written *over*.
        """
        op = _export.import_(self._ring, document, self._writer(), over=over)
        return self._engine.run(op)

    # -- questions ----------------------------------------------------------------------

    def refresh(self) -> int:
        """Ask for the ring now, and keep it fresh from then on; return its version."""
        self._engine.load(self._local)
        return self.version

    def info(self) -> RingInfo | None:
        """Return what the ring is, without its slots; None if there is none."""
        return self._engine.run(_core.info(self._ring))

    def diff(self, since: int, until: int | None = None) -> RingDiff:
        """
        Return what has changed from version *since* to *until* (None: the present one).

        The log has the last 128 changes: `ValueError` if it does not reach back so far.
        """
        return self._engine.run(_history.diff(self._ring, since, until))

    def watch(self) -> Iterator[RingEvent]:
        """
        Yield what the ring is, then every change, as it happens.

        It never ends silently: while the server gives no answer there is `Suspended`,
        then `Resumed`.  After a silence in which more happened than the log holds, what
        the ring is comes again.
        """
        subject = Watching(self._ring).subject()
        return self._engine.stream(observe(subject, self._engine.rid()))

    def verify(self) -> list[str]:
        """Return what is wrong with what is stored, a sentence each; nothing if all is well."""
        return self._engine.run(_verify.verify(self._ring))

    def export(self) -> dict[str, Any]:
        """Return the ring as a document for JSON: all that `import_` needs."""
        return self._engine.run(_export.export(self._ring))

    # -- bounded load -------------------------------------------------------------------

    def assign(self, key: str | bytes, *, c: float = 1.25) -> str:
        """
        Return the node that has *key*, or give it one: shared by all clients.

        That is its owner, or the first after it that has less than *c* times its fair
        share of all keys that are assigned, and less than its `capacity`.  It keeps the
        key until `release`, or until it is no node any more: nothing expires.
        `Overloaded` when all nodes together have as much as they should: the sum of
        their capacities, divided by *c*.
        """
        return self._engine.run(_load.assign(self._ring, key, c))

    def release(self, key: str | bytes) -> str | None:
        """Take *key* from the node that has it; return that node, or None if there is none."""
        return self._engine.run(_load.release(self._ring, key, self._engine.rid()))

    def loads(self) -> dict[str, int]:
        """Return how many keys each node has assigned; those with none are left out."""
        return self._engine.run(_load.loads(self._ring))

    def _change(self, change: Change) -> RingChange:
        op = _core.apply_now(self._ring, change, self._writer(), self._local.snapshot)
        return self._engine.run(op)


class AsyncRing(AsyncHomes):
    """A map of keys to nodes that all processes share.  Making one sends nothing."""

    _engine: AsyncEngine

    # -- changes ----------------------------------------------------------------------

    async def create(
        self,
        *,
        slots: int = DEFAULT_SLOTS,
        mode: str = "balanced",
        replicas: int = 1,
    ) -> RingChange:
        """
        Make the ring, without nodes; `KeyConflict` if there is one of that name.

        A ring that is not created is made by the first `add`, with these defaults.
        *slots*: a power of two, 2^10 to 2^20; more slots make shares finer.  *mode*:
        ``"balanced"``, or ``"hashed"``: 160 points a node, from its name alone, for a
        ring that can be derived again without its data.  *replicas*: how long a
        preference list is, if one does not say.
        """
        form = shape(slots, mode, replicas)
        return await self._engine.run(_core.create(self._ring, form, self._writer()))

    async def add(
        self,
        node: str | Nodes,
        *,
        weight: float = 1.0,
        zone: str = "",
        capacity: int | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> RingChange:
        """
        Add a node, or several at once: names, a mapping of weights, `Node` objects.

        `KeyConflict` if the ring has a node of that name.
        """
        nodes = nodes_of(node, weight=weight, zone=zone, capacity=capacity, meta=meta)
        return await self._change(wanted(add=nodes))

    async def remove(self, *nodes: str) -> RingChange:
        """Remove nodes: what they have is spread over all others; `NoNode` if one is unknown."""
        return await self._change(wanted(remove=once(nodes)))

    async def reweight(
        self, node: str | Mapping[str, float], weight: float | None = None
    ) -> RingChange:
        """Change the weight of a node, or of several at once; `NoNode` if one is unknown."""
        return await self._change(wanted(reweight=weights_of(node, weight)))

    async def plan(
        self,
        *,
        add: Nodes = (),
        remove: Iterable[str] = (),
        reweight: Mapping[str, float] | None = None,
    ) -> AsyncPlan:
        """
        Make up a change of the ring as it is now, and change nothing.

        Without a change: what a plan that goes in steps has left open.
        """
        change = wanted(add=add, remove=remove, reweight=reweight or {})
        writer = self._writer()
        op = _core.plan(self._ring, change, writer, self._local.snapshot)
        return AsyncPlan(self._engine, self._ring, await self._engine.run(op), writer)

    async def delete(self) -> bool:
        """Take the ring away, with all that is assigned; return whether there was one."""
        return await self._engine.run(_core.delete(self._ring, self._engine.rid()))

    async def import_(
        self, document: Mapping[str, Any], *, over: bool = False
    ) -> RingChange:
        """
        Make the ring what `export` has told, slot by slot.

        `KeyConflict` if there is one of that name, unless it is to be written *over*.
        """
        op = _export.import_(self._ring, document, self._writer(), over=over)
        return await self._engine.run(op)

    # -- questions ----------------------------------------------------------------------

    async def refresh(self) -> int:
        """Ask for the ring now, and keep it fresh from then on; return its version."""
        await self._engine.load(self._local)
        return self.version

    async def info(self) -> RingInfo | None:
        """Return what the ring is, without its slots; None if there is none."""
        return await self._engine.run(_core.info(self._ring))

    async def diff(self, since: int, until: int | None = None) -> RingDiff:
        """
        Return what has changed from version *since* to *until* (None: the present one).

        The log has the last 128 changes: `ValueError` if it does not reach back so far.
        """
        return await self._engine.run(_history.diff(self._ring, since, until))

    def watch(self) -> AsyncIterator[RingEvent]:
        """
        Yield what the ring is, then every change, as it happens.

        It never ends silently: while the server gives no answer there is `Suspended`,
        then `Resumed`.  After a silence in which more happened than the log holds, what
        the ring is comes again.
        """
        subject = Watching(self._ring).subject()
        return self._engine.stream(observe(subject, self._engine.rid()))

    async def verify(self) -> list[str]:
        """Return what is wrong with what is stored, a sentence each; nothing if all is well."""
        return await self._engine.run(_verify.verify(self._ring))

    async def export(self) -> dict[str, Any]:
        """Return the ring as a document for JSON: all that `import_` needs."""
        return await self._engine.run(_export.export(self._ring))

    # -- bounded load -------------------------------------------------------------------

    async def assign(self, key: str | bytes, *, c: float = 1.25) -> str:
        """
        Return the node that has *key*, or give it one: shared by all clients.

        That is its owner, or the first after it that has less than *c* times its fair
        share of all keys that are assigned, and less than its `capacity`.  It keeps the
        key until `release`, or until it is no node any more: nothing expires.
        `Overloaded` when all nodes together have as much as they should: the sum of
        their capacities, divided by *c*.
        """
        return await self._engine.run(_load.assign(self._ring, key, c))

    async def release(self, key: str | bytes) -> str | None:
        """Take *key* from the node that has it; return that node, or None if there is none."""
        return await self._engine.run(
            _load.release(self._ring, key, self._engine.rid())
        )

    async def loads(self) -> dict[str, int]:
        """Return how many keys each node has assigned; those with none are left out."""
        return await self._engine.run(_load.loads(self._ring))

    def _change(self, change: Change) -> Coroutine[Any, Any, RingChange]:
        op = _core.apply_now(self._ring, change, self._writer(), self._local.snapshot)
        return self._engine.run(op)
