"""Preference lists: the owner of a slot, and who comes after it, spread over zones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

from .ring_snapshot import Snapshot


class Spread:
    """
    Preference lists of one snapshot.

    From its slot one walks on to nodes that were not met yet: first takes one of each
    zone, then a second of each, and so on.  So a longer list begins with the shorter,
    and zones are distinct while there are enough.  A node without a zone is a zone of
    its own.
    """

    __slots__ = ("_mask", "_needs", "_sizes", "_table", "_zones", "nodes")

    def __init__(self, table: Sequence[str], zones: Mapping[str, str]) -> None:
        owning = sorted(set(table))
        self.nodes = len(owning)
        self._table = table
        self._mask = len(table) - 1
        self._zones = {name: zones[name] or f"\n{name}" for name in owning}
        self._sizes = Counter(self._zones.values())
        self._needs: dict[int, list[int]] = {}

    @classmethod
    def of(cls, snapshot: Snapshot) -> Spread:
        """Return that of *snapshot*."""
        return cls(snapshot.table(), {node.name: node.zone for node in snapshot.nodes})

    def preferred(self, slot: int, n: int) -> tuple[str, ...]:
        """Return the first *n* nodes for *slot*; fewer only if there are no more."""
        n = min(n, self.nodes)
        needs = self._needs.get(n) or self._needs.setdefault(n, self._by_rank(n))
        table, mask, zones = self._table, self._mask, self._zones
        picked: list[list[str]] = [[] for _ in needs]
        met: dict[str, int] = {}
        seen: set[str] = set()
        while n:
            node = table[slot & mask]
            slot += 1
            if node in seen:
                continue
            seen.add(node)
            zone = zones[node]
            rank = met[zone] = met.get(zone, -1) + 1
            if rank < len(needs) and len(picked[rank]) < needs[rank]:
                picked[rank].append(node)
                n -= 1
        return tuple(chain.from_iterable(picked))

    def _by_rank(self, n: int) -> list[int]:
        """Return how many are the first of their zone, how many the second, and so on."""
        needs: list[int] = []
        while n:
            rank = len(needs)
            zones = sum(size > rank for size in self._sizes.values())
            needs.append(min(n, zones))
            n -= needs[-1]
        return needs
