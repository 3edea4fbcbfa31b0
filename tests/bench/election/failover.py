"""Leaders are killed, and it is measured when the next ones act."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from typing import NamedTuple

from support.servers import RedisServer

from ..report import OURS, Bar, Report, Row
from ..rounds import Samples, turns
from . import contestants as who
from .candidates import Candidate
from .sizes import Sizes

#: What the bar allows beyond the ttl, in ms.
BEYOND = 500


class Pair(NamedTuple):
    """Who leads an election, and who waits for it."""

    leader: Candidate
    successor: Candidate


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add how long it took from the leader's SIGKILL until its successor acted."""
    field = who.makers()
    taken: Samples = {name: [] for name in field}
    for number, name in enumerate(turns(list(field), sizes.crash_rounds)):
        taken[name] += _crashes(field[name], server.url, f"bench:{number}", sizes)
    ordered = {name: sorted(spans) for name, spans in taken.items()}
    at = f"leader SIGKILLed, ttl {sizes.ttl} s: its successor acts after"
    bar = Bar(1000 * sizes.ttl + BEYOND)
    report.rows += [
        Row(f"{at}, p50", "ms", _at(ordered, 0.5)),
        Row(f"{at}, p99 of {len(ordered[OURS])}", "ms", _at(ordered, 0.99), bar=bar),
        Row(f"{at}, longest", "ms", _at(ordered, 1.0), samples=ordered),
    ]


def _at(ordered: Samples, part: float) -> dict[str, float]:
    """Return the nearest rank from above: no trial is better than it is told."""
    return {
        name: spans[min(round(part * len(spans)), len(spans) - 1)]
        for name, spans in ordered.items()
    }


def _crashes(maker: who.Maker, url: str, name: str, sizes: Sizes) -> list[float]:
    """Return how many ms passed, in so many elections at the same time."""
    with ExitStack() as stack:
        leaders = [
            stack.enter_context(Candidate(maker, url, f"{name}:{index}", sizes.ttl))
            for index in range(sizes.together)
        ]
        for leader in leaders:
            leader.acting()
        pairs = [
            Pair(
                leader,
                stack.enter_context(
                    Candidate(maker, url, f"{name}:{index}", sizes.ttl)
                ),
            )
            for index, leader in enumerate(leaders)
        ]
        # Renewals are spread, so each is killed at some point between two of them.
        time.sleep(sizes.ttl / 3)
        killed: list[int] = []
        for pair in pairs:
            time.sleep(random.uniform(0, sizes.ttl / 3 / len(pairs)))
            killed.append(time.monotonic_ns())
            pair.leader.kill()
        return [
            (pair.successor.acting() - instant) / 1e6
            for pair, instant in zip(pairs, killed, strict=True)
        ]
