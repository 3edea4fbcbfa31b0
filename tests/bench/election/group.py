"""A large group in some processes: what it costs when quiet, and when deaths are seen."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from coordkit import Died, Joined, Left, Members, Session
from coordkit._core.members import GroupEvent
from support.servers import RedisServer

from ..forked import Forked
from ..report import OURS, Bar, Report, Row
from .sizes import Sizes

NAME = "bench:group"


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add the server's work for a quiet group, and how late the deaths were seen."""
    at = f"{sizes.members} members, {sizes.processes} processes that watch, ttl {sizes.silence:g} s"
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_Members(server.url, index, sizes))
            for index in range(sizes.processes)
        ]
        for process in processes:
            process.sees_all()
        busy, calls = _quiet(server, sizes.quiet_seconds)
        seen: list[float] = []
        for victim in range(sizes.deaths):
            seen += _death(processes, victim)
            # The dead one's place is taken, so that every death is one of as many.
            processes[victim] = stack.enter_context(_Members(server.url, victim, sizes))
            for process in processes:
                process.sees_all()
    bar = Bar(1000 * (sizes.silence + 1))
    report.rows += [
        Row(f"{at}: server's processor", "% of a core", {OURS: busy}, bar=Bar(5)),
        Row(f"{at}: script calls", "1/s", {OURS: calls}),
        Row(
            f"a process of {sizes.members // sizes.processes} SIGKILLed: one has seen "
            "all its members die after, p50",
            "ms",
            {OURS: sorted(seen)[len(seen) // 2]},
        ),
        Row(
            f"the same, the last of {len(seen)}",
            "ms",
            {OURS: max(seen)},
            bar=bar,
            samples={OURS: seen},
        ),
    ]


def _quiet(server: RedisServer, seconds: float) -> tuple[float, float]:
    """Return per cent of a core and script calls a second of the server, doing nothing else."""
    before, began = server.info(), time.monotonic()
    time.sleep(seconds)
    after, took = server.info(), time.monotonic() - began
    used = sum(after[of] - before[of] for of in ("used_cpu_sys", "used_cpu_user"))
    calls = [info["cmdstat_evalsha"]["calls"] for info in (before, after)]
    return 100 * used / took, (calls[1] - calls[0]) / took


def _death(processes: list[_Members], victim: int) -> list[float]:
    """Return after how many ms each of the others had seen all members of one process die."""
    instant = time.monotonic_ns()
    processes[victim].kill()
    others = [each for index, each in enumerate(processes) if index != victim]
    return [(each.sees_death_of(victim) - instant) / 1e6 for each in others]


class _Members(Forked):
    """A process with its share of the members, which watches the whole group."""

    def __init__(self, url: str, index: int, sizes: Sizes) -> None:
        share = sizes.members // sizes.processes
        super().__init__(_live, url, index, share, sizes.processes, sizes.silence)

    def sees_all(self) -> None:
        """Wait until it has told that all members of all processes are there."""
        while self.told()[0] != "all":
            pass

    def sees_death_of(self, index: int) -> int:
        """Return when the last member of a process had died for it, in ns."""
        while (told := self.told())[0] != index:
            pass
        instant: int = told[1]
        return instant


def _live(
    url: str,
    index: int,
    share: int,
    processes: int,
    ttl: float,
    pipe: Connection[Any, Any],
) -> None:
    """Join with so many members, and tell when all are there, and when a process has died."""
    with Session(url) as session:
        group = session.group(NAME, ttl=ttl)
        members = [group.join(f"{index} {number}") for number in range(share)]
        there: Counter[int] = Counter()
        complete = False
        for event in group.watch():
            emptied = _count(there, event)
            instant = time.monotonic_ns()
            for each in emptied:
                pipe.send((each, instant))
            if there.total() == share * processes:
                if not complete:
                    pipe.send(("all", instant))
                complete = True
            else:
                complete = False
        assert all(member.held for member in members)


def _count(there: Counter[int], event: GroupEvent) -> Iterable[int]:
    """Count who is there, by process; return the processes that have just lost their last."""
    before = {index for index, number in there.items() if number}
    if isinstance(event, Members):
        there.clear()
        there.update(_process(member.identity) for member in event)
    elif isinstance(event, Joined):
        there[_process(event.member.identity)] += 1
    elif isinstance(event, Died | Left):
        there[_process(event.member.identity)] -= 1
    return [index for index in before if not there[index]]


def _process(identity: str) -> int:
    return int(identity.partition(" ")[0])
