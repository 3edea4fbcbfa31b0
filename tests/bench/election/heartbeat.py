"""What one heartbeat costs in groups of different sizes."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import Any

from coordkit import Member, Session
from support.proxy import Proxy
from support.servers import RedisServer

from ..report import OURS, Bar, Report, Row
from ..rounds import Samples, turns
from .sizes import Sizes

#: The keeper stays out of it: members would renew by themselves only after a third.
_TTL = 3600.0


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add a heartbeat's requests and server time for each size; the largest to the smallest."""
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(server.port))
        session = stack.enter_context(Session(proxy.url))
        client = stack.enter_context(server.client())
        members = {str(size): _grown(session, size) for size in sizes.groups}
        for one, *_ in members.values():
            one.renew()  # the script is loaded
        took: Samples = {size: [] for size in members}
        asked: Samples = {size: [] for size in members}
        for size in turns(list(members), sizes.beat_rounds):
            one = members[size][0]
            before, requests = _spent(client), proxy.requests
            for _ in range(sizes.beats):
                one.renew()
            took[size].append((_spent(client) - before) / sizes.beats)
            asked[size].append((proxy.requests - requests) / sizes.beats)
    for size in members:
        at = f"a heartbeat among {size} members"
        report.rows += [
            Row(f"{at}: requests", "", {OURS: statistics.median(asked[size])}),
            Row(
                f"{at}: server's time",
                "µs",
                {OURS: statistics.median(took[size])},
                samples={OURS: took[size]},
            ),
        ]
    least, most = str(min(sizes.groups)), str(max(sizes.groups))
    flat = statistics.median(
        large / small for large, small in zip(took[most], took[least], strict=True)
    )
    what = f"server's time among {most}, as of that among {least}"
    report.rows.append(Row(what, "×", {OURS: flat}, bar=Bar(1.5)))


def _grown(session: Session, size: int) -> list[Member]:
    """Return the members of a new group."""
    group = session.group(f"bench:of {size}", ttl=_TTL)
    return [group.join(str(number)) for number in range(size)]


def _spent(client: Any) -> float:
    """Return the microseconds that the server has spent in scripts."""
    stats: dict[str, Any] = client.info("commandstats")
    return float(stats["cmdstat_evalsha"]["usec"])
