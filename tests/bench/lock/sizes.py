"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The numbers of one run; times in seconds."""

    #: many short rounds: the machine seldom changes its mind within one
    cycle_rounds: int
    cycles: int
    task_rounds: int
    tasks: int
    task_cycles: int
    waiters: tuple[int, ...]
    handover_rounds: int
    handover_seconds: float
    leases: int
    lease_ttl: float
    lease_seconds: float
    names: int


FULL = Sizes(
    cycle_rounds=400,
    cycles=25,
    task_rounds=15,
    tasks=100,
    task_cycles=40,  # throughput: the first and the last burst are to weigh little
    waiters=(16, 64, 256),
    handover_rounds=6,
    handover_seconds=1.0,
    leases=10_000,
    lease_ttl=10.0,
    lease_seconds=60.0,
    names=100_000,
)
QUICK = Sizes(
    cycle_rounds=30,
    cycles=25,
    task_rounds=6,
    tasks=100,
    task_cycles=20,
    waiters=(16,),
    handover_rounds=2,
    handover_seconds=0.5,
    leases=1000,
    lease_ttl=3.0,
    lease_seconds=5.0,
    names=5000,
)
