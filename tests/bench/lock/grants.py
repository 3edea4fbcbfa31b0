"""What is decided from the grants of one name, all stamped by one clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple


class Grant(NamedTuple):
    """One worker had the name: nanoseconds of CLOCK_MONOTONIC, which processes share."""

    #: after it was told that it has it
    taken: int
    #: before it began to give it back
    given: int
    token: int
    worker: int


def overlaps(grants: Iterable[Grant]) -> list[str]:
    """Return every case of two that had the name at once, or of a token that did not rise."""
    found: list[str] = []
    for one, two in pairwise(sorted(grants)):
        if two.taken < one.given:
            found.append(f"held by two at once: {one}, {two}")
        if one.token and two.token <= one.token:
            found.append(f"the token did not rise: {one}, {two}")
    return found


def latencies(grants: Iterable[Grant]) -> list[int]:
    """
    Return how long each hand-over took, in nanoseconds.

    From when a worker began to give the name back until *another* had it.  A worker
    that takes it again at once hands nothing over: the others' wait began when it
    first gave it back.
    """
    ordered = sorted(grants)
    found: list[int] = []
    since = ordered[0].given if ordered else 0
    for one, two in pairwise(ordered):
        if two.worker != one.worker:
            found.append(two.taken - since)
            since = two.given
    return found


def jain(counts: Sequence[int]) -> float:
    """Return Jain's index of fairness: 1 all alike, 1/n one has all.  Jain et al., 1984."""
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else 0.0
