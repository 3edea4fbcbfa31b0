"""Processes that all want one name: how fast, how cheaply and how evenly it goes round."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from support.proxy import Proxy
from support.servers import RedisServer

from ..report import Bar, Report, Row, compared
from ..rounds import Samples, medians, turns
from . import contestants as who
from .grants import Grant, jain, latencies, overlaps
from .sizes import Sizes
from .workers import NAME, Maker, Turn, Workers

#: The part of a turn that is left out: connections, queues and caches fill.
WARM_UP = 0.25
#: A proxy looks at all its connections in every turn: with many it slows what it counts.
PER_PROXY = 16
#: Who hands over.  pottery is not among them: its waiters poll as redis-py's do.
MAKERS: dict[str, Maker] = {
    who.FLOOR: who.Blpop,
    who.OURS: who.Ours,
    who.REDIS_PY: who.redis_py,
    who.REDIS_LOCK: who.redis_lock,
}


class Seen(NamedTuple):
    """What one turn showed, after its warm-up."""

    p50: float  # µs
    fairness: float
    handovers: int


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add three rows for each number of waiters."""
    for waiters in sizes.waiters:
        seconds = sizes.handover_seconds * (1 + waiters / 256)
        p50, fairness = _race(server, waiters, seconds, sizes.handover_rounds, report)
        requests = _requests(server, waiters, seconds)
        at, even = f"hand-over, {waiters} processes", Bar(0.99, at_least=True)
        report.rows += [
            compared(f"{at}: p50", "µs", p50, who.FLOOR, Bar(2.5)),
            Row(f"{at}: requests", "", requests, bar=Bar(4.0)),
            Row(f"{at}: fairness (Jain)", "", medians(fairness), bar=even),
        ]


def _race(
    server: RedisServer, waiters: int, seconds: float, rounds: int, report: Report
) -> tuple[Samples, Samples]:
    """Return each one's median hand-over and its fairness, round by round."""
    field = _field()
    p50: Samples = {name: [] for name in field}
    fairness: Samples = {name: [] for name in field}
    with _gathered(server, waiters, [server.url]) as workers:
        for name in turns(field, rounds):
            turn, grants = _turn(workers, server, name, seconds)
            seen = turn_seen(grants, turn, waiters)
            p50[name].append(seen.p50)
            fairness[name].append(seen.fairness)
            if name == who.OURS:
                report.violations += overlaps(grants)
    return p50, fairness


def _requests(server: RedisServer, waiters: int, seconds: float) -> dict[str, float]:
    """Return each one's requests a hand-over, as proxies count them; not timed."""
    found: dict[str, float] = {}
    with ExitStack() as stack:
        number = -(-waiters // PER_PROXY)
        proxies = [stack.enter_context(Proxy(server.port)) for _ in range(number)]
        urls = [proxy.url for proxy in proxies]
        workers = stack.enter_context(_gathered(server, waiters, urls))
        counts: list[tuple[int, int]] = []

        def count(turn: Turn) -> None:
            for instant in (_warm(turn), turn.end):
                time.sleep(max(instant - time.monotonic_ns(), 0) / 1e9)
                requests = sum(proxy.requests for proxy in proxies)
                counts.append((time.monotonic_ns(), requests))

        for name in _field():
            _, grants = _turn(workers, server, name, seconds, count)
            (begin, before), (end, after) = counts[-2:]
            counted = [grant for grant in grants if begin <= grant.taken < end]
            found[name] = (after - before) / max(len(latencies(counted)), 1)
    return found


def _field() -> list[str]:
    away = who.absent()
    return [name for name in MAKERS if name not in away]


@contextmanager
def _gathered(server: RedisServer, number: int, urls: list[str]) -> Generator[Workers]:
    """Start workers, and let each be everyone for a moment: connections, scripts."""
    with Workers(urls, number) as workers:
        workers.open({name: MAKERS[name] for name in _field()})
        for name in _field():
            _turn(workers, server, name, 0.1)
        yield workers


def _turn(
    workers: Workers,
    server: RedisServer,
    name: str,
    seconds: float,
    meanwhile: Callable[[Turn], None] | None = None,
) -> tuple[Turn, list[Grant]]:
    """Have the workers be *name* for so many seconds."""
    with who.client(server.url) as client:
        if name == who.FLOOR:
            client.rpush(NAME, "1")  # what goes round
        try:
            return workers.turn(name, seconds, meanwhile)
        finally:
            client.delete(NAME)


def _warm(turn: Turn) -> int:
    return turn.start + int((turn.end - turn.start) * WARM_UP)


def turn_seen(grants: list[Grant], turn: Turn, waiters: int) -> Seen:
    """Return what the grants of one turn show."""
    counted = [grant for grant in grants if _warm(turn) <= grant.taken < turn.end]
    took = latencies(counted)
    if not took:
        raise AssertionError(f"{turn.contestant}: nothing was handed over")
    per_worker = Counter(grant.worker for grant in counted)
    fairness = jain([per_worker[index] for index in range(waiters)])
    return Seen(statistics.median(took) / 1000, fairness, len(took))
