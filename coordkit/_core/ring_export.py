"""A ring as a document: all that is needed to make the very same one again."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby, repeat
from typing import Any, cast

from ..errors import KeyConflict
from .ops import Op
from .ring import Writer, commit, no_ring, read, shape
from .ring_change import Draft, difference, next_version
from .ring_node import ACTIVE, LEAVING, Node, check_node, once
from .ring_place import NOBODY
from .ring_read import RingId
from .ring_slot import HASH
from .ring_snapshot import FORMAT, Snapshot, empty
from .ring_write import RingChange

KIND = "coordkit ring"


def document(snapshot: Snapshot) -> dict[str, Any]:
    """
    Return *snapshot* as what JSON can hold.

    *arcs* are pairs, in order: the last slot, and which of the *nodes* has it, or is to
    have it.  Who lives is not in it.
    """
    arcs: list[list[int]] = []
    slot = -1
    for owner, run in groupby(snapshot.targets if snapshot.owned else ()):
        slot += len(list(run))
        arcs.append([slot, owner])
    return {
        "kind": KIND,
        "format": FORMAT,
        "name": snapshot.name,
        "version": snapshot.version,
        "hash": HASH,
        "slots": snapshot.slots,
        "mode": snapshot.mode,
        "replicas": snapshot.replicas,
        "nodes": [
            {
                "name": node.name,
                "weight": node.weight,
                "zone": node.zone,
                "capacity": node.capacity,
                "state": LEAVING if node.state == LEAVING else ACTIVE,
                "meta": dict(node.meta),
            }
            for node in snapshot.nodes
        ],
        "arcs": arcs,
    }


def export(ring: RingId) -> Op[dict[str, Any]]:
    """Return the ring as it is now, as a document."""
    seen = yield from read(ring)
    if seen is None:
        raise no_ring(ring.name)
    return document(seen.snapshot)


def import_(
    ring: RingId, given: Mapping[str, Any], writer: Writer, *, over: bool
) -> Op[RingChange]:
    """Make the ring what *given* says; *over* one that is there, else there must be none."""
    wanted = snapshot_in(ring.name, writer.rid, given)
    seen = yield from read(ring)
    if seen is None:
        old = replace(wanted, nodes=(), owners=_nobody(wanted.slots))
    elif not over:
        raise KeyConflict(f"there is a ring {ring.name!r} already")
    elif seen.snapshot.slots != wanted.slots:
        raise KeyConflict(
            f"the ring {ring.name!r} has {seen.snapshot.slots} slots, the document "
            f"{wanted.slots}: delete it first"
        )
    elif joined := [node.name for node in seen.snapshot.nodes if node.joined]:
        raise KeyConflict(
            f"the ring {ring.name!r} has nodes that live, or are away: {', '.join(joined)}"
        )
    else:
        old = seen.snapshot
    new = replace(
        next_version(old, wanted.nodes, wanted.owners),
        mode=wanted.mode,
        replicas=wanted.replicas,
    )
    made = Draft(difference(old, new), old, new)
    return (yield from commit(ring, made, writer))


def _nobody(slots: int) -> array[int]:
    return array("H", repeat(NOBODY, slots))


# -- read again -------------------------------------------------------------------


def snapshot_in(name: str, birth: str, given: Mapping[str, Any]) -> Snapshot:
    """Return the ring that a document holds, at version 0; `ValueError` if it holds none."""
    if given.get("kind") != KIND:
        raise ValueError("this document holds no ring: its kind is not 'coordkit ring'")
    if given.get("format") != FORMAT or given.get("hash") != HASH:
        raise ValueError(
            f"a ring of format {given.get('format')!r}, hashed by {given.get('hash')!r}: "
            f"this coordkit reads format {FORMAT} and {HASH}"
        )
    try:
        form = shape(given["slots"], given["mode"], given["replicas"])
        nodes = [_node(each) for each in given["nodes"]]
        if nodes:
            once(node.name for node in nodes)
        owners = _owners(given["arcs"], nodes, form.slots)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(
            f"this document is no whole ring: {type(exc).__name__}: {exc}"
        ) from exc
    bare = empty(name, birth, *form)
    return replace(bare, nodes=tuple(sorted(nodes, key=_name)), owners=owners)


def _name(node: Node) -> str:
    return node.name


def _node(given: Mapping[str, Any]) -> Node:
    node = Node(
        given["name"],
        given["weight"],
        given.get("zone", ""),
        given.get("capacity"),
        given.get("meta", {}),
    )
    state = given.get("state", ACTIVE)
    if state not in {ACTIVE, LEAVING}:
        raise ValueError(f"{state!r} is no state of a node")
    return replace(check_node(node), state=state)


def _owners(arcs: Any, nodes: list[Node], slots: int) -> array[int]:
    """Return the owners that these arcs give, as indexes into the nodes by name."""
    if not nodes and not arcs:
        return _nobody(slots)
    order = sorted(range(len(nodes)), key=lambda i: nodes[i].name)
    places = {i: place for place, i in enumerate(order)}
    owners = array("H")
    for last, index in cast("list[tuple[int, int]]", arcs):
        if not len(owners) <= last < slots or index not in places:
            raise ValueError(f"arc [{last!r}, {index!r}] does not fit: see `arcs`")
        owners.extend(repeat(places[index], last + 1 - len(owners)))
    if len(owners) != slots:
        raise ValueError(f"its arcs end at slot {len(owners) - 1}, not at {slots - 1}")
    return owners
