"""
Cron, as operations: of all who ask for a tick, one runs it.

Who asks looks first, and mostly goes away: the tick was run, or is being run.  Else it
takes the lock ``cron:<name>``, looks again under it, and writes the run down: only then
may the command start.  So a tick is run at most once for as long as the server keeps its
data; and who dies before it has written the run down leaves the tick to others.

A run that was written down and never ended, while nobody has the lock any more, is lost:
its host died.  With one attempt a tick, it is spent.

What is kept is one list a name: the last runs, newest first, the present one at its head.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from ..errors import CoordError, KeyConflict, LockTimeout, Unreachable
from . import inspect
from .asking import ask, insist
from .keys import check_name, in_bucket, index_keys, lock_keys
from .lock import LockLease
from .ops import Call, Op, Pipeline, Rest
from .reply import text
from .runs import Run, Seen, State, read
from .ticks import Ticks, Turn

L = TypeVar("L", bound=LockLease)

#: So many runs are kept, the present one among them.
KEPT = 64
#: A yearly job must be known a year later.
KEPT_MS = 400 * 86_400_000
#: While whoever has the lock has not written its run down, it is looked at so often; and
#: while an earlier tick is run, whether another waiter was given the lock.
GLANCE, LONG_GLANCE = 1.0, 10.0

#: How to take the lock, waiting at most so many seconds, and how to give it back.
Acquire: TypeAlias = Callable[[float], Op[L | None]]
Release: TypeAlias = Callable[[L], Op[None]]


class Overlap(StrEnum):
    """What to do while an earlier tick is being run."""

    SKIP = "skip"
    WAIT = "wait"
    REPLACE = "replace"


class Why(StrEnum):
    """Why a tick is not run by who asks for it."""

    DONE = "done"
    RUNNING = "running"
    OVERLAP = "overlap"
    GIVEN_UP = "given up"
    SUPERSEDED = "superseded"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run when; *attempts*: how often a tick may be tried until it succeeds."""

    ticks: Ticks
    overlap: Overlap = Overlap.SKIP
    attempts: int = 1
    #: wait so many seconds before asking for the lock
    splay: float = 0.0


@dataclass(frozen=True, slots=True)
class Begun(Generic[L]):
    """The tick is ours, written down: run it, then `end` it, then release the lease."""

    lease: L
    tick: int
    attempt: int
    #: the schedule at the last run, if it was another
    before: str | None


@dataclass(frozen=True, slots=True)
class Passed:
    """The tick is not ours; *run*: whose it is, if anybody's."""

    tick: int
    why: Why
    run: Run | None

    @property
    def usual(self) -> bool:
        """Whether somebody does, or did, what was asked for."""
        return self.why in (Why.DONE, Why.RUNNING, Why.SUPERSEDED)


class Due(NamedTuple):
    """The tick is to be run, if the lock can be had."""

    turn: Turn
    attempt: int


class Busy(NamedTuple):
    """An earlier tick is being run."""

    turn: Turn
    run: Run


Answer: TypeAlias = Due | Busy | Passed


# -- deciding ------------------------------------------------------------------------------


def decide(plan: Plan, seen: Seen, asked: int) -> Answer:
    """
    Say whether who asked at *asked*, by the server's clock, may run a tick now.

    A run that began later than now shows that the clock was set back.  It is no reason to
    wait until the clock comes by again, but its tick was run.
    """
    past = [run for run in seen.runs if run.since <= seen.now + plan.ticks.early]
    last = max((run.tick for run in past), default=None)
    turn = plan.ticks.turn(asked, last)
    if seen.now >= turn.until:
        turn = plan.ticks.turn(seen.now, last)
    tries = [run for run in seen.runs if run.tick == turn.tick]
    if tries:
        return _again(plan, turn, tries[0])
    if last is not None and turn.tick < last:
        return Passed(turn.tick, Why.DONE, past[0])
    if not past and len(seen.runs) >= KEPT:  # set back farther than we remember
        return Passed(turn.tick, Why.CLOCK, seen.runs[0])
    if seen.runs and seen.runs[0].state is State.RUNNING:
        return Busy(turn, seen.runs[0])
    return Due(turn, 1)


def _again(plan: Plan, turn: Turn, run: Run) -> Answer:
    """Say whether a tick that was tried may be tried again."""
    if run.state is State.RUNNING:
        return Passed(turn.tick, Why.RUNNING, run)
    if run.state is State.OK or plan.attempts == 1:
        return Passed(turn.tick, Why.DONE, run)
    if run.attempt >= plan.attempts:
        return Passed(turn.tick, Why.GIVEN_UP, run)
    return Due(turn, run.attempt + 1)


