"""
The lock, in a simulated world: the shipped generators and the shipped Lua.

A failure names its seed: ``episodes.EPISODES[kind](seed)`` plays it again.
``COORDKIT_SIM_SEEDS=10000`` searches longer; the counts are printed with ``-s``.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from sim.episodes import EPISODES
from sim.mutants import MUTANTS, Mutant

SEEDS = int(os.environ.get("COORDKIT_SIM_SEEDS", "150"))
#: A mutant must be noticed within so many episodes; the slowest takes about sixty.
BUDGET = 400


@pytest.mark.parametrize("kind", EPISODES)
def test_nothing_forbidden_happens(kind: str) -> None:
    grants, refused, counts = 0, 0, Counter[str]()
    start = time.perf_counter()
    for seed in range(SEEDS):
        ledger = EPISODES[kind](seed, None, {})
        grants += len(ledger.grants)
        refused += ledger.refused
        counts += ledger.world.counts
    rate = SEEDS / (time.perf_counter() - start)
    print(f"\n{kind}: {SEEDS} seeds, {rate:.0f} a second, {grants} grants, ", end="")
    print(f"{refused} stale writes refused, {dict(counts)}")

    assert grants > 5 * SEEDS
    if kind != "orderly":  # else what must not do harm did not happen
        assert all(counts[fault] for fault in ("reply lost", "ghost", "client pause"))
        assert refused


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    assert not all(mutant.survives(seed) for seed in range(BUDGET))
