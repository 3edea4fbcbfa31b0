"""Bounded load: keys assigned to nodes, shared by all clients of a ring."""

from __future__ import annotations

from ..errors import EmptyRing, Overloaded
from .asking import ask, insist
from .ops import Call, Op
from .reply import number, text
from .ring_read import RingId, pairs
from .ring_slot import MOST_SLOTS, key_bytes, slot_of

MOST_C = 1000.0


def check_c(c: float) -> float:
    """Return *c* if nodes can be loaded so: from 1, all alike, to 1000."""
    if isinstance(c, bool) or not isinstance(c, int | float):
        raise TypeError(f"c is a number, not {type(c).__name__}: {c!r}")
    if not 1 <= c <= MOST_C:  # false for NaN too
        raise ValueError(f"c={c!r} is not between 1 and {MOST_C:g}")
    return float(c)


def assign(ring: RingId, key: str | bytes, c: float) -> Op[str]:
    """
    Return the node that has *key*, or give it to the first that may take one more.

    Node i may have ⌈c·wᵢ·(M+1)⌉ keys when M are assigned (Mirrokni, Thorup and
    Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016).
    """
    asked = (key_bytes(key), slot_of(key, MOST_SLOTS), repr(check_c(c)))
    k = ring.keys
    call = Call(
        "ring_assign",
        (k.meta, k.nodes, k.points, k.assigned, k.loads),
        asked,
        ring.timeout,
    )
    reply = yield from insist(call)
    word = text(reply.value[0])
    if word == "overloaded":
        raise Overloaded(ring.name, number(reply.value[1]), number(reply.value[2]))
    if word == "none":
        raise EmptyRing(f"the ring {ring.name!r} has no nodes")
    return text(reply.value[1])


def release(ring: RingId, key: str | bytes, rid: str) -> Op[str | None]:
    """Take *key* from the node that has it; return that, or None if none has."""
    asked = (key_bytes(key),)
    k = ring.keys
    call = Call(
        "ring_release",
        (k.assigned, k.loads, k.tomb + rid),
        asked,
        ring.timeout,
    )
    reply = yield from insist(call)
    return text(reply.value[1]) if text(reply.value[0]) == "released" else None


def loads(ring: RingId) -> Op[dict[str, int]]:
    """Return how many keys each node has assigned, by name; those with none left out."""
    reply = yield from ask(Call("ring_loads", (ring.keys.loads,), (), ring.timeout))
    return {node: int(load) for node, load in sorted(pairs(reply.value).items())}
