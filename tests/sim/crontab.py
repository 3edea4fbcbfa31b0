"""
Five hosts with one crontab, and what must be true of it.

Each host asks for each tick in a process of its own, at what its clock takes for the
tick: up to 20 s early or late.  Processes die, at their start and in their runs, and
some hosts ask again when they are up.  The `Sheet` notes every run that a host began;
`Sheet.check` decides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from unittest import mock

from coordkit._core import cron as core
from coordkit._core.claim import lock_options
from coordkit._core.cron import Begun, Cron, Overlap, Passed, Plan, Why
from coordkit._core.lock import LockLease, acquire, release
from coordkit._core.ops import Op
from coordkit._core.runs import Run, Seen, State
from coordkit._core.ticks import Every, Schedule, Turn
from coordkit.errors import CoordError, LockTimeout
from sim.server import YEAR_2023
from sim.story import Violation, keeper_of
from sim.world import Client, Faults, Scenario, World

NAMESPACE = "sim"
HOSTS = 5
TICKS = 200
PERIOD = 300
SKEW = 20.0
TTL = 30.0
#: The first tick after the simulated server's beginning, in world time.
FIRST = PERIOD - YEAR_2023 % PERIOD

#: A bad day on which no data is lost.  Its clocks are set, so they do not run away.
FAULTS = Faults(
    slow=0.05,
    request_lost=0.02,
    reply_lost=0.02,
    ghost=0.02,
    server_pauses=0.01,
    server_drift=0.0,
)


@dataclass
class Started:
    """A run that a host began, at true instants."""

    tick: int
    #: which of the crontab's ticks it was asked for
    ideal: int
    attempt: int
    host: str
    begun: float
    lease: LockLease
    client: Client
    lasts: float
    code: int
    gone: float = math.inf

    @property
    def end(self) -> float:
        """When its command was gone: at its lease's end, if nobody saw to it before."""
        ends = [self.gone, self.client.world_time(self.lease.deadline)]
        if self.client.crashed_at is not None:
            ends.append(self.client.crashed_at)
        return min(ends)


@dataclass
class Sheet:
    """What happened in one episode."""

    world: World
    plan: Plan
    end: float
    longest: float = 60.0
    cron: Cron = field(default_factory=lambda: core.cron(NAMESPACE, "job", 2.0))
    runs: list[Started] = field(default_factory=list)
    passed: list[tuple[int, Passed]] = field(default_factory=list)
    #: of each of the crontab's ticks: how many asked, and came to an answer
    answered: Counter[int] = field(default_factory=Counter)
    #: every tick that was written down, with its ideal tick
    taken: set[tuple[int, int]] = field(default_factory=set)
    unknown: int = 0

    def process(self, client: Client, ideal: int) -> Scenario[None]:
        """Do what `coordkit cron run` does."""
        rng, keeper = client.world.rng, keeper_of(client)
        lasts = rng.choice([0.1, rng.uniform(1, self.longest)])
        code = int(rng.random() < 0.3)

        def acquiring(timeout: float) -> Op[LockLease | None]:
            options = lock_options(
                NAMESPACE,
                self.cron.lock,
                ttl=TTL,
                fair=True,
                shared=False,
                slots=None,
                hold_at_least=0.0,
                max_hold=None,
                lock_delay=0.0,
                waiter_ttl=3.0,
                meta=None,
            )
            claim, rid = options.claim(client.name, 2.0), client.rid()

            def make(token: int, asked_at: float, gives: float) -> LockLease:
                lease = LockLease(
                    claim, rid, token, asked_at, gives, clock=client.clock
                )
                if keeper.add(lease, asked_at):
                    client.stir()
                return lease

            return acquire(
                claim,
                rid,
                make,
                now=client.clock(),
                timeout=timeout,
                queue=True,
                listening=client.subscribed,
            )

        def releasing(lease: LockLease) -> Op[None]:
            keeper.drop(lease)
            return release(lease)

        try:
            answer = yield from self.cron.start(
                self.plan, client.name, acquiring, releasing, patience=TTL + 1
            )
        except LockTimeout:  # a wrong host, which goes away when the lock is taken
            self.answered[ideal] += 1
            return
        except CoordError:
            self.unknown += 1
            return
        self.answered[ideal] += 1
        if isinstance(answer, Passed):
            self.passed.append((ideal, answer))
            return
        yield from self._run(client, ideal, answer, lasts, code)
        with suppress(CoordError):
            yield from releasing(answer.lease)

    def _run(
        self,
        client: Client,
        ideal: int,
        begun: Begun[LockLease],
        lasts: float,
        code: int,
    ) -> Scenario[None]:
        lease, now = begun.lease, client.world.now
        run = Started(
            *(begun.tick, ideal, begun.attempt, client.name, now),
            *(lease, client, lasts, code),
        )
        self.runs.append(run)
        until = client.clock() + lasts
        while client.clock() < until and lease.held:
            yield min(1.0, until - client.clock())
        run.gone = client.world.now
        with suppress(CoordError):
            yield from self.cron.end(
                lease.holder, code if lease.held else 76, patience=10.0
            )

    def note_taken(self) -> None:
        """Look, every second, what was written down."""
        lines = self.world.server.store.do("LRANGE", self.cron.runs, 0, 2)
        for line in lines:
            tick, who = int(line.split(b"\n")[1]), line.split(b"\n")[8].decode()
            self.taken.add((tick, int(who.partition(":")[2].partition(":")[0])))
        if self.world.now < self.end:
            self.world.at(1.0, self.note_taken)

    # -- the checks --------------------------------------------------------------------

    def check(self, *, alone: bool = True, all_run: bool = True) -> None:
        """Decide about the whole episode."""
        if alone:
            self._one_at_a_time()
        tries = Counter(run.tick for run in self.runs)
        if twice := [t for t, n in tries.items() if n > self.plan.attempts]:
            raise Violation(f"tick {twice[0]} was run {tries[twice[0]]} times")
        successes = Counter(
            run.tick
            for run in self.runs
            if run.code == 0 and run.client.crashed_at is None
        )
        if again := [t for t, n in successes.items() if n > 1]:
            raise Violation(f"tick {again[0]} was run again after it had succeeded")
        if all_run:
            self._none_left_out()

    def _one_at_a_time(self) -> None:
        ordered = sorted(self.runs, key=lambda run: run.begun)
        for earlier, later in pairwise(ordered):
            if later.begun < earlier.end:
                raise Violation(f"tick {later.tick} began while {earlier.tick} ran")
            if later.lease.token <= earlier.lease.token:
                raise Violation("a later run has no higher token")

    def _none_left_out(self) -> None:
        """Whatever was asked for by somebody who lived to hear an answer was taken."""
        taken = {ideal for _, ideal in self.taken} | {run.ideal for run in self.runs}
        left_out = sorted(set(self.answered) - taken)
        if left_out:
            who = [p for ideal, p in self.passed if ideal == left_out[0]]
            raise Violation(f"tick {left_out[0]} was left out: {who}")


