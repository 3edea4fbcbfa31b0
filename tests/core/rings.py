"""Rings to play with: snapshots, changes, and what the server would answer of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from coordkit._core.ring import Seen, Writer
from coordkit._core.ring_change import Change, Draft, draft, wanted
from coordkit._core.ring_node import Node, node_record
from coordkit._core.ring_read import ring_id
from coordkit._core.ring_snapshot import Snapshot, empty, pack
from coordkit._core.ring_write import commit_call, points_of

RING = ring_id("ns", "jobs", 2.0)
BIRTH = "b" * 32
SLOTS = 1024
AT = 1_700_000_000_000
FLOOR = 1_700_000_000_000_000


def bare(
    *, slots: int = SLOTS, mode: str = "balanced", replicas: int = 1, name: str = "jobs"
) -> Snapshot:
    """A ring that nobody has made yet."""
    return replace(empty(name, BIRTH, slots, mode, replicas), floor=FLOOR)


def a_ring(
    nodes: int | Mapping[str, float] | Iterable[Node] = 3, **shape: Any
) -> Snapshot:
    """A ring of so many nodes, ``n0`` and so on, or of these."""
    if isinstance(nodes, int):
        nodes = {f"n{i}": 1.0 for i in range(nodes)}
    return after(bare(**shape), add=nodes)


def after(old: Snapshot, **change: Any) -> Snapshot:
    """The ring after a change."""
    return made_up(old, **change).new


def made_up(old: Snapshot, **change: Any) -> Draft:
    """A change that is not made yet."""
    return draft(old, wanted(**change) if change else Change())


def a_writer(rid: str = "r" * 32, told: list[Seen] | None = None) -> Writer:
    """The process ``me``; what it is told goes into a list."""

    def took(snapshot: Snapshot, asked_at: float, heard_at: float) -> None:
        if told is not None:
            told.append(Seen(snapshot, asked_at, heard_at))

    return Writer(rid, "me", took)


# -- what the server answers ----------------------------------------------------------


def committing(made: Draft, rid: str = "r" * 32) -> Any:
    """The call that makes a change."""
    drawn = points_of(made)
    return commit_call(RING, rid, "me", made, drawn)


def meta(snapshot: Snapshot) -> list[bytes]:
    """What is stored as the meta of a ring."""
    call = committing(Draft(Change(), bare(slots=snapshot.slots), snapshot))
    skip, count, *_ = map(int, str(call.args[12]).split())
    told = ("floor", snapshot.floor, *call.args[13 + skip : 13 + skip + count])
    return [str(arg).encode() for arg in told]


def whole(snapshot: Snapshot) -> list[Any]:
    """The answer to who does not know the ring yet."""
    records = [
        part.encode()
        for node in snapshot.nodes
        for part in (node.name, node_record(node))
    ]
    return [b"ring", meta(snapshot), records, pack(snapshot)]


def committed(snapshot: Snapshot) -> list[Any]:
    """The answer to who has made this version."""
    return [b"committed", *(str(n).encode() for n in (snapshot.version, AT, FLOOR))]


def entry(made: Draft) -> list[Any]:
    """The entry of a change in the log."""
    call = committing(made)
    rid, by, change, moved, moves = (call.args[i] for i in (0, 6, 7, 8, 9))
    fields = {
        "rid": rid,
        "at": AT,
        "by": by,
        "change": change,
        "moved": moved,
        "moves": moves,
    }
    flat = [str(x).encode() for pair in fields.items() for x in pair]
    return [f"{made.new.version}-0".encode(), flat]


NONE = [b"none"]
SAME = [b"same"]
