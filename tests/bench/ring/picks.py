"""How long a pick of a balancer takes, of few members and of many."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from timeit import Timer
from typing import Any

from coordkit import Session
from coordkit._core import strategies
from coordkit._core.balance import STRATEGIES
from support.servers import RedisServer

from ..report import OURS, Bar, Report, Row
from ..rounds import Samples, medians, turns
from . import contestants as who
from .sizes import Sizes

#: A pick that asks nobody takes a few microseconds.
FEW = Bar(5)


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add for each strategy a pick, and the first one after a change of the group."""
    for number in sizes.nodes:
        with ExitStack() as stack:
            theirs = stack.enter_context(Session(server.url))
            group = theirs.group(f"of {number}", ttl=60)
            members = [group.join(name) for name in who.names(number)]
            _picks(stack.enter_context(Session(server.url)), number, sizes, report)
            for member in members:
                member.leave()


def _picks(session: Session, number: int, sizes: Sizes, report: Report) -> None:
    turn: dict[str, Callable[[], float]] = {}
    first: Samples = {}
    for strategy in STRATEGIES:
        balancer = session.balancer(f"of {number}", strategy=strategy)
        keyed = strategy == "ring"
        picks = sizes.keys // 20 if strategy == "round_robin" else sizes.keys
        keys = [f"user:{n:015}" if keyed else None for n in range(picks)]
        found = {balancer.pick(key).identity for key in keys}
        if not found <= {*who.names(number)}:
            report.violations.append(f"{strategy} has picked who was no member")
        turn[strategy] = _each(balancer.pick, keys)
        taken = first[strategy] = []
        for _ in range(sizes.repeats):
            balancer._balance._tables.clear()
            strategies._drawn.cache_clear()  # the points of each member are kept
            began = time.perf_counter()
            balancer.pick(keys[0])
            taken.append(1000 * (time.perf_counter() - began))
    samples: Samples = {strategy: [] for strategy in turn}
    for name in turns(list(turn), sizes.rounds):
        samples[name].append(turn[name]())
    for name, taken in samples.items():
        bar = None if name == "round_robin" else FEW
        _add(report, f"pick(), {name}, {number} members", "µs", taken, bar)
    for name, taken in first.items():
        what = f"first pick() after a change, {name}, {number} members"
        _add(report, what, "ms", taken, None)


def _each(pick: Callable[[Any], object], keys: list[Any]) -> Callable[[], float]:
    """Return what picks for every key, and says how many microseconds each took."""
    timer = Timer("for key in keys: pick(key)", globals={"pick": pick, "keys": keys})
    return lambda: 1e6 * timer.timeit(1) / len(keys)


def _add(
    report: Report, what: str, unit: str, taken: list[float], bar: Bar | None
) -> None:
    samples = {OURS: taken}
    report.rows.append(Row(what, unit, medians(samples), bar=bar, samples=samples))
