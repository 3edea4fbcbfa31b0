"""How even rings are, what a change moves, and what they cost to build and to keep."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections import Counter
from contextlib import ExitStack
from typing import Any

from coordkit import Session
from support.servers import RedisServer

from ..report import OURS, Bar, Report, Row
from ..rounds import Samples, medians
from . import contestants as who
from .sizes import Sizes


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add what is counted over keys, for all, and what is exact, for us."""
    keys = [f"user:{n:015}" for n in range(sizes.sample)]
    with ExitStack() as stack:
        makers = who.makers(server, sizes.slots, stack)
        # It cannot say who owns a key: there is nothing to count.
        counted = {n: make for n, make in makers.items() if n != who.HASHRING}
        for number in sizes.nodes:
            _counted(counted, keys, number, report)
            _costs(makers, number, sizes.repeats, report)
            _memory(makers, number, report)
    with Session(server.url) as session:
        for number in sizes.nodes:
            _exact(session, number, sizes.slots, report)


def _counted(
    makers: dict[str, who.Maker], keys: list[str], number: int, report: Report
) -> None:
    evenness: dict[str, float] = {}
    movement: dict[str, float] = {}
    for name, make in makers.items():
        ring = make(who.names(number))
        before = [ring.owner(key) for key in keys]
        ring.add("one more")
        after = [ring.owner(key) for key in keys]
        most = max(Counter(before).values())
        evenness[name] = most * number / len(keys)
        moved = sum(a != b for a, b in zip(before, after, strict=True)) / len(keys)
        movement[name] = moved * (number + 1)
        if strayed := sum(
            a != b != "one more" for a, b in zip(before, after, strict=True)
        ):
            report.notes.append(
                f"{name}, {number} nodes: {strayed} keys moved between old nodes."
            )
    what = f"max/mean over {len(keys)} keys, {number} nodes"
    report.rows.append(Row(what, "", evenness))
    what = f"keys moved by one node more, of the ideal, {number} nodes"
    report.rows.append(Row(what, "", movement))


def _costs(
    makers: dict[str, who.Maker], number: int, repeats: int, report: Report
) -> None:
    built: Samples = {name: [] for name in makers}
    added: Samples = {name: [] for name in makers}
    for _ in range(repeats):
        for name, make in makers.items():
            began = time.perf_counter()
            ring = make(who.names(number))
            between = time.perf_counter()
            ring.add("one more")
            added[name].append(1000 * (time.perf_counter() - between))
            built[name].append(1000 * (between - began))
    what = f"a ring of {number} nodes built (ours: in Redis, and loaded)"
    report.rows.append(Row(what, "ms", medians(built), samples=built))
    what = f"one node added to {number} (ours: in Redis)"
    report.rows.append(Row(what, "ms", medians(added), samples=added))


def _memory(makers: dict[str, who.Maker], number: int, report: Report) -> None:
    sizes: dict[str, float] = {}
    for name, make in makers.items():
        make(who.names(number))  # what is made once is made before
        gc.collect()
        tracemalloc.start()
        ring: Any = make(who.names(number))
        gc.collect()
        sizes[name] = tracemalloc.get_traced_memory()[0] / 1024
        tracemalloc.stop()
        del ring
    report.rows.append(Row(f"memory of a ring of {number} nodes", "KiB", sizes))


def _exact(session: Session, number: int, slots: int, report: Report) -> None:
    """Add what can be told without counting keys: from the slots."""
    ring = session.ring(f"exact {number}")
    ring.delete()
    ring.create(slots=slots)
    ring.add(dict.fromkeys(who.names(number), 1.0))
    stats = ring.stats()
    report.rows.append(
        Row(
            f"max/mean, exact, {number} nodes",
            "",
            {OURS: stats.max_over_mean},
            bar=Bar(1 + number / slots),
        )
    )
    first = who.names(number)[0]
    plans = {
        "one node more": ring.plan(add={"one more": 1.0}),
        "one node less": ring.plan(remove=[first]),
        "one of twice the weight": ring.plan(reweight={first: 2.0}),
    }
    for what, plan in plans.items():
        figure = plan.moved / plan.ideal
        title = f"share moved, of the ideal, {number} nodes, {what}"
        report.rows.append(Row(title, "", {OURS: figure}, bar=Bar(1.01)))
    weights = [1 + n % 7 / 3 for n in range(number)]
    ring.reweight(dict(zip(who.names(number), weights, strict=True)))
    error = max(abs(share.share - share.ideal) for share in ring.stats().nodes)
    report.rows.append(
        Row(
            f"weight error, {number} nodes of 7 weights, in slots",
            "",
            {OURS: error * slots},
            bar=Bar(1),
        )
    )
