"""What Redis feels of a change, and what a reader waits for a snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from coordkit import Session
from support.servers import RedisServer

from ..report import OURS, Bar, Report, Row
from ..rounds import medians
from . import contestants as who
from .sizes import Sizes


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add the longest time that one command of a change has blocked, and loads."""
    with Session(server.url) as session, server.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.config_set("slowlog-max-len", 100_000)
        for number in sizes.nodes:
            _blocked(session, client, number, sizes, report)
            _loaded(server, number, sizes, report)


def _blocked(
    session: Session, client: Any, number: int, sizes: Sizes, report: Report
) -> None:
    ring = session.ring(f"felt {number}")
    nodes = who.names(number)
    first = nodes[0]
    changes: dict[str, Callable[[], Any]] = {
        "all nodes at once": lambda: ring.add(dict.fromkeys(nodes, 1.0)),
        "one node more": lambda: ring.add("one more"),
        "one node less": lambda: ring.remove("one more"),
        "one of twice the weight": lambda: ring.reweight(first, 2.0),
        "the ring deleted": ring.delete,
    }
    longest: dict[str, list[float]] = {what: [] for what in changes}
    for _ in range(sizes.repeats):
        ring.create(slots=sizes.slots)
        for what, change in changes.items():
            client.slowlog_reset()
            change()
            spans = [entry["duration"] for entry in client.slowlog_get(100_000)]
            longest[what].append(max(spans) / 1000)
    for what, taken in longest.items():
        title = f"Redis blocked at most, {number} nodes, {what}"
        samples = {OURS: taken}
        report.rows.append(
            Row(title, "ms", medians(samples), bar=Bar(5), samples=samples)
        )


def _loaded(server: RedisServer, number: int, sizes: Sizes, report: Report) -> None:
    name, taken = f"loaded {number}", list[float]()
    with Session(server.url) as session:
        session.ring(name).create(slots=sizes.slots)
        session.ring(name).add(dict.fromkeys(who.names(number), 1.0))
    for _ in range(sizes.repeats):
        with Session(server.url) as session:
            session.ping()  # connected, as a process is that looks up keys
            ring = session.ring(name)
            began = time.perf_counter()
            ring.refresh()
            taken.append(1000 * (time.perf_counter() - began))
    samples = {OURS: taken}
    what = f"snapshot loaded, {number} nodes"
    report.rows.append(Row(what, "ms", medians(samples), bar=Bar(10), samples=samples))