def day(
    seed: int,
    plan: Plan,
    *,
    faults: Faults = FAULTS,
    ticks: int = TICKS,
    latest: float = PERIOD / 2,
    longest: float = 60.0,
    sources: dict[str, str] | None = None,
) -> Sheet:
    """
    Play *ticks* ticks of five hosts' crontabs.

    *latest*: who was down asks so late at most; *longest*: so long a run may last.
    """
    world = World(seed, faults, sources)
    end = FIRST + ticks * PERIOD
    sheet, rng = Sheet(world, plan, end, longest), world.rng
    skews = [rng.uniform(-SKEW, SKEW) for _ in range(HOSTS)]
    for ideal in range(ticks):
        at = FIRST + ideal * PERIOD
        up = [host for host in range(HOSTS) if rng.random() < 0.6]
        for host in up:
            jitter = rng.uniform(0, 2)
            skew = max(-SKEW, min(SKEW, skews[host] + jitter))
            world.at(at + skew, _begin, sheet, f"h{host}:{ideal}", ideal)
            if rng.random() < 0.2:  # it was down, and asks when it is up again
                late = rng.uniform(SKEW, latest)
                world.at(at + late, _begin, sheet, f"h{host}:{ideal}:late", ideal)
    world.at(1.0, sheet.note_taken)
    world.run(end)
    if not world.finish(limit=end + 600):
        raise Violation("somebody waits for ever")
    return sheet


def _begin(sheet: Sheet, name: str, ideal: int) -> None:
    world, rng = sheet.world, sheet.world.rng
    client = world.client(name)
    client.spawn(sheet.process(client, ideal))
    luck = rng.random()
    if luck < 0.1:
        world.at(rng.uniform(0, 0.02), client.crash)  # at its very start
    elif luck < 0.2:
        world.at(rng.uniform(0, 60), client.crash)


# -- the kinds of days -----------------------------------------------------------------------


def by_schedule(
    seed: int, sources: dict[str, str] | None = None, ticks: int = TICKS
) -> Sheet:
    """*/5, at most once a tick."""
    sheet = day(seed, Plan(Schedule("*/5 * * * *")), sources=sources, ticks=ticks)
    sheet.check()
    for run in sheet.runs:
        assert run.tick == (YEAR_2023 + FIRST + run.ideal * PERIOD) * 1000
    return sheet


def by_span(
    seed: int, sources: dict[str, str] | None = None, ticks: int = TICKS
) -> Sheet:
    """Every five minutes, at most once."""
    plan = Plan(Every(PERIOD))
    # A tick is where the first ask was; who is late by more asks for the next one.
    sheet = day(seed, plan, sources=sources, ticks=ticks, latest=PERIOD / 5)
    sheet.check()
    ideals = Counter(run.ideal for run in sheet.runs)
    if max(ideals.values()) > 1:
        raise Violation("two runs for one tick of the crontab")
    return sheet


