"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The numbers of one run."""

    #: many short rounds: the machine seldom changes its mind within one
    rounds: int
    adds: int
    #: so many counters are added to in one trip, so many times a round
    counters: int
    trips: int
    ids: int
    block: int
    threads: int
    adds_kept: int


FULL = Sizes(
    rounds=400,
    adds=25,
    counters=100,
    trips=5,
    ids=5000,
    block=1000,
    threads=8,
    adds_kept=20_000,
)
QUICK = Sizes(
    rounds=30,
    adds=25,
    counters=100,
    trips=2,
    ids=2000,
    block=1000,
    threads=8,
    adds_kept=2000,
)
