"""
The group, in a simulated world: the shipped generators and the shipped Lua.

A failure names its seed: ``musters.MUSTERS[kind](seed)`` plays it again.
``COORDKIT_SIM_SEEDS=10000`` searches longer; the counts are printed with ``-s``.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from sim.group_mutants import MUTANTS
from sim.musters import MUSTERS
from sim.mutants import Mutant

SEEDS = int(os.environ.get("COORDKIT_SIM_SEEDS", "60"))
#: A mutant must be noticed within so many episodes.
BUDGET = 400


@pytest.mark.parametrize("kind", MUSTERS)
def test_nothing_forbidden_happens(kind: str) -> None:
    happened, counts, told = Counter[str](), Counter[str](), Counter[str]()
    start = time.perf_counter()
    for seed in range(SEEDS):
        muster = MUSTERS[kind](seed)
        happened += Counter(
            joined=muster.joined, left=muster.left, buried=muster.buried
        )
        counts += muster.world.counts
        for watch in muster.watches:
            told += Counter(type(event).__name__ for _, event in watch.sight.told)
    rate = SEEDS / (time.perf_counter() - start)
    print(f"\n{kind}: {SEEDS} seeds, {rate:.0f} a second, {dict(happened)}, ", end="")
    print(f"told {dict(told)}, {dict(counts)}")

    assert happened["joined"] > 5 * SEEDS
    assert happened["buried"] > SEEDS
    assert told["Joined"]
    assert told["Died"]
    if kind not in {"orderly", "mass"}:  # else what must not do harm did not happen
        assert all(counts[fault] for fault in ("reply lost", "ghost", "client pause"))
        assert told["Left"]
        assert told["Suspended"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    assert not all(mutant.survives(seed) for seed in range(BUDGET))
