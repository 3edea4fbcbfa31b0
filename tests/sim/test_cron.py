"""
Cron, in a simulated world: the shipped generators and the shipped Lua.

A failure names its seed: ``crontab.DAYS[kind](seed)`` plays it again.
``COORDKIT_SIM_SEEDS=10000`` searches longer; the counts are printed with ``-s``.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from sim import crontab
from sim.crontab import DAYS

#: A day is long: a tenth of what the lock is given.
SEEDS = max(2, int(os.environ.get("COORDKIT_SIM_SEEDS", "60")) // 10)
BUDGET = 40


@pytest.mark.parametrize("kind", DAYS)
def test_nothing_forbidden_happens(kind: str) -> None:
    runs, passed, unknown, counts = 0, Counter[str](), 0, Counter[str]()
    start = time.perf_counter()
    for seed in range(SEEDS):
        sheet = DAYS[kind](seed)
        runs += len(sheet.runs)
        unknown += sheet.unknown
        passed += Counter(answer.why.value for _, answer in sheet.passed)
        counts += sheet.world.counts
    took = time.perf_counter() - start
    print(
        f"\n{kind}: {SEEDS} days in {took:.1f} s, {runs} runs, passed {dict(passed)}, "
    )
    print(f"{unknown} without an answer, {dict(counts)}")

    assert runs > 25 * SEEDS
    assert passed["done"]
    # Else what must not do harm did not happen.
    assert all(counts[fault] for fault in ("reply lost", "ghost", "crash"))


@pytest.mark.parametrize(
    ("mutant", "kind"),
    [
        (crontab.no_second_look, "by schedule"),
        (crontab.never_early, "by schedule"),
        (crontab.lost_is_due, "by schedule"),
        (crontab.busy_is_done, "by schedule"),
        (crontab.set_back_is_forgotten, "set clocks"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_mutant_is_caught(
    mutant: Callable[[], AbstractContextManager[None]], kind: str
) -> None:
    assert any(not survives(mutant, kind, seed) for seed in range(BUDGET))


def survives(
    mutant: Callable[[], AbstractContextManager[None]], kind: str, seed: int
) -> bool:
    """Play one day; return whether nothing was noticed."""
    try:
        with mutant():
            DAYS[kind](seed)
    except AssertionError:
        return False
    return True
