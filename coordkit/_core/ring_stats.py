"""How even a ring is: exact, counted from its arcs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum, sqrt

from .ring_place import counts
from .ring_prefer import Spread
from .ring_snapshot import Snapshot

#: Nodes that carry so many times their share of the copies are worth a word.
UNEVEN = 1.25


@dataclass(frozen=True, slots=True)
class NodeShare:
    """
    What one node has.

    *share* of all slots, *ideal* by its weight, and *load*, the one to the other: 0.0
    for a node that leaves.  *copies* is the same for preference lists: of all places
    in lists as long as the ring's `replicas`.
    """

    name: str
    weight: float
    zone: str
    state: str
    slots: int
    share: float
    ideal: float
    load: float
    copies: float


@dataclass(frozen=True, slots=True)
class RingStats:
    """
    How even a ring is at one version, node by node.

    *max_over_mean* is the highest load of a node: 1.0 is perfect; a balanced ring of n
    nodes of equal weight has at most 1 + n/S.  *cv*: the standard deviation of the
    loads.  *arcs*: how many points are stored.  *zones*: how many nodes are in each.
    *warnings*: what preference lists cannot give, in words.
    """

    version: int
    slots: int
    arcs: int
    replicas: int
    max_over_mean: float
    min_over_mean: float
    cv: float
    nodes: tuple[NodeShare, ...]
    zones: Mapping[str, int]
    warnings: tuple[str, ...]


def stats(snapshot: Snapshot) -> RingStats:
    """Count."""
    shares = _shares(snapshot)
    loads = [share.load for share in shares if share.ideal] or [0.0]
    mean = fsum(loads) / len(loads)
    owners = snapshot.owners
    return RingStats(
        version=snapshot.version,
        slots=snapshot.slots,
        arcs=1 + sum(a != b for a, b in pairwise(owners)),
        replicas=snapshot.replicas,
        max_over_mean=max(loads),
        min_over_mean=min(loads),
        cv=sqrt(fsum((load - mean) ** 2 for load in loads) / len(loads)),
        nodes=tuple(shares),
        zones=dict(Counter(node.zone for node in snapshot.nodes if node.pull)),
        warnings=tuple(_warnings(snapshot.replicas, shares)),
    )


def _shares(snapshot: Snapshot) -> list[NodeShare]:
    total = fsum(node.pull for node in snapshot.nodes)
    have, slots = counts(snapshot.owners), snapshot.slots
    copies = _copies(snapshot)
    places = sum(copies.values())
    shares: list[NodeShare] = []
    for node, owned in zip(snapshot.nodes, have, strict=False):
        ideal = node.pull / total if total else 0.0
        share = owned / slots
        shares.append(
            NodeShare(
                name=node.name,
                weight=node.weight,
                zone=node.zone,
                state=node.state,
                slots=owned,
                share=share,
                ideal=ideal,
                load=share / ideal if ideal else 0.0,
                copies=copies[node.name] / places / ideal if ideal and places else 0.0,
            )
        )
    return shares


def _copies(snapshot: Snapshot) -> Counter[str]:
    """Return how often each node is in a preference list."""
    table = snapshot.table()
    if snapshot.replicas == 1 or not table:
        return Counter(table)
    spread = Spread.of(snapshot)
    found: Counter[str] = Counter()
    for slot in range(len(table)):
        found.update(spread.preferred(slot, snapshot.replicas))
    return found


def _warnings(replicas: int, shares: Sequence[NodeShare]) -> Iterator[str]:
    if replicas == 1:
        return
    staying = [share for share in shares if share.ideal]
    if len(staying) < replicas:
        yield f"{replicas} replicas, but {len(staying)} nodes"
    zones = {share.zone for share in staying}
    if zones <= {""}:
        return
    if "" in zones:
        yield "some nodes have a zone and some have none: each of these counts as one"
    elif len(zones) < replicas:
        yield f"{replicas} replicas, but {len(zones)} zones: lists repeat a zone"
    for zone in sorted(zones - {""}):
        here = [share for share in staying if share.zone == zone]
        worst = max(share.copies for share in here)
        if worst > UNEVEN:
            weight = fsum(share.ideal for share in here)
            yield (
                f"zone {zone!r} has {weight:.1%} of the weight, too little for its part "
                f"of the copies: a node of it carries {worst:.2f} times its share"
            )
