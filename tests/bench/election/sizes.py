"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The numbers of one run; times in seconds."""

    #: crashes of a leader, of each contestant: rounds, and at the same time
    crash_rounds: int
    together: int
    ttl: int
    #: processes that hand the leadership round
    waiters: tuple[int, ...]
    handover_rounds: int
    handover_seconds: float
    #: who only waits
    candidates: int
    idle_seconds: float
    #: the group: members in all, processes, how often one of these dies
    members: int
    processes: int
    silence: float
    quiet_seconds: float
    deaths: int
    #: of one heartbeat
    groups: tuple[int, ...]
    beat_rounds: int
    beats: int


FULL = Sizes(
    crash_rounds=5,
    together=10,
    ttl=2,
    waiters=(16,),
    handover_rounds=10,
    handover_seconds=1.0,
    candidates=8,
    idle_seconds=30.0,
    members=1000,
    processes=10,
    silence=10.0,
    quiet_seconds=60.0,
    deaths=3,
    groups=(10, 100, 1000),
    beat_rounds=20,
    beats=200,
)
QUICK = Sizes(
    crash_rounds=2,
    together=4,
    ttl=1,
    waiters=(16,),
    handover_rounds=2,
    handover_seconds=1.0,
    candidates=4,
    idle_seconds=5.0,
    members=100,
    processes=4,
    silence=2.0,
    quiet_seconds=5.0,
    deaths=1,
    groups=(10, 100, 1000),
    beat_rounds=4,
    beats=100,
)
