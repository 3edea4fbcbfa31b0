"""
A session: one client's liveness.  `Session` for threads, `AsyncSession` for tasks.

It holds the connections, a namespace, an identity, and the one keeper that
renews every lease taken through it.  Nothing is sent before the first question.

A session belongs to the process that made it.  After a fork the child's copy
starts anew: connections and identity of its own, and no lease of the parent.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from redis import Redis, RedisCluster
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import RedisCluster as AsyncRedisCluster

from ._core import inspect as _inspect
from ._core import lock as _lock
from ._core.claim import Options, lock_options
from ._core.inspect import LockInfo
from ._core.keeper import Keeper
from ._core.keys import check_name, check_namespace, wake_prefix
from ._core.lease import Reason
from ._core.lock import Claim
from ._core.ops import Op
from ._core.regress import Highest
from ._core.span import LONGEST_CALL, seconds
from ._io import clock, fork
from ._io.aio import Aio, AsyncClusterWires, KeeperTask, Line
from ._io.awake import AsyncWakeLine
from ._io.blocking import Blocking, KeeperThread
from ._io.connect import async_source, source
from ._io.wake import WakeLine
from ._io.wire import ClusterWires, Wires
from .errors import CoordError
from .fence import AsyncFence, Fence
from .lease import AsyncLease, Lease
from .lock import AsyncLock, Lock
from .lock_all import AsyncLockAll, LockAll
from .singleton import Busy, async_singleton, singleton

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger("coordkit")

DEFAULT_URL = "redis://localhost:6379/0"
DEFAULT_TTL = 30.0
#: How long a waiter's place outlives it: a crash in the queue costs the others so much.
DEFAULT_WAITER_TTL = 3.0


class _Common:
    """What both flavours know without asking anybody."""

    def __init__(
        self, namespace: str, identity: str | None, timeout: float | timedelta
    ) -> None:
        self.namespace = check_namespace(namespace)
        self._timeout = seconds(timeout, "timeout", least=0.01, most=LONGEST_CALL)
        self._named = None if identity is None else check_name(identity, "identity")
        self._highest = Highest()

    def _be_born(self) -> None:
        """Take an id of one's own: at the start, and in the child of a fork."""
        self._id = secrets.token_hex(8)
        self.identity = self._named or fork.process_identity(self._id)

    def _claim(self, options: Options) -> Claim:
        """Return what an acquisition asks for at present."""
        return options.claim(self.identity, self._timeout)

    def _rid(self, claim: Claim) -> str:
        """Return a new request id: the session's half, a random half, the mode."""
        return f"{self._id}{os.urandom(8).hex()}{claim.mode}"


