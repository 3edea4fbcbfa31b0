"""
Lookups: what a ring answers from what this process knows of it.

They are the same for threads and for tasks, for they wait for nothing; only the very
first one of a `Ring` asks the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xxhash import xxh64_intdigest

from ._core.group import Circle
from ._core.ring import Writer, copies
from ._core.ring_ketama import Ketama, Migration, migration
from ._core.ring_local import LocalRing, Location
from ._core.ring_member import NodeLease
from ._core.ring_node import Node
from ._core.ring_read import ring_id
from ._core.ring_slot import key_bytes
from ._core.ring_snapshot import Range, ranges
from ._core.ring_stats import RingStats, stats
from ._core.ring_tend import Tender
from ._io.fork import OfOneProcess
from .errors import NoNode


class Lookups(OfOneProcess):
    """What is answered from what this process knows of a ring."""

    def __init__(self, engine: Any, name: str, max_staleness: float) -> None:
        self._engine = engine
        self._ring = ring_id(engine.namespace, name, engine.timeout)
        self._local: LocalRing = engine.ring(self._ring, max_staleness)

    @property
    def name(self) -> str:
        """What this ring is called."""
        return self._ring.name

    @property
    def version(self) -> int:
        """Which version lookups are answered from: it counts the changes."""
        return self._local.known().version

    def owner(self, key: str | bytes) -> str:
        """
        Return the node of *key*: a str, which is hashed in UTF-8, or bytes.

        `EmptyRing` when there is none, `StaleRing` when what is known is too old.
        """
        table, shift = self._local.view
        if type(key) is str:  # nine of ten
            return table[xxh64_intdigest(key.encode()) >> shift]
        return table[xxh64_intdigest(key_bytes(key)) >> shift]

    def owner_many(self, keys: Iterable[str | bytes]) -> list[str]:
        """Return the node of each key, in order: half the time of asking one by one."""
        if isinstance(keys, str | bytes):
            raise TypeError(
                f"keys are several, not one {type(keys).__name__}: {keys!r}"
            )
        asked: Any = keys if isinstance(keys, list | tuple) else list(keys)
        table, shift = self._local.view
        try:
            return [table[xxh64_intdigest(key.encode()) >> shift] for key in asked]
        except AttributeError:  # not all are str
            return [table[xxh64_intdigest(key_bytes(key)) >> shift] for key in asked]

    def owners(self, key: str | bytes, n: int | None = None) -> tuple[str, ...]:
        """
        Return the first *n* nodes for *key*, its owner first; None: the ring's `replicas`.

        They are distinct, and in distinct zones while there are enough of these; fewer
        than *n* only when the ring has fewer nodes.
        """
        return self._local.owners(key, n if n is None else copies(n, "n"))

    def locate(self, key: str | bytes) -> Location:
        """Return the slot of *key*, its node, and at which version it got that node."""
        return self._local.locate(key)

    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes, by name."""
        return self._local.known().nodes

    def ranges(self, node: str) -> list[Range]:
        """Return the slots that *node* has, runs of them as one; `NoNode` if there is none."""
        snapshot = self._local.known()
        if not any(each.name == node for each in snapshot.nodes):
            raise NoNode(self.name, node)
        return list(ranges(snapshot.table(), node))

    def stats(self) -> RingStats:
        """Count how even the ring is: exact, from its slots."""
        return stats(self._local.known())

    def from_ketama(
        self, weights: Mapping[str, float], keys: Iterable[str | bytes]
    ) -> Migration:
        """
        Compare with a ketama ring of these *weights*: how many of these *keys* would move.

        The two hash differently, so that about 1 - 1/n of them do.
        """
        asked, old = list(keys), Ketama(weights)
        return migration(old, asked, self.owner_many(asked), self.stats())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # -- for both ---------------------------------------------------------------------

    def _writer(self) -> Writer:
        engine = self._engine
        return Writer(engine.rid(), engine.identity, self._local.heard)

    def _tender(self, circle: Circle, node: NodeLease) -> Tender:
        engine = self._engine
        ways = engine.rid, engine._following.stir, engine._line.stir
        return Tender(self._ring, self._local, circle, node, *ways)
