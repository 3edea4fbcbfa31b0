"""A session for tasks: `AsyncSession` is what `Session` is for threads (see `coordkit.session`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from redis.asyncio import Redis, RedisCluster

from ._core import election as _election
from ._core import group as _group
from ._core import inspect as _inspect
from ._core.balance import Strategy, rules
from ._core.claim import lock_options, several
from ._core.counter import CounterInfo
from ._core.election import election_times
from ._core.group import circle
from ._core.inspect import LockInfo
from ._core.keys import check_name, check_namespace
from ._core.members import Members
from ._core.ring import listing as _rings
from ._core.ring_read import RingInfo
from ._core.span import LONGEST_CALL, call_seconds
from ._core.terms import ElectionInfo
from ._io.connect import async_source
from ._io.engine import AsyncEngine
from ._opened import (
    DEFAULT_BLOCK,
    DEFAULT_SILENCE,
    DEFAULT_STALENESS,
    DEFAULT_TERM,
    DEFAULT_TTL,
    DEFAULT_URL,
    DEFAULT_WAITER_TTL,
    Opened,
)
from .balancer import AsyncBalancer
from .counter import AsyncCounter, counters
from .election import AsyncElection
from .fence import AsyncFence
from .group import AsyncGroup
from .ids import AsyncIds
from .lock import AsyncLock
from .lock_all import AsyncLockAll
from .ring import AsyncRing, staleness_seconds
from .singleton import Busy, async_singleton

P = ParamSpec("P")
R = TypeVar("R")


class AsyncSession(Opened[AsyncEngine]):
    """
    A client of Redis for tasks: the source of locks, fences and all else.

    *where* is a URL, or a client of redis-py's asyncio side, whose settings are
    copied: the client itself is never used.  *timeout* bounds every single
    question, in seconds; questions about a short lease are bounded by a fifth of
    its ttl.  It belongs to the event loop that asks first.

    What tasks ask in one turn of the loop shares one write on one connection.
    Leaving it releases the leases that are still held.
    """

    def __init__(
        self,
        where: str | Redis | RedisCluster = DEFAULT_URL,
        *,
        namespace: str = "default",
        identity: str | None = None,
        timeout: float | timedelta = LONGEST_CALL,
    ) -> None:
        patience = call_seconds(timeout)
        self._engine = AsyncEngine(
            async_source(where, timeout=patience),
            check_namespace(namespace),
            None if identity is None else check_name(identity, "identity"),
            patience,
        )

    # -- what it is for ---------------------------------------------------------

    def lock(
        self,
        name: str,
        *,
        ttl: float | timedelta = DEFAULT_TTL,
        fair: bool = True,
        shared: bool = False,
        slots: int | None = None,
        hold_at_least: float | timedelta = 0.0,
        max_hold: float | timedelta | None = None,
        lock_delay: float | timedelta = 0.0,
        waiter_ttl: float | timedelta = DEFAULT_WAITER_TTL,
        meta: Mapping[str, Any] | None = None,
    ) -> AsyncLock:
        """
        Return the lock *name*; nothing is sent.  All times in seconds.

        *ttl*: how long a lease lasts without renewal.  *fair*: a free lock belongs
        to whoever waits longest.  *shared*: any number may hold it at once, but not
        together with one who holds it alone.  *slots*: at most so many at once.
        *hold_at_least*: a release leaves it taken until so long after it was taken.
        *max_hold*: it is renewed no longer than this.  *lock_delay*: after a lease
        ran out without release nobody gets it for so long.  *waiter_ttl*: a waiter
        that died blocks the queue for so long.  *meta*: shown to whoever asks.
        """
        return AsyncLock(
            self._engine,
            lock_options(
                *(self.namespace, name, ttl, hold_at_least, max_hold, lock_delay),
                *(waiter_ttl, meta),
                fair=fair,
                shared=shared,
                slots=slots,
            ),
        )

    def lock_all(
        self, names: Sequence[str], *, ttl: float | timedelta = DEFAULT_TTL
    ) -> AsyncLockAll:
        """Return several locks to be had together, all or none; nothing is sent."""
        return AsyncLockAll({name: self.lock(name, ttl=ttl) for name in several(names)})

    async def locks(self) -> list[LockInfo]:
        """Return every lock of the namespace that is held, by name, without SCAN."""
        return await self._engine.run(
            _inspect.listing(self.namespace, self._engine.timeout)
        )

    def election(
        self,
        name: str,
        *,
        ttl: float | timedelta = DEFAULT_TERM,
        renew_deadline: float | timedelta | None = None,
        renew_every: float | timedelta | None = None,
        handover_delay: float | timedelta = 0.0,
        max_term: float | timedelta | None = None,
        waiter_ttl: float | timedelta = DEFAULT_WAITER_TTL,
    ) -> AsyncElection:
        """
        Return the election *name*; nothing is sent.  All times in seconds.

        *ttl*: after a leader's crash nobody leads for so long.  *renew_deadline*: a
        leader that could not renew for so long steps down; what is left of the ttl is
        for its work to end; two thirds of the ttl unless given.  *renew_every*: a third
        of the ttl.  *handover_delay*: after a term that was not resigned nobody is
        elected for so long.  *max_term*: a leader steps down after so long.
        *waiter_ttl*: a candidate that died blocks the next for so long.
        """
        times = election_times(
            ttl, renew_deadline, renew_every, handover_delay, max_term, waiter_ttl
        )
        office = _election.office(self.namespace, name, self._engine.timeout)
        return AsyncElection(self._engine, office, times)

    async def elections(self) -> list[ElectionInfo]:
        """Return every election of the last 90 days, by name, without SCAN."""
        return await self._engine.run(
            _election.listing(self.namespace, self._engine.timeout)
        )

    def group(
        self, name: str, *, ttl: float | timedelta = DEFAULT_SILENCE
    ) -> AsyncGroup:
        """Return the group *name*, whose members are heard of within *ttl*; nothing is sent."""
        timeout = self._engine.timeout
        return AsyncGroup(
            self._engine, circle(self.namespace, name, ttl=ttl, timeout=timeout)
        )

    async def groups(self) -> list[Members]:
        """Return every group of the namespace that has members, by name, without SCAN."""
        return await self._engine.run(
            _group.listing(self.namespace, self._engine.timeout)
        )

    def balancer(
        self,
        group: str,
        *,
        strategy: Strategy = "two_choices",
        cost: float = 1.0,
        c: float = 1.25,
        max_staleness: float | timedelta = DEFAULT_STALENESS,
        max_suspicion: float | None = 1.0,
        max_failures: int = 5,
        ejection: float | timedelta = 30.0,
        max_ejected: float = 0.5,
    ) -> AsyncBalancer:
        """
        Return what picks members of the group of that name; nothing is sent.

        *strategy*: ``"random"``, by weight; ``"round_robin"``, one sequence for all
        clients; ``"weighted"``, an even sequence by weight; ``"least_loaded"``;
        ``"two_choices"``, the less loaded of two; ``"ring"``, the same for the same key,
        unless it has more than *c* times its share of the load.

        *cost*: what a pick adds to a load, in what members report, until they report anew.
        *max_staleness*: when the server was silent for so many seconds, picks are refused.
        *max_suspicion*: from this `MemberInfo.suspicion` on a member is avoided; None: never.
        *max_failures*: so many in a row eject a member, for *ejection* seconds, and longer
        each time; but at most *max_ejected* of all members (0: nobody is ejected).
        """
        checked = rules(
            strategy, cost, c, max_suspicion, max_failures, ejection, max_ejected
        )
        there = circle(
            self.namespace, group, ttl=DEFAULT_SILENCE, timeout=self._engine.timeout
        )
        stale = staleness_seconds(max_staleness)
        return AsyncBalancer(self._engine, there, checked, stale)

    def fence(self, name: str) -> AsyncFence:
        """Return the fence *name*, which checks tokens; nothing is sent."""
        return AsyncFence(self._engine, name)

    def counter(self, name: str, *, shards: int | None = None) -> AsyncCounter:
        """
        Return the counter *name*; nothing is sent.

        *shards*: in how many parts it is, for very many adds.  None: as it is, else one.
        """
        return AsyncCounter(self._engine, name, shards)

    async def counters(self) -> list[CounterInfo]:
        """Return every counter of the namespace, by name, without SCAN."""
        return await self._engine.run(counters(self._engine).listing())

    async def add_all(
        self, amounts: Mapping[str, int], *, token: int | None = None
    ) -> dict[str, int]:
        """
        Add to several counters in one trip; return the new values by name.

        Each as by `AsyncCounter.add`, whatever becomes of the others: `NotAllAdded` tells.
        """
        return await self._engine.run(counters(self._engine).add_all(amounts, token))

    def ids(self, name: str, *, block: int = DEFAULT_BLOCK, start: int = 1) -> AsyncIds:
        """
        Return unique numbers to iterate over, for ever; nothing is sent.

        *block*: so many are had by one question, and lost by a crash.  *start*: the least.
        """
        return AsyncIds(self._engine, name, block, start)

    def ring(
        self, name: str, *, max_staleness: float | timedelta = DEFAULT_STALENESS
    ) -> AsyncRing:
        """
        Return the ring *name*, which maps keys to nodes; nothing is sent.

        *max_staleness*: when the server was silent for so many seconds, lookups refuse
        to answer.  A ring that was looked at once is kept fresh until the session is
        closed, in one thread or task for all.
        """
        return AsyncRing(self._engine, name, staleness_seconds(max_staleness))

    async def rings(self) -> list[RingInfo]:
        """Return every ring of the namespace, by name, without SCAN."""
        return await self._engine.run(_rings(self.namespace, self._engine.timeout))

    def singleton(
        self,
        name: str,
        *,
        ttl: float | timedelta = DEFAULT_TTL,
        timeout: float | None = 0.0,
        busy: Busy = "raise",
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R | None]]]:
        """
        Decorate a function: of all processes, one at a time runs it.

        When another runs it for longer than *timeout*, `LockTimeout` is raised, or,
        with ``busy="skip"``, None is returned.  A parameter named *lease* is filled
        in with the lease.
        """
        return async_singleton(self.lock(name, ttl=ttl), timeout, busy)

    async def ping(self) -> None:
        """Ask the server something harmless: raises what a first lock would raise."""
        await self._engine.run(_inspect.probe(self.namespace, self._engine.timeout))

    # -- its end ------------------------------------------------------------------

    async def close(self) -> None:
        """Release the leases that are still held and close every connection."""
        if self._engine.closed:
            return
        await self._engine.release_all()
        await self._engine.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
