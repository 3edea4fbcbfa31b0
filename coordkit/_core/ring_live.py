"""
A ring whose nodes are processes: what becomes of it as they come, go and die.

Whose a slot *is* and whose it is *to be* are two tables.  Nodes that are there get what
is to be theirs, in two phases where another live node has it: that one lets it go first.
A node that has died keeps its place for its grace: what is to be its stays so, and
somebody stands in; when it is back it gets exactly that again, from who stood in.

So there is one rule for all of it, and whoever is there applies it to what he sees: two
who do come to the same ring, and the one who is later finds it made.  What makes it safe
is not here but in `ring_commit`: a node that lives loses nothing unless it asks itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import compress
from typing import NamedTuple

from .ring_change import indexes_then, next_version, placed
from .ring_node import ACTIVE, AWAY, LEAVING, MOST_NODES, Node
from .ring_place import GONE, MOST_POINTS, POINTS
from .ring_snapshot import Snapshot


class Life(NamedTuple):
    """A process that is there as a node: its membership, and what it would be added as."""

    token: int
    node: Node


def settled(
    old: Snapshot,
    lives: Mapping[str, Life],
    now: float,
    *,
    left: Collection[str] = (),
    given: Collection[int] = (),
) -> Snapshot | None:
    """
    Return the ring as it should be by now; None if it is so.

    *now* in seconds of the server's clock.  *left*: nodes that have gone for good.
    *given*: slots that their holder has let go, and that go where they are to be.
    """
    nodes = tuple(sorted(_nodes(old, lives, now, left), key=_name))
    if nodes == old.nodes and not given:
        return None  # for whoever dies or joins is another by that
    pulls = {node.name: node.pull for node in nodes}
    targets = indexes_then(old, old.targets, nodes)
    if pulls != {node.name: node.pull for node in old.nodes}:
        targets = placed(old, _claimed(old, targets, nodes), nodes)
    new = next_version(old, nodes, targets, lives, given)
    same = (new.nodes, new.owners, new.targets) == (old.nodes, old.owners, old.targets)
    return None if same else new


def _name(node: Node) -> str:
    return node.name


def _nodes(
    old: Snapshot, lives: Mapping[str, Life], now: float, left: Collection[str]
) -> Iterator[Node]:
    known = {node.name for node in old.nodes}
    for node in old.nodes:
        life = lives.get(node.name)
        if life is not None:
            yield _alive(node, life)
        elif not node.joined:
            yield node
        elif node.name not in left and (kept := _kept(node, now)) is not None:
            yield kept
    room = min(old.slots, MOST_NODES) - len(known)
    for name, life in sorted(lives.items()):
        if name not in known and room > 0 and fits(old.mode, life.node.weight):
            room -= 1
            yield replace(life.node, holder=life.token)


def fits(mode: str, weight: float) -> bool:
    """Whether a ring of that mode can have a node of that weight."""
    return mode != "hashed" or round(POINTS * weight) <= MOST_POINTS


def _alive(node: Node, life: Life) -> Node:
    """Return *node* as it is while that process is there as it."""
    if life.token < node.holder:
        return node  # seen before it joined again: what the ring says is newer
    # Who leaves does so as long as it lives; who comes anew stays.
    state = node.state if life.token == node.holder else ACTIVE
    grace = life.node.grace
    return replace(node, holder=life.token, state=state, grace=grace, until=0.0)


def _kept(node: Node, now: float) -> Node | None:
    """Return *node*, which has died, for as long as its place is kept."""
    if node.state == LEAVING or not node.grace:
        return None
    if node.state == AWAY:
        return node if now < node.until else None
    return replace(node, state=AWAY, until=now + node.grace)


def _claimed(old: Snapshot, targets: array[int], nodes: tuple[Node, ...]) -> array[int]:
    """Return *targets*, with what is nobody's any more given to who stands in for him."""
    stands = indexes_then(old, old.owners, nodes)
    return array(
        "H",
        (o if t == GONE else t for t, o in zip(targets, stands, strict=True)),
    )


def dead(ring: Snapshot, lives: Collection[str]) -> list[Node]:
    """Return the nodes that should be there, by the ring, and are not."""
    return [
        node
        for node in ring.nodes
        if node.joined and node.state != AWAY and node.name not in lives
    ]


def mine(ring: Snapshot, name: str, token: int) -> bytes | None:
    """Return, by slot, 1 where it is held by that membership; None if that holds nothing."""
    for index, node in enumerate(ring.nodes):
        if node.name == name:
            if node.holder != token:
                return None
            return bytes(map(index.__eq__, ring.owners))
    return None


def pending(
    ring: Snapshot, name: str, token: int, lives: Collection[str]
) -> frozenset[int]:
    """Return the slots that this membership is to hand over to somebody who is there."""
    held = mine(ring, name, token)
    if held is None or ring.next is None:
        return frozenset()
    there = [not n.joined or n.name in lives for n in ring.nodes]
    number = len(there)
    return frozenset(
        slot
        for slot in compress(range(ring.slots), held)
        if (target := ring.next[slot]) != ring.owners[slot]
        and target < number
        and there[target]
    )
