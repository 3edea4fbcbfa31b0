"""One client adds to a counter, one add after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from coordkit import Counter, Session
from support.servers import RedisServer

from ..placement import placements
from ..report import OURS, Bar, Report, compared
from . import contestants as who
from .contestants import Counting
from .sizes import Sizes

TOKEN = 1_700_000_000_000_000
WAYS: dict[str, tuple[Callable[[Counter], object], float | None]] = {
    "add": (lambda counter: counter.add(1), 1.25),
    "add, fenced": (lambda counter: counter.add(1, token=TOKEN), 1.4),
    "add, bounded": (lambda counter: counter.add(1, at_most=10**12), None),
}


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add a row for each kind of add and each placement, and one with objects made anew."""
    for way in placements():
        for what, (add, bar) in WAYS.items():
            _row(server, sizes, report, f"{what}, {way}", way, _kept(add), bar)
    way = placements()[0]
    _row(server, sizes, report, f"add, a new object each time, {way}", way, _anew)
    _row(server, sizes, report, f"add, 16 shards, {way}", way, _sharded)


def _kept(add: Callable[[Counter], object]) -> Callable[[Session], Counting]:
    def of(session: Session) -> Counting:
        counter = session.counter("it")

        def count(number: int) -> None:
            for _ in range(number):
                add(counter)

        return count

    return of


def _anew(session: Session) -> Counting:
    def count(number: int) -> None:
        for _ in range(number):
            session.counter("it").add(1)

    return count


def _sharded(session: Session) -> Counting:
    counter = session.counter("wide", shards=16)

    def count(number: int) -> None:
        for _ in range(number):
            counter.add(1)

    return count


def _row(
    server: RedisServer,
    sizes: Sizes,
    report: Report,
    what: str,
    way: str,
    ours: Callable[[Session], Counting],
    bar: float | None = None,
) -> None:
    def field(stack: ExitStack) -> dict[str, tuple[Counting, int]]:
        redis: Any = stack.enter_context(who.bare(server))
        session = stack.enter_context(Session(server.url))
        return {
            who.FLOOR: (who.incr(redis), sizes.adds),
            OURS: (ours(session), sizes.adds),
        }

    samples = who.race(server, way, sizes.rounds, field, _microseconds)
    limit = None if bar is None else Bar(bar)
    report.rows.append(compared(what, "µs", samples, who.FLOOR, limit))


def peers(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """
    Add a row for each placement: what others offer.

    In a race of its own, for a turn after pottery's pays for the threads that it leaves.
    """

    def field(stack: ExitStack) -> dict[str, tuple[Counting, int]]:
        redis: Any = stack.enter_context(who.bare(server))
        session = stack.enter_context(Session(server.url))
        makers = {
            who.FLOOR: partial(who.incr, redis),
            OURS: partial(_kept(WAYS["add"][0]), session),
            who.NEXT_ID: partial(who.next_id, redis),
            who.REDIS_COUNTER: partial(who.redis_counter, redis),
        }
        away = who.absent()
        return {n: (make(), sizes.adds) for n, make in makers.items() if n not in away}

    for way in placements():
        samples = who.race(server, way, sizes.rounds // 4 + 1, field, _microseconds)
        what = f"add, beside its peers, {way}"
        report.rows.append(compared(what, "µs", samples, who.FLOOR))


def _microseconds(count: Counting, number: int) -> float:
    began = time.perf_counter()
    count(number)
    return (time.perf_counter() - began) / number * 1e6