def until_success(
    seed: int, sources: dict[str, str] | None = None, ticks: int = 60
) -> Sheet:
    """Three attempts at most, none after one that succeeded."""
    plan = Plan(Schedule("*/5 * * * *"), attempts=3, overlap=Overlap.WAIT)
    sheet = day(seed, plan, sources=sources, ticks=ticks)
    sheet.check()
    return sheet


def long_runs(
    seed: int, sources: dict[str, str] | None = None, ticks: int = 60
) -> Sheet:
    """Runs that last into later ticks: whoever comes goes, waits, or takes over."""
    overlap = (Overlap.SKIP, Overlap.WAIT, Overlap.REPLACE)[seed % 3]
    plan = Plan(Schedule("*/5 * * * *"), overlap=overlap)
    sheet = day(seed, plan, sources=sources, ticks=ticks, longest=2.5 * PERIOD)
    sheet.check(all_run=overlap is Overlap.REPLACE)
    passed = Counter(answer.why for _, answer in sheet.passed)
    if overlap is not Overlap.SKIP and passed[Why.OVERLAP]:
        raise Violation("somebody went away who was to wait")
    if overlap is Overlap.REPLACE and passed[Why.SUPERSEDED]:
        raise Violation("a run was not replaced")
    return sheet


def set_clocks(
    seed: int, sources: dict[str, str] | None = None, ticks: int = 60
) -> Sheet:
    """The server's clock is set forward and back, by up to two hours: still at most once."""
    faults = replace(FAULTS, clock_steps=0.001, clock_step=7200.0)
    plan = Plan(Schedule("*/5 * * * *"))
    sheet = day(seed, plan, faults=faults, sources=sources, ticks=ticks)
    # Redis ends a lock by that clock, too: a lease may be cut short.
    sheet.check(alone=False, all_run=False)
    return sheet


def data_loss(
    seed: int, sources: dict[str, str] | None = None, ticks: int = 60
) -> Sheet:
    """Data is lost: a tick may be run again, but only one that was lost with it."""
    faults = replace(FAULTS, flushes=0.001)
    plan = Plan(Schedule("*/5 * * * *"))
    sheet = day(seed, plan, faults=faults, sources=sources, ticks=ticks)
    losses = sheet.world.losses
    by_tick: dict[int, list[float]] = {}
    for run in sheet.runs:
        by_tick.setdefault(run.tick, []).append(run.begun)
    for tick, begun in by_tick.items():
        for first, again in pairwise(sorted(begun)):
            if not any(first <= loss <= again for loss in losses):
                raise Violation(f"tick {tick} was run twice without a loss between")
    return sheet


DAYS = {
    "by schedule": by_schedule,
    "by span": by_span,
    "until success": until_success,
    "long runs": long_runs,
    "set clocks": set_clocks,
    "data loss": data_loss,
}


# -- known wrong variants ---------------------------------------------------------------------


@contextmanager
def no_second_look() -> Iterator[None]:
    """Who has the lock runs what it wanted before it had it."""

    def under(
        self: Cron, lease: LockLease, plan: Plan, identity: str, asked: int, _: Any
    ) -> Op[Begun[LockLease]]:
        seen = yield from self.look()
        turn = plan.ticks.turn(asked, None)
        return (yield from self._take(lease, plan, identity, core.Due(turn, 1), seen))

    with mock.patch.object(Cron, "_under", under):
        yield


@contextmanager
def never_early() -> Iterator[None]:
    """Who is early asks for the tick before."""
    with mock.patch("coordkit._core.ticks.EARLY", 0.0):
        yield


@contextmanager
def lost_is_due() -> Iterator[None]:
    """A run whose host died is made again."""
    original = core._again

    def again(plan: Plan, turn: Turn, run: Run) -> core.Answer:
        if run.state is State.LOST:
            return core.Due(turn, run.attempt + 1)
        return original(plan, turn, run)

    with mock.patch.object(core, "_again", again):
        yield


@contextmanager
def busy_is_done() -> Iterator[None]:
    """Who finds the lock taken goes away, whether a run was written down or not."""
    original = core._Trouble.ridden_out

    def ridden_out(self: Any, acquiring: Op[Any], now: int) -> Op[Any]:
        lease = yield from original(self, acquiring, now)
        if lease is None:
            raise LockTimeout("job", 0.0)
        return lease

    with mock.patch.object(core._Trouble, "ridden_out", ridden_out):
        yield


@contextmanager
def set_back_is_forgotten() -> Iterator[None]:
    """After the clock was set back, what was run later is not looked at."""
    original = core.decide

    def decide(plan: Plan, seen: Seen, asked: int) -> core.Answer:
        past = [run for run in seen.runs if run.since <= seen.now]
        return original(plan, replace(seen, runs=past), asked)

    with mock.patch.object(core, "decide", decide):
        yield
