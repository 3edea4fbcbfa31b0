"""Many counters are added to in one trip, or one after another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from coordkit import Session
from support.servers import RedisServer

from ..placement import placements
from ..report import OURS, Bar, Report, compared
from . import contestants as who
from .contestants import Counting
from .sizes import Sizes


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add a row for each placement."""
    names = [f"counter {n}" for n in range(sizes.counters)]

    def field(stack: ExitStack) -> dict[str, tuple[Counting, int]]:
        redis: Any = stack.enter_context(who.bare(server))
        session = stack.enter_context(Session(server.url))
        return {
            OURS: (_together(session, names), sizes.trips),
            who.SINGLE: (_alone(session, names), sizes.counters // 4),
            who.FLOOR: (_piped(redis, names), sizes.trips),
        }

    for way in placements():
        samples = who.race(server, way, sizes.rounds, field, _rate)
        for name in (OURS, who.FLOOR):
            samples[name] = [rate * sizes.counters for rate in samples[name]]
        what = f"{sizes.counters} adds in one trip (INCR: pipelined), {way}"
        bar = Bar(10, at_least=True)
        report.rows.append(compared(what, "adds/s", samples, who.SINGLE, bar))


def _together(session: Session, names: Sequence[str]) -> Counting:
    amounts = dict.fromkeys(names, 1)

    def count(number: int) -> None:
        for _ in range(number):
            session.add_all(amounts)

    return count


def _alone(session: Session, names: Sequence[str]) -> Counting:
    counters = [session.counter(name) for name in names]

    def count(number: int) -> None:
        for counter in counters[:number]:
            counter.add(1)

    return count


def _piped(redis: Any, names: Sequence[str]) -> Counting:
    def count(number: int) -> None:
        for _ in range(number):
            with redis.pipeline(transaction=False) as trip:
                for name in names:
                    trip.incr(name)
                trip.execute()

    return count


def _rate(count: Counting, number: int) -> float:
    began = time.perf_counter()
    count(number)
    return number / (time.perf_counter() - began)
