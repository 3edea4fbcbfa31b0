"""What the server remembers of very many adds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from coordkit import Session
from support.servers import RedisServer

from ..report import OURS, Bar, Report, Row
from . import contestants as who
from .sizes import Sizes


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add a row: the keys there are after so many adds by so many threads at once."""
    each = sizes.adds_kept // sizes.threads
    with Session(server.url) as session, who.bare(server) as redis:
        counter = session.counter("it")

        def add(_: int) -> None:
            for _ in range(each):
                counter.add(1)

        with ThreadPoolExecutor(sizes.threads) as pool:
            list(pool.map(add, range(sizes.threads)))
        if counter.value() != each * sizes.threads:
            report.violations.append(
                f"{each * sizes.threads} was added, and it is {counter.value()}"
            )
        keys = redis.dbsize()
    what = f"keys after {sizes.adds_kept} adds by {sizes.threads} threads"
    # The counter, its index, and what is remembered of each request under way.
    bar = Bar(sizes.threads + 2)
    report.rows.append(Row(what, "", {OURS: keys}, bar=bar))
