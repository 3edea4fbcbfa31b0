"""
Counters, fences and ids, in a simulated world: the shipped generators and the shipped Lua.

A failure names its seed: ``counts.EPISODES[kind](seed)`` plays it again.
``COORDKIT_SIM_SEEDS=10000`` searches longer; the counts are printed with ``-s``.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from sim.count_mutants import MUTANTS
from sim.counts import EPISODES
from sim.mutants import Mutant

SEEDS = int(os.environ.get("COORDKIT_SIM_SEEDS", "100"))
#: A mutant must be noticed within so many episodes.
BUDGET = 300


@pytest.mark.parametrize("kind", EPISODES)
def test_nothing_forbidden_happens(kind: str) -> None:
    done, refused, unknown, out, counts = 0, 0, 0, 0, Counter[str]()
    start = time.perf_counter()
    for seed in range(SEEDS):
        sheet = EPISODES[kind](seed, None, {})
        done += sum(len(sheet.known(name)) for name in sheet.deeds)
        refused, unknown = refused + sheet.refused, unknown + sheet.unknown
        out += sheet.out
        counts += sheet.world.counts
    rate = SEEDS / (time.perf_counter() - start)
    print(
        f"\n{kind}: {SEEDS} seeds, {rate:.0f} a second, {done} done, {unknown} ", end=""
    )
    print(f"unknown, {refused} stale, {out} out of bounds, {dict(counts)}")

    assert done > 50 * SEEDS
    assert refused
    assert out
    if kind != "orderly":  # else what must not do harm did not happen
        assert unknown
        assert all(counts[fault] for fault in ("reply lost", "ghost", "client pause"))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    assert not all(mutant.survives(seed) for seed in range(BUDGET))
