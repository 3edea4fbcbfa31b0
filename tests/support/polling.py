"""Wait for a condition instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    condition: Callable[[], T], *, timeout: float = 10.0, every: float = 0.005
) -> T:
    """
    Return the first true answer of *condition*, asked every *every* seconds.

    Raises AssertionError after *timeout* seconds, with the last answer.
    """
    end = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() >= end:
            what = getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"not within {timeout} s: {what}: {answer!r}")
        time.sleep(every)
    return answer
