"""
The ring, as operations.

A change is made up here, from the ring at some version, and the server makes it if the
ring is still at that version; if not, it is made up again from what the ring is by
then.  So two writers never lose each other's change, and the server has only to write
what differs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from ..errors import (
    CoordError,
    DamagedRing,
    EmptyRing,
    KeyConflict,
    Refused,
    RingChanged,
    Unsupported,
)
from .asking import ask, insist
from .inspect import listed
from .keys import lasting_keys
from .ops import Call, Op, Pipeline, Rest
from .reply import number, text
from .ring_change import Change, Draft, draft, next_version
from .ring_place import MODES
from .ring_read import RingId, RingInfo, info_of, pairs, read_call, ring_id, snapshot_of
from .ring_slot import DEFAULT_SLOTS, check_slots
from .ring_snapshot import Snapshot, empty
from .ring_write import (
    MANY,
    Points,
    RingChange,
    commit_call,
    committed,
    points_of,
    stage_calls,
)
from .span import LONGEST_WAIT, seconds

MOST_REPLICAS = 64
#: Whoever loses a race for the next version so often gives up: another won each time.
MOST_RACES = 64


class Shape(NamedTuple):
    """What is fixed when a ring is created."""

    slots: int = DEFAULT_SLOTS
    mode: str = "balanced"
    replicas: int = 1


class Writer(NamedTuple):
    """Who asks for a change: the request, and the process it comes from."""

    rid: str
    identity: str
    #: told of every version that it makes
    took: Callable[[Snapshot, float, float], None]
    #: the membership that asks, if a live node does
    holder: str = ""


class Seen(NamedTuple):
    """A snapshot, and between which instants it was the server's."""

    snapshot: Snapshot
    asked_at: float
    heard_at: float


def shape(slots: int, mode: str, replicas: int) -> Shape:
    """Return the shape of a ring, if one can be so."""
    if mode not in MODES:
        raise ValueError(f"mode={mode!r} is none of {', '.join(MODES)}")
    return Shape(check_slots(slots), mode, copies(replicas, "replicas"))


def copies(number_: int, what: str) -> int:
    """Return how many nodes a preference list should have: 1 to 64."""
    if isinstance(number_, bool) or not isinstance(number_, int):
        raise TypeError(f"{what} is an int, not {type(number_).__name__}: {number_!r}")
    if not 1 <= number_ <= MOST_REPLICAS:
        raise ValueError(f"{what}={number_} is not between 1 and {MOST_REPLICAS}")
    return number_


class Steps(NamedTuple):
    """How a plan goes: the share that one step moves at most, and seconds between them."""

    max_move: float
    every: float
    #: told of each version that was made
    told: Callable[[RingChange], object] | None


def steps(
    max_move: float,
    every: float | timedelta,
    told: Callable[[RingChange], object] | None,
) -> Steps:
    """Return how a plan goes, if it can go so."""
    if isinstance(max_move, bool) or not isinstance(max_move, int | float):
        raise TypeError(
            f"max_move is a number, not {type(max_move).__name__}: {max_move!r}"
        )
    if not 0 < max_move <= 1:  # false for NaN too
        raise ValueError(f"max_move={max_move!r} is not a share: above 0, up to 1")
    return Steps(max_move, seconds(every, "every", most=LONGEST_WAIT), told)


def read(ring: RingId, known: Snapshot | None = None) -> Op[Seen | None]:
    """Return the ring as it is now, None if there is none; what is *known* is not sent again."""
    reply = yield from ask(read_call(ring, known))
    word = text(reply.value[0])
    if word == "none":
        return None
    if known is not None and word == "same":
        return Seen(known, reply.asked_at, reply.heard_at)
    snapshot = snapshot_of(ring.name, reply.value)
    return Seen(snapshot, reply.asked_at, reply.heard_at)


def info(ring: RingId) -> Op[RingInfo | None]:
    """Return what the ring is; None if there is none."""
    reply = yield from ask(read_call(ring, None, whole=False))
    if text(reply.value[0]) == "none":
        return None
    return info_of(ring.name, pairs(reply.value[1]))


def listing(namespace: str, timeout: float) -> Op[list[RingInfo]]:
    """Return every ring of *namespace*, by name.  Reads the indexes: no SCAN."""
    names = yield from listed(lasting_keys(namespace), "ring:", timeout)
    if not names:
        return []
    calls = tuple(
        read_call(ring_id(namespace, name, timeout), None, whole=False)
        for name in names
    )
    reply = yield from ask(Pipeline(calls, timeout))
    found: list[RingInfo] = []
    for name, value in zip(names, reply.value, strict=True):
        if isinstance(value, CoordError) or text(value[0]) == "none":
            continue  # a foreign value at this key is no ring, and hides no other
        with suppress(DamagedRing, Unsupported):
            found.append(info_of(name, pairs(value[1])))
    return found


