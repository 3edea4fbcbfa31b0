"""
The live nodes of a ring, in a simulated world: the shipped generators and the shipped Lua.

A failure names its seed: ``maps.MAPS[kind](seed)`` plays it again.
``COORDKIT_SIM_SEEDS=10000`` searches longer; the counts are printed with ``-s``.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from sim.map_mutants import MUTANTS
from sim.maps import MAPS
from sim.mutants import Mutant

SEEDS = int(os.environ.get("COORDKIT_SIM_SEEDS", "20"))
#: A mutant must be noticed within so many episodes; the slowest takes about forty.
BUDGET = 300


@pytest.mark.parametrize("kind", MAPS)
def test_no_key_has_two_owners_and_none_is_without_for_long(kind: str) -> None:
    counts, joins, writes, refused, told, longest = Counter[str](), 0, 0, 0, 0, 0.0
    start = time.perf_counter()
    for seed in range(SEEDS):
        atlas = MAPS[kind](seed, None, None)
        counts += atlas.world.counts
        joins += atlas.joins
        writes += len(atlas.writes)
        refused += atlas.refused
        told += atlas.revoked
        longest = max(longest, atlas.longest_bare)
    rate = SEEDS / (time.perf_counter() - start)
    print(f"\n{kind}: {SEEDS} seeds, {rate:.1f} a second, {joins} joins, ", end="")
    print(f"{writes} writes, {refused} stale ones refused, {told} revoked, ", end="")
    print(f"{longest:.3f} s without an owner at most, {dict(counts)}")

    assert joins > 4 * SEEDS
    assert told > 2 * SEEDS
    assert refused, "else what must not do harm did not happen"
    for fault in ("reply lost", "ghost executed", "client pause", "crash", "news lost"):
        assert counts[fault]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant) -> None:
    assert not all(mutant.survives(seed) for seed in range(BUDGET))
