"""Candidates that only wait: what they ask of the server."""

from __future__ import annotations

import time
from contextlib import ExitStack

from support.proxy import Proxy
from support.servers import RedisServer

from ..report import Bar, Report, Row
from . import contestants as who
from .candidates import Candidate
from .sizes import Sizes

#: What is asked at the beginning only: connections, scripts, places in the queue.
_SETTLED = 2.0


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add how many commands a second each candidate sent, while another one led."""
    sent = {
        name: _waiting(server, maker, f"bench:{name}", sizes)
        for name, maker in who.makers().items()
    }
    what = f"{sizes.candidates} candidates wait: commands of each"
    report.rows.append(Row(what, "1/s", sent, bar=Bar(1)))


def _waiting(server: RedisServer, maker: who.Maker, name: str, sizes: Sizes) -> float:
    number, seconds = sizes.candidates, sizes.idle_seconds
    with ExitStack() as stack:
        leader = stack.enter_context(Candidate(maker, server.url, name, who.TTL))
        leader.acting()
        proxy = stack.enter_context(Proxy(server.port))
        for _ in range(number):
            stack.enter_context(Candidate(maker, proxy.url, name, who.TTL))
        time.sleep(_SETTLED)
        before = proxy.requests
        time.sleep(seconds)
        return (proxy.requests - before) / number / seconds