def create(ring: RingId, form: Shape, writer: Writer) -> Op[RingChange]:
    """Make a ring without nodes; `KeyConflict` if there is one of that name."""
    old = empty(ring.name, writer.rid, *form)
    made = Draft(Change(), old, next_version(old, (), old.owners))
    try:
        return (yield from commit(ring, made, writer))
    except RingChanged as exc:
        raise KeyConflict(
            f"there is a ring {ring.name!r} already, at version {exc.version}"
        ) from None


def commit(ring: RingId, made: Draft, writer: Writer) -> Op[RingChange]:
    """Make what was made up; `RingChanged` if the ring has another version by now."""
    rid, drawn = writer.rid, points_of(made)
    if len(drawn.gone) + len(drawn.come) > MANY:
        ready = 0
        for part in stage_calls(ring, rid, made.new):
            reply = yield from insist(part)
            ready = number(reply.value[1])
        drawn = Points((), (), ready)
    call = commit_call(ring, rid, writer.identity, made, drawn, writer.holder)
    reply = yield from insist(call)
    word = text(reply.value[0])
    if word == "changed":
        raise RingChanged(ring.name, made.old.version, number(reply.value[1]))
    if word == "unready":
        raise Refused(f"points of the ring {ring.name!r} were evicted as they came")
    if word == "alive":
        raise KeyConflict(
            f"the node {text(reply.value[1])!r} of the ring {ring.name!r} lives, and has "
            "not handed over what it holds"
        )
    new = replace(made.new, floor=number(reply.value[3]))
    writer.took(new, reply.asked_at, reply.heard_at)
    return committed(made, writer.identity, reply.value)


def plan(
    ring: RingId, change: Change, writer: Writer, known: Snapshot | None
) -> Op[Draft]:
    """
    Make up *change* from the ring as it is now.

    A ring that does not exist yet is made by the first nodes that are added.
    """
    seen = yield from read(ring, known)
    if seen is not None:
        return draft(seen.snapshot, change)
    if change.remove or change.reweight or not change.add:
        raise no_ring(ring.name)
    return draft(empty(ring.name, writer.rid, *Shape()), change)


def apply_now(
    ring: RingId, change: Change, writer: Writer, known: Snapshot | None
) -> Op[RingChange]:
    """Make *change*, whatever others change meanwhile."""
    lost = 0
    while True:
        made = yield from plan(ring, change, writer, known)
        try:
            return (yield from commit(ring, made, writer))
        except RingChanged:
            lost += 1
            if lost == MOST_RACES:
                raise
            known = made.old


def apply_plan(
    ring: RingId, made: Draft, writer: Writer, way: Steps
) -> Op[list[RingChange]]:
    """
    Make what was planned, step by step; return what each has made: nothing of nothing.

    `RingChanged` if somebody else has changed the ring: what is done is done.
    """
    if made.old.nodes == made.new.nodes and not made.moved:
        return []
    most = max(1, int(way.max_move * made.old.slots))
    at, change, done = made.old, made.change, list[RingChange]()
    clock = yield Rest(0.0)  # only tells the time
    for number_, new in enumerate(made.steps(most)):
        if number_:
            clock = yield Rest(clock.heard_at + way.every)
        its = writer._replace(rid=f"{writer.rid}{number_}")
        step = Draft(change, at, new)
        done.append((yield from commit(ring, step, its)))
        if way.told is not None:
            way.told(done[-1])
        at, change = new, Change()
    return done


def delete(ring: RingId, rid: str) -> Op[bool]:
    """
    Take the ring away, with all that is assigned; return whether there was one.

    `KeyConflict` while nodes of it live: what they hold must be nobody else's.
    """
    k = ring.keys
    call = Call(
        "ring_delete",
        (
            *(k.meta, k.nodes, k.points, k.packed, k.log),
            *(k.assigned, k.loads, k.lasting, k.tomb + rid),
            *(k.live.alive, k.live.fence),
        ),
        (ring.channel, ring.member),
        ring.timeout,
    )
    reply = yield from insist(call)
    word = text(reply.value[0])
    if word == "alive":
        raise KeyConflict(
            f"{number(reply.value[1])} nodes of the ring {ring.name!r} live: they leave first"
        )
    return word == "deleted"


def no_ring(name: str) -> EmptyRing:
    """Return the error of a ring that is not there."""
    return EmptyRing(f"there is no ring {name!r}")
