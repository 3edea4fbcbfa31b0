"""How long a lookup takes: one by one, and many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from timeit import Timer
from typing import Any

from xxhash import xxh64_intdigest

from support.servers import RedisServer

from ..report import OURS, Bar, Report, compared
from ..rounds import Samples, turns
from . import contestants as who
from .sizes import Sizes


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add two rows for each number of nodes: lookups one by one, and in a batch."""
    keys = [f"user:{n:015}" for n in range(sizes.keys)]
    with ExitStack() as stack:
        makers = who.makers(server, sizes.slots, stack)
        for number in sizes.nodes:
            rings = {name: make(who.names(number)) for name, make in makers.items()}
            _agree(rings, keys, number, report)
            ours: Any = rings[OURS]
            turn: dict[str, Callable[[], float]] = {
                name: _each(ring.owner, keys) for name, ring in rings.items()
            }
            turn[who.FLOOR] = _each(_floor, keys)
            single = _race(turn, sizes.rounds)
            base = who.UHASHRING if who.UHASHRING in single else who.FLOOR
            bar = Bar(0.1) if base == who.UHASHRING else None
            what = f"owner(), {number} nodes"
            report.rows.append(compared(what, "ns", single, base, bar))
            batch = _race(
                {
                    OURS: _batch(ours.owner_many, keys),
                    who.SINGLE: _each(ours.owner, keys),
                },
                sizes.rounds,
            )
            what = f"owner_many() a key, {number} nodes"
            report.rows.append(compared(what, "ns", batch, who.SINGLE, Bar(0.8)))


def _floor(key: str) -> int:
    """Do what no lookup can do without: be called, and hash."""
    return xxh64_intdigest(key.encode())


def _agree(
    rings: dict[str, Any], keys: Sequence[str], number: int, report: Report
) -> None:
    """See that what is measured is a lookup: every answer is a node, and lasts."""
    ours, nodes = rings[OURS], set(who.names(number))
    owners = [ours.owner(key) for key in keys]
    if owners != ours.owner_many(keys) or not set(owners) <= nodes:
        report.violations.append(f"owner() and owner_many() differ at {number} nodes")


def _race(turn: dict[str, Callable[[], float]], rounds: int) -> Samples:
    for once in turn.values():
        once()
    samples: Samples = {name: [] for name in turn}
    for name in turns(list(turn), rounds):
        samples[name].append(turn[name]())
    return samples


def _each(lookup: Callable[[str], Any], keys: Sequence[str]) -> Callable[[], float]:
    """
    Return what looks up every key, and says how many nanoseconds each took.

    Each loop is code of its own: Python adapts a call to what it calls, and would
    unlearn it again if all contestants shared one.
    """
    return _timed("for key in keys: lookup(key)", lookup, keys)


def _batch(
    lookup: Callable[[Sequence[str]], Any], keys: Sequence[str]
) -> Callable[[], float]:
    return _timed("lookup(keys)", lookup, keys)


def _timed(code: str, lookup: Any, keys: Sequence[str]) -> Callable[[], float]:
    timer = Timer(code, globals={"lookup": lookup, "keys": keys})
    return lambda: 1e9 * timer.timeit(1) / len(keys)
