"""Who is compared: each counts something, so many times, in its own way."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from support.servers import RedisServer

from ..lock.contestants import client
from ..placement import placed
from ..report import OURS
from ..rounds import Samples, turns

FLOOR, SINGLE = "INCR", "single adds"
NEXT_ID, REDIS_COUNTER = "pottery NextID", "pottery RedisCounter"
#: The columns of the table.
ALL = (FLOOR, OURS, SINGLE, NEXT_ID, REDIS_COUNTER)

#: Counts so many times.
Counting = Callable[[int], object]


def absent() -> list[str]:
    """Return the peers that are not installed."""
    installed = importlib.util.find_spec("pottery") is not None
    return [] if installed else [NEXT_ID, REDIS_COUNTER]


@contextmanager
def bare(server: RedisServer) -> Generator[Any]:
    """Open a client as users have it, but one that repeats nothing."""
    with closing(client(server.url)) as made:
        yield made


def incr(redis: Any) -> Counting:
    """Return the floor: the one command that a counter cannot do without."""

    def count(number: int) -> None:
        for _ in range(number):
            redis.incr("bench:bare")

    return count


def next_id(redis: Any) -> Counting:
    """Return pottery's ids, with a single master."""
    from pottery import NextID

    ids = NextID(key="bench", masters={redis})

    def count(number: int) -> None:
        for _ in range(number):
            next(ids)

    return count


def redis_counter(redis: Any) -> Counting:
    """Return pottery's counter, which is read and then written."""
    from pottery import RedisCounter

    counter: Any = RedisCounter(redis=redis, key="bench:pottery")

    def count(number: int) -> None:
        for _ in range(number):
            counter["it"] += 1

    return count


def race(
    server: RedisServer,
    way: str,
    rounds: int,
    field: Callable[[ExitStack], Mapping[str, tuple[Counting, int]]],
    timed: Callable[[Counting, int], float],
) -> Samples:
    """
    Return what *timed* says of each of the *field*, round by round.

    Each comes with how often it counts in a round.
    """
    with placed(way, server.pid), ExitStack() as stack:
        entered = field(stack)
        for count, number in entered.values():  # connects, and has the scripts loaded
            count(number)
        samples: Samples = {name: [] for name in entered}
        for name in turns(list(entered), rounds):
            samples[name].append(timed(*entered[name]))
    return samples
