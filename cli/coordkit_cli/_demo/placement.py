"""The last act: a node joins a ring, and a picture of what moved."""

from __future__ import annotations

from coordkit import Ring

from ..ring._picture import picture
from ..ring.plot import bars, drawn
from .crew import Wrong
from .tell import Teller

NODES = ("cache-1", "cache-2", "cache-3")
JOINS = "cache-4"
KEYS = [f"user:{number}" for number in range(1000)]
#: Of a terminal; the picture stands two columns to the right.
COLUMNS = 77


def place(tell: Teller, ring: Ring) -> None:
    """Have a node join; raise `Wrong` if another key moves than those that it takes."""
    tell.act(5, "three caches share all keys; a fourth one joins", timed=False)
    ring.create()
    ring.add(dict.fromkeys(NODES, 1.0))
    before = ring.owner_many(KEYS)
    plan = ring.plan(add={JOINS: 1.0})
    plan.apply()
    ring.refresh()
    after = ring.owner_many(KEYS)
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    if not moved or set(moved) != {JOINS}:
        raise Wrong(f"{JOINS} joined, and keys moved to {sorted(set(moved))}")
    title, shares = "shares of the keys", bars(plan.before, plan.after)
    tell.picture(
        list(drawn(title, shares, COLUMNS)),
        picture(title, shares),
        node=JOINS,
        moved=len(moved),
        keys=len(KEYS),
        share=round(plan.moved, 4),
    )
    tell.moral(
        f"Of {len(KEYS)} keys {len(moved)} moved, all of them to {JOINS}: what it is due, "
        f"{plan.moved:.0%} of all, and no more. Had each key gone by its hash modulo the "
        "number of caches, three of four would have moved."
    )
