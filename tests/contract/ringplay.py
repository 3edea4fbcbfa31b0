"""What the tests of rings share: keys, and what is stored behind a ring's back."""

from __future__ import annotations

from typing import Any

from contract.places import Place
from coordkit import AsyncRing, AsyncSession
from coordkit._core.keys import RingKeys, ring_keys
from coordkit._core.ring_slot import slot_of

NODES = {"cache-1": 1.0, "cache-2": 2.0, "cache-3": 1.0}
KEYS = [f"user:{n}" for n in range(500)]


def keys_of(s: AsyncSession, name: str = "shards") -> RingKeys:
    return ring_keys(s.namespace, name)


async def known(ring: AsyncRing) -> AsyncRing:
    """Return *ring*, so that it can be looked up in either flavour."""
    await ring.refresh()
    return ring


async def a_ring(s: AsyncSession, name: str = "shards", **shape: Any) -> AsyncRing:
    """Return a small ring of three nodes."""
    ring = s.ring(name)
    given: dict[str, Any] = {"slots": 1024, **shape}
    await ring.create(**given)
    await ring.add(NODES)
    return await known(ring)


def stored(place: Place, s: AsyncSession, name: str = "shards") -> dict[str, Any]:
    """Return all that is stored of a ring, byte by byte."""
    keys = keys_of(s, name)
    fields = (
        *(keys.meta, keys.nodes, keys.points, keys.packed, keys.log),
        *(keys.assigned, keys.loads, keys.lasting),
    )
    return {key: place.dump(key) for key in fields}


def asked_of(place: Place, s: AsyncSession, key: str, slots: int = 1024) -> str:
    """Return the owner as any client of Redis asks for it: by one command."""
    found = place.raw.zrange(
        keys_of(s).points,
        slot_of(key, slots),
        "+inf",
        byscore=True,
        offset=0,
        num=1,
    )
    return str(found[0].partition(":")[2])
