"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The numbers of one run."""

    nodes: tuple[int, ...]
    rounds: int
    #: looked up in each turn
    keys: int
    #: of which the balance is counted, and what moves
    sample: int
    slots: int
    #: how often a ring is built, changed and loaded
    repeats: int


FULL = Sizes(
    nodes=(10, 100, 1000),
    rounds=31,
    keys=20_000,
    sample=1_000_000,
    slots=16_384,
    repeats=7,
)
QUICK = Sizes(
    nodes=(10, 100),
    rounds=5,
    keys=5000,
    sample=50_000,
    slots=16_384,
    repeats=3,
)