class Session(_Common):
    """
    A client of Redis for threads: the source of locks, fences and all else.

    *where* is a URL, or a client of redis-py, whose settings are copied: the
    client itself is never used.  *timeout* bounds every single question, in
    seconds; questions about a short lease are bounded by a fifth of its ttl.

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
        super().__init__(namespace, identity, timeout)
        self._source = source(where, timeout=self._timeout)
        self._closed = False
        self._be_born()
        fork.born_again(self)

    def _be_born(self) -> None:
        super()._be_born()
        many = self._source
        asking = ClusterWires(many) if many.clustered else Wires(many, self._timeout)
        keeping = ClusterWires(many) if many.clustered else Wires(many, self._timeout)
        channel = wake_prefix(self.namespace) + self._id
        self._line = WakeLine(many, channel, self._timeout, clock.now)
        self._wires = asking
        self._keeper = Keeper(
            guard=threading.Lock(),
            draw=random.random,
            ceiling=self._timeout,
            scatter=many.clustered,
        )
        self._keeping = KeeperThread(self._keeper, keeping, self._line, clock.now)
        self._io = Blocking(asking, self._line, clock.now, self._defer)

    def _after_fork(self) -> None:
        for lease in self._keeper.leases():
            lease._end(Reason.FORKED)
        self._source.forked()
        self._be_born()

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
    ) -> Lock:
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
        return Lock(
            self,
            lock_options(
                self.namespace,
                name,
                ttl=ttl,
                fair=fair,
                shared=shared,
                slots=slots,
                hold_at_least=hold_at_least,
                max_hold=max_hold,
                lock_delay=lock_delay,
                waiter_ttl=waiter_ttl,
                meta=meta,
            ),
        )

    def lock_all(
        self, names: Sequence[str], *, ttl: float | timedelta = DEFAULT_TTL
    ) -> LockAll:
        """Return several locks to be had together, all or none; nothing is sent."""
        return LockAll({name: self.lock(name, ttl=ttl) for name in several(names)})

    def locks(self) -> list[LockInfo]:
        """Return every lock of the namespace that is held, by name, without SCAN."""
        return self._run(_inspect.listing(self.namespace))

    def fence(self, name: str) -> Fence:
        """Return the fence *name*, which checks tokens; nothing is sent."""
        return Fence(self, self.namespace, name)

    def singleton(
        self,
        name: str,
        *,
        ttl: float | timedelta = DEFAULT_TTL,
        timeout: float | None = 0.0,
        busy: Busy = "raise",
    ) -> Callable[[Callable[P, R]], Callable[P, R | None]]:
        """
        Decorate a function: of all processes, one at a time runs it.

        When another runs it for longer than *timeout*, `LockTimeout` is raised, or,
        with ``busy="skip"``, None is returned.  A parameter named *lease* is filled
        in with the lease.
        """
        return singleton(self.lock(name, ttl=ttl), timeout, busy)

    def ping(self) -> None:
        """Ask the server something harmless: raises what a first lock would raise."""
        self._run(_inspect.probe(self.namespace))

    # -- its end ------------------------------------------------------------------

    def close(self) -> None:
        """Release the leases that are still held and close every connection."""
        if self._closed:
            return
        for lease in self._keeper.leases():
            with suppress(CoordError):  # it ends by its ttl
                lease._depth = 0
                lease.release()
        self._closed = True
        self._keeping.stop(self._timeout)
        self._line.close()
        self._wires.close()
        self._source.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Session {self._source.address} namespace={self.namespace!r}>"

    # -- for the nouns --------------------------------------------------------------

    def _run(self, op: Op[T]) -> T:
        if self._closed:
            raise RuntimeError(f"{self!r} is closed")
        return self._io.run(op)

    def _defer(self, call: Any, until: float) -> None:
        self._keeper.defer(call, until)
        self._keeping.stir()

    def _acquire(
        self, claim: Claim, timeout: float | None, *, queue: bool
    ) -> Lease | None:
        rid = self._rid(claim)
        made: list[Lease] = []

        def make(token: int, asked_at: float) -> Lease:
            lease = Lease(
                claim.name,
                rid,
                token,
                claim.ttl,
                asked_at,
                clock=clock.now,
                max_hold=claim.max_hold,
            )
            lease._claim, lease._session, lease._depth = claim, self, 0
            self._highest.check(claim.name, token)
            if self._keeper.add(lease, asked_at):
                self._keeping.stir()
            made.append(lease)
            return lease

        try:
            return self._run(
                _lock.acquire(
                    claim,
                    rid,
                    make,
                    now=clock.now(),
                    timeout=timeout,
                    queue=queue,
                    listening=self._line.ready,
                )
            )
        except BaseException:
            # Interrupted after it was made: the caller never had it.
            if made:
                self._keeper.drop(made[0])
                with suppress(CoordError):
                    self._io.run(_lock.release(made[0], now=clock.now()))
            raise

    def _release(self, lease: Lease) -> None:
        self._keeper.drop(lease)
        self._run(_lock.release(lease, now=clock.now()))

    def _break(self, name: str, reason: str) -> LockInfo | None:
        wake = wake_prefix(self.namespace)
        seen = self._run(_inspect.break_(name, self.namespace, wake))
        if seen is not None:
            log.warning("lock %r of %r was broken: %s", name, seen.identity, reason)
        return seen


class AsyncSession(_Common):
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
        where: str | AsyncRedis | AsyncRedisCluster = DEFAULT_URL,
        *,
        namespace: str = "default",
        identity: str | None = None,
        timeout: float | timedelta = LONGEST_CALL,
    ) -> None:
        super().__init__(namespace, identity, timeout)
        self._source = async_source(where, timeout=self._timeout)
        self._closed = False
        self._be_born()
        fork.born_again(self)

    def _be_born(self) -> None:
        super()._be_born()
        many = self._source
        many_slots = many.clustered
        asking = AsyncClusterWires(many) if many_slots else Line(many, self._timeout)
        keeping = AsyncClusterWires(many) if many_slots else Line(many, self._timeout)
        channel = wake_prefix(self.namespace) + self._id
        self._line = AsyncWakeLine(many, channel, self._timeout, clock.now)
        self._wires = asking
        self._keeper = Keeper(
            guard=nullcontext(),
            draw=random.random,
            ceiling=self._timeout,
            scatter=many.clustered,
        )
        self._keeping = KeeperTask(self._keeper, keeping, self._line, clock.now)
        self._io = Aio(asking, self._line, clock.now, self._defer)

    def _after_fork(self) -> None:
        for lease in self._keeper.leases():
            lease._end(Reason.FORKED)
        self._source.forked()
        self._be_born()

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
            self,
            lock_options(
                self.namespace,
                name,
                ttl=ttl,
                fair=fair,
                shared=shared,
                slots=slots,
                hold_at_least=hold_at_least,
                max_hold=max_hold,
                lock_delay=lock_delay,
                waiter_ttl=waiter_ttl,
                meta=meta,
            ),
        )

    def lock_all(
        self, names: Sequence[str], *, ttl: float | timedelta = DEFAULT_TTL
    ) -> AsyncLockAll:
        """Return several locks to be had together, all or none; nothing is sent."""
        return AsyncLockAll({name: self.lock(name, ttl=ttl) for name in several(names)})

    async def locks(self) -> list[LockInfo]:
        """Return every lock of the namespace that is held, by name, without SCAN."""
        return await self._run(_inspect.listing(self.namespace))

    def fence(self, name: str) -> AsyncFence:
        """Return the fence *name*, which checks tokens; nothing is sent."""
        return AsyncFence(self, self.namespace, name)

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
        await self._run(_inspect.probe(self.namespace))

    # -- its end ------------------------------------------------------------------

    async def close(self) -> None:
        """Release the leases that are still held and close every connection."""
        if self._closed:
            return
        for lease in self._keeper.leases():
            with suppress(CoordError):  # it ends by its ttl
                lease._depth = 0
                await lease.release()
        self._closed = True
        await self._keeping.stop()
        await self._line.close()
        await self._wires.close()
        await self._source.close()

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncSession {self._source.address} namespace={self.namespace!r}>"

    # -- for the nouns --------------------------------------------------------------

    async def _run(self, op: Op[T]) -> T:
        if self._closed:
            raise RuntimeError(f"{self!r} is closed")
        return await self._io.run(op)

    def _defer(self, call: Any, until: float) -> None:
        self._keeper.defer(call, until)
        self._keeping.stir()

    async def _acquire(
        self, claim: Claim, timeout: float | None, *, queue: bool
    ) -> AsyncLease | None:
        rid = self._rid(claim)

        def make(token: int, asked_at: float) -> AsyncLease:
            lease = AsyncLease(
                claim.name,
                rid,
                token,
                claim.ttl,
                asked_at,
                clock=clock.now,
                max_hold=claim.max_hold,
            )
            lease._claim, lease._session, lease._depth = claim, self, 0
            lease._scopes = []
            self._highest.check(claim.name, token)
            if self._keeper.add(lease, asked_at):
                self._keeping.stir()
            return lease

        return await self._run(
            _lock.acquire(
                claim,
                rid,
                make,
                now=clock.now(),
                timeout=timeout,
                queue=queue,
                listening=self._line.ready,
            )
        )

    async def _release(self, lease: AsyncLease) -> None:
        self._keeper.drop(lease)
        await self._run(_lock.release(lease, now=clock.now()))

    async def _break(self, name: str, reason: str) -> LockInfo | None:
        wake = wake_prefix(self.namespace)
        seen = await self._run(_inspect.break_(name, self.namespace, wake))
        if seen is not None:
            log.warning("lock %r of %r was broken: %s", name, seen.identity, reason)
        return seen


def several(names: Sequence[str]) -> list[str]:
    """Return *names* if they are at least one, and each only once."""
    if isinstance(names, str):
        raise TypeError(f"names is a sequence of names, not one str: {names!r}")
    given = list(names)
    if not given:
        raise ValueError("names is empty: give at least one name")
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is named twice: a lock cannot wait for itself")
    return given
