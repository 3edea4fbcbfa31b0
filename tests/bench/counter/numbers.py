"""Ids are taken, a block at a time."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
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

    def field(stack: ExitStack) -> dict[str, tuple[Counting, int]]:
        redis: Any = stack.enter_context(who.bare(server))
        session = stack.enter_context(Session(server.url))
        ids = session.ids("it", block=sizes.block)

        def ours(number: int) -> None:
            for _ in range(number):
                next(ids)

        makers = {
            who.FLOOR: partial(who.incr, redis),
            who.NEXT_ID: partial(who.next_id, redis),
        }
        away = who.absent()
        others = {n: (make(), 25) for n, make in makers.items() if n not in away}
        return {OURS: (ours, sizes.ids), **others}

    for way in placements():
        samples = who.race(server, way, sizes.rounds, field, _rate)
        what = f"ids, block {sizes.block}, {way}"
        bar = Bar(100, at_least=True)
        report.rows.append(compared(what, "ids/s", samples, who.FLOOR, bar))


def _rate(count: Counting, number: int) -> float:
    began = time.perf_counter()
    count(number)
    return number / (time.perf_counter() - began)