# -- asking --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cron:
    """One name: its keys, all in the bucket of its lock, and how long a question may take."""

    name: str
    namespace: str
    timeout: float
    #: the name of the lock that is held during a run; its place in the index, too
    lock: str
    lock_key: str
    runs: str
    index: str

    def look(self) -> Op[Seen]:
        """Return what there is of it."""
        reply = yield from ask(self._look_call())
        return read(reply.value, self.name)

    def start(
        self,
        plan: Plan,
        identity: str,
        acquire: Acquire[L],
        release: Release[L],
        *,
        patience: float,
    ) -> Op[Begun[L] | Passed]:
        """
        Ask for the tick of this moment; return it begun, or why it is not ours.

        *patience*: an outage of so many seconds is ridden out; and who has the lock and
        has not written its run down after so long is no run that was about to begin, nor
        one whose host has died.
        """
        seen, heard_at = yield from self._look(patience)
        asked = seen.now
        if plan.splay and not isinstance(decide(plan, seen, asked), Passed):
            yield Rest(heard_at + plan.splay)
            seen, _ = yield from self._look(patience)
        give_up, revoked, begun = 0.0, False, seen.now
        trouble = _Trouble(patience)
        while True:
            answer = decide(plan, seen, asked)
            if isinstance(answer, Passed):
                return answer
            run = answer.run if isinstance(answer, Busy) else None
            give_up = give_up or answer.turn.until
            if seen.now >= give_up:
                return Passed(answer.turn.tick, Why.SUPERSEDED, run)
            if plan.overlap is Overlap.SKIP:
                if run is not None or seen.now >= begun + 1000 * patience:
                    return Passed(answer.turn.tick, Why.OVERLAP, run)
            elif plan.overlap is Overlap.REPLACE and run is not None and not revoked:
                revoked = True
                yield from inspect.revoke(self.lock, self.namespace, self.timeout)
            left = (give_up - seen.now) / 1000
            wait = min(left, GLANCE if run is None else LONG_GLANCE)
            lease = yield from trouble.ridden_out(acquire(wait), seen.now)
            if lease is not None:
                return (yield from self._under(lease, plan, identity, asked, release))
            seen, _ = yield from self._look(patience)

    def end(self, rid: str, code: int, *, patience: float) -> Op[bool]:
        """Write down how the run ended; False when the server knows it no longer."""
        state = State.OK if code == 0 else State.FAILED
        args = (rid, state.value, int(code), KEPT_MS)  # of an enum of codes, too
        call = Call("cron_end", (self.runs,), args, self.timeout)
        reply = yield from insist(call, patience)
        return text(reply.value[0]) == "ended"

    def _under(
        self,
        lease: L,
        plan: Plan,
        identity: str,
        asked: int,
        release: Release[L],
    ) -> Op[Begun[L] | Passed]:
        """Under the lock: look once more, and write the run down."""
        try:
            seen, _ = yield from self._look(lease.ttl / 2)
            answer = decide(plan, seen, asked)
            if isinstance(answer, Due):
                return (yield from self._take(lease, plan, identity, answer, seen))
        except CoordError:
            with suppress(CoordError):
                yield from release(lease)
            raise
        with suppress(CoordError):
            yield from release(lease)
        if isinstance(answer, Busy):  # somebody has it instead of us
            return Passed(answer.turn.tick, Why.OVERLAP, answer.run)
        return answer

    def _take(
        self, lease: L, plan: Plan, identity: str, due: Due, seen: Seen
    ) -> Op[Begun[L]]:
        tick, spec = due.turn.tick, plan.ticks.spec
        call = Call(
            "cron_take",
            (self.lock_key, self.runs, self.index),
            (
                *(lease.holder, tick, due.attempt, identity, spec),
                *(KEPT, KEPT_MS, self.lock),
            ),
            self.timeout,
        )
        reply = yield from insist(call, lease.ttl / 2)
        if text(reply.value[0]) != "taken":
            lease.check()
            raise KeyConflict(f"the lock {self.lock!r} is not what it was")
        before = seen.runs[0].spec if seen.runs else spec
        return Begun(lease, tick, due.attempt, None if before == spec else before)

    def _look(self, patience: float) -> Op[tuple[Seen, float]]:
        reply = yield from insist(self._look_call(), patience)
        return read(reply.value, self.name), reply.heard_at

    def _look_call(self) -> Call:
        return Call("cron_look", (self.lock_key, self.runs), (), self.timeout)


def cron(namespace: str, name: str, timeout: float) -> Cron:
    """Return the cron *name*."""
    lock = check_name(f"cron:{check_name(name)}")
    keys = lock_keys(namespace, lock)
    return Cron(
        name=name,
        namespace=namespace,
        timeout=timeout,
        lock=lock,
        lock_key=keys.lock,
        runs=in_bucket(namespace, keys.bucket, f"runs:{name}"),
        index=keys.index,
    )


def listing(namespace: str, timeout: float) -> Op[list[tuple[str, Seen]]]:
    """Return every name of *namespace* that was ever run, and what there is of it."""
    names = yield from inspect.listed(index_keys(namespace), "cron:", timeout)
    if not names:
        return []
    found = [cron(namespace, name, timeout) for name in names]
    calls = tuple(each._look_call() for each in found)
    reply = yield from ask(Pipeline(calls, timeout))
    answers = zip(found, inspect.values(reply.value), strict=True)
    return [(each.name, read(value, each.name)) for each, value in answers]


class _Trouble:
    """How long the lock could not be asked for: for a while that is as if it were taken."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: int | None = None

    def ridden_out(self, acquiring: Op[L | None], now: int) -> Op[L | None]:
        """Return the lease, or None when there is none for now."""
        try:
            lease = yield from acquiring
        except LockTimeout:
            lease = None
        except Unreachable:
            self._since = now if self._since is None else self._since
            if now >= self._since + 1000 * self._patience:
                raise
            return None
        self._since = None
        return lease
