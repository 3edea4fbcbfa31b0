"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The numbers of one run; times in seconds."""

    #: of each kind of trial, and how many run at the same time
    trials: int
    together: int
    ttl: float
    #: of the comparisons of wall time
    rounds: int
    codes: tuple[int, ...]
    crowd: int


FULL = Sizes(
    trials=200,
    together=10,
    ttl=2.0,
    rounds=40,
    codes=tuple(range(256)),
    crowd=50,
)
QUICK = Sizes(
    trials=10,
    together=5,
    ttl=2.0,
    rounds=7,
    codes=(0, 1, 2, 64, 69, 75, 76, 124, 125, 126, 127, 130, 255),
    crowd=10,
)
