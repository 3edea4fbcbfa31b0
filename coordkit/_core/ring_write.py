"""Writes a change of a ring: only what differs, in one call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, NamedTuple

from .ops import Call
from .reply import number, text
from .ring_change import Change, Draft, Move
from .ring_node import node_record
from .ring_read import RingId, pairs
from .ring_slot import HASH
from .ring_snapshot import Snapshot, pack, points, redrawn

#: Moves that take more bytes are not kept in the log.
LARGEST_MOVES = 262_144
#: The moves of a change before or after which nobody owns anything.
UNOWNED = "null"
#: Points that one script lays ready: the server does nothing else for a millisecond.
PART = 1000
#: A change of more points than this is laid ready beside the old ones.
MANY = 4000


@dataclass(frozen=True, slots=True)
class RingChange:
    """
    One change of a ring, as the log keeps it.

    *version* is what it made; *at*, in seconds of the server's clock, and *by*, an
    identity, say when and who.  *added*, *removed*, *reweighted*: nodes; all empty for
    a further step of a plan, or what live nodes did.  *moved*: how many slots changed hands.
    """

    version: int
    at: float
    by: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    reweighted: tuple[str, ...]
    moved: int


class Points(NamedTuple):
    """How the points are brought up to date: those that differ, or all laid ready before."""

    gone: Sequence[str]
    come: Sequence[tuple[int, str]]
    ready: int = 0


def points_of(made: Draft) -> Points:
    """Return the points that *made* takes away and brings."""
    old, new = made.old.table(), made.new.table()
    return Points(*redrawn(old, new, made.new.slots, made.handed))


def stage_calls(ring: RingId, rid: str, new: Snapshot) -> Iterator[Call]:
    """Yield calls that lay all points of *new* ready, so many in each."""
    every = points(new.table())
    for first in range(0, len(every), PART):
        part = every[first : first + PART]
        flat = tuple(x for point in part for x in point)
        yield Call("ring_stage", (ring.keys.staged + rid,), flat, ring.timeout)


def commit_call(
    ring: RingId,
    rid: str,
    identity: str,
    made: Draft,
    drawn: Points,
    holder: str = "",
) -> Call:
    """
    Return the call that makes *made* what the ring is.

    *holder*: the membership that asks, and has let go what it gives away.
    """
    keys, old, new = ring.keys, made.old, made.new
    before = {node.name: node for node in old.nodes}
    after = {node.name for node in new.nodes}
    lists: list[Sequence[str | int]] = [
        givers(made),
        _meta(new),
        [
            x
            for node in new.nodes
            if before.get(node.name) != node
            for x in (node.name, node_record(node))
        ],
        sorted(before.keys() - after),
        drawn.gone,
        [x for point in drawn.come for x in point],
    ]
    return Call(
        "ring_commit",
        (
            *(keys.meta, keys.nodes, keys.points, keys.packed, keys.log),
            *(keys.lasting, keys.staged + rid),
            *(keys.live.group, keys.live.alive, keys.live.fence),
        ),
        (
            rid,
            old.birth,
            old.version,
            pack(new),
            ring.channel,
            ring.member,
            identity,
            _change_text(made.change),
            sum(move.slots for move in made.hands),
            moves_text(made.hands) if made.owned else UNOWNED,
            drawn.ready,
            holder,
            " ".join(str(len(each)) for each in lists),
            *(x for each in lists for x in each),
        ),
        ring.timeout,
    )


def givers(made: Draft) -> list[str]:
    """Return the nodes that lose slots by *made*: none of them may live, but who asks."""
    if not made.old.owned:
        return []
    losing = {made.old.owners[slot] for slot in made.handed}
    return sorted(made.old.nodes[index].name for index in losing)


def _meta(new: Snapshot) -> list[str | int]:
    staying = [node for node in new.nodes if node.pull]
    most = [node.capacity for node in staying if node.capacity is not None]
    known = len(most) == len(staying)
    fields: dict[str, str | int] = {
        "birth": new.birth,
        "version": new.version,
        "slots": new.slots,
        "hash": HASH,
        "format": new.format,
        "mode": new.mode,
        "replicas": new.replicas,
        "nodes": len(new.nodes),
        "weight": repr(fsum(node.weight for node in staying)) if staying else "0",
        "capacity": sum(most) if known and staying else "",
    }
    return [x for pair in fields.items() for x in pair]


def _change_text(change: Change) -> str:
    told = {
        "add": [node.name for node in change.add],
        "remove": list(change.remove),
        "reweight": list(change.reweight),
    }
    return _json({what: names for what, names in told.items() if names})


def moves_text(moves: Sequence[Move]) -> str:
    """
    Return moves as the log keeps them: ``[[source, target, [slot, [first, last], …]], …]``.

    Empty if that would be too long.
    """
    flows: dict[tuple[str, str], list[int | list[int]]] = {}
    for first, last, source, target in moves:
        slots = first if first == last else [first, last]
        flows.setdefault((source, target), []).append(slots)
    written = _json([[*flow, slots] for flow, slots in flows.items()])
    return written if len(written) <= LARGEST_MOVES else ""


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# -- read again -------------------------------------------------------------------


def change_of(entry: list[Any]) -> RingChange:
    """Return the change of an entry of the log; `ValueError` if it is none of ours."""
    version, fields = text(entry[0]).partition("-")[0], pairs(entry[1])
    change = json.loads(fields["change"])
    return RingChange(
        version=int(version),
        at=int(fields["at"]) / 1000,
        by=fields["by"],
        added=tuple(change.get("add", ())),
        removed=tuple(change.get("remove", ())),
        reweighted=tuple(change.get("reweight", ())),
        moved=int(fields["moved"]),
    )


def is_owned(entry: list[Any]) -> bool:
    """Return whether somebody owned the slots before and after a change of the log."""
    return pairs(entry[1])["moves"] != UNOWNED


def moves_of(entry: list[Any]) -> list[Move] | None:
    """Return the moves of an entry of the log; None if they were too many to be kept."""
    written = pairs(entry[1])["moves"]
    if not written:
        return None
    return [
        Move(first, last, source, target)
        for source, target, slots in json.loads(written)
        for each in slots
        for first, last in [(each, each) if isinstance(each, int) else each]
    ]


def committed(made: Draft, identity: str, value: list[Any]) -> RingChange:
    """Return the change that the server has made."""
    change = made.change
    return RingChange(
        version=number(value[1]),
        at=number(value[2]) / 1000,
        by=identity,
        added=tuple(node.name for node in change.add),
        removed=change.remove,
        reweighted=tuple(change.reweight),
        moved=sum(move.slots for move in made.hands),
    )
