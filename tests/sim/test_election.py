"""
The election, in a simulated world: the shipped generators and the shipped Lua.

A failure names its seed: ``races.RACES[kind](seed)`` plays it again.
``COORDKIT_SIM_SEEDS=10000`` searches longer; the counts are printed with ``-s``.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from sim.election_mutants import MUTANTS
from sim.mutants import Mutant
from sim.races import RACES

SEEDS = int(os.environ.get("COORDKIT_SIM_SEEDS", "100"))
#: A mutant must be noticed within so many episodes.
BUDGET = 400


@pytest.mark.parametrize("kind", RACES)
def test_nothing_forbidden_happens(kind: str) -> None:
    terms, refused, counts, told = 0, 0, Counter[str](), Counter[str]()
    start = time.perf_counter()
    for seed in range(SEEDS):
        race = RACES[kind](seed)
        terms += len(race.terms)
        refused += race.ledger.refused
        counts += race.world.counts
        for sight in race.sights:
            told += Counter(type(event).__name__ for _, event in sight.told)
    rate = SEEDS / (time.perf_counter() - start)
    print(f"\n{kind}: {SEEDS} seeds, {rate:.0f} a second, {terms} terms, ", end="")
    print(f"{refused} stale writes refused, told {dict(told)}, {dict(counts)}")

    assert terms > 5 * SEEDS
    assert told["Elected"] > terms
    if kind != "orderly":  # else what must not do harm did not happen
        assert all(counts[fault] for fault in ("reply lost", "ghost", "client pause"))
        assert refused
        assert told["Suspended"]
    assert bool(told["Missed"]) is (kind == "data loss")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    assert not all(mutant.survives(seed) for seed in range(BUDGET))
