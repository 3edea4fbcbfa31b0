"""Spans of time: what a caller may give, and what the server is told."""

from __future__ import annotations

import math
from datetime import timedelta

SHORTEST_TTL = 0.05
LONGEST_TTL = 7 * 86_400.0
#: A year.  Who is ready to wait for longer says None.
LONGEST_WAIT = 366 * 86_400.0
#: A call may take this long at most, however long the lease: the caller is waiting.
LONGEST_CALL = 2.0


def seconds(
    value: float | timedelta,
    what: str,
    *,
    least: float = 0.0,
    most: float = LONGEST_TTL,
) -> float:
    """Return *value* as seconds, if it is a finite number between *least* and *most*."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"{what} is a number of seconds or a timedelta, not "
            f"{type(value).__name__}: {value!r}"
        )
    if not least <= value <= most:  # false for NaN too
        raise ValueError(f"{what}={value!r} is not between {least:g} and {most:g} s")
    return float(value)


def ttl_seconds(value: float | timedelta) -> float:
    """Return a ttl in seconds: between 50 ms and 7 days."""
    return seconds(value, "ttl", least=SHORTEST_TTL)


def limit_seconds(value: float | timedelta | None, what: str) -> float | None:
    """Return how long a caller is ready to wait; None is: as long as it takes."""
    return None if value is None else seconds(value, what, most=LONGEST_WAIT)


def call_seconds(timeout: float | timedelta) -> float:
    """Return how long one question may take: 10 ms to 2 s."""
    return seconds(timeout, "timeout", least=0.01, most=LONGEST_CALL)


def milliseconds(value: float) -> int:
    """Return whole milliseconds, rounded up: the server never keeps less than was asked."""
    return math.ceil(round(value * 1000, 6))


def call_timeout(ttl: float, ceiling: float) -> float:
    """
    Return how long one call about a lease of *ttl* may take.

    A fifth of the ttl: after a renewal that was lost at a third of it, three
    more fit before the end.
    """
    return min(ttl / 5, ceiling, LONGEST_CALL)
