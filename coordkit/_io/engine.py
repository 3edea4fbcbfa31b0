"""
What stands behind a session: the ways to the server, a driver, and the keeper.

A process has its own: in the child of a fork everything is made anew, and what
was the parent's is left alone, neither used nor closed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, nullcontext, suppress
from typing import Any, TypeVar

from .._core import group, inspect, lock
from .._core.claim import Claim
from .._core.follow import Copy, Follower
from .._core.group import Circle, MemberLease
from .._core.inspect import LockInfo
from .._core.keeper import Keeper
from .._core.keys import wake_prefix
from .._core.lock import LockLease
from .._core.members import Record
from .._core.ops import Call, Op
from .._core.ring_local import LocalRing
from ..errors import CoordError, StaleRing
from . import clock
from .aio import Aio, FollowerTask, KeeperTask
from .awake import AsyncWakeLine
from .blocking import Blocking, FollowerThread, KeeperThread
from .cluster import AsyncClusterWires, ClusterWires
from .common import Common, check_same
from .connect import AsyncSource, Source
from .line import Line
from .wake import WakeLine
from .wire import Wires

T = TypeVar("T")
R = TypeVar("R")
L = TypeVar("L", bound=LockLease)
M = TypeVar("M", bound=MemberLease)
log = logging.getLogger("coordkit")


class Engine(Common):
    """For threads."""

    _guard = threading.Lock

    def __init__(
        self, source: Source, namespace: str, named: str | None, timeout: float
    ) -> None:
        self.source = source
        super().__init__(namespace, named, timeout)

    def _connect(self, channel: str) -> None:
        source, now = self.source, clock.now
        self._wires = self._way()
        self._line = WakeLine(source, channel, self.timeout, now)
        self.keeper = Keeper(
            guard=self._guard(),
            draw=random.random,
            ceiling=self.timeout,
            scatter=source.clustered,
        )
        self._keeping = KeeperThread(self.keeper, self._way(), self._line, now)
        self._io = Blocking(self._wires, self._line, now, self._defer)
        self._following = FollowerThread(
            Follower(guard=self._guard()),
            self._wires,
            self._line,
            now,
            self._defer,
            self.rid(),
        )

    def _way(self) -> Wires | ClusterWires:
        if self.source.clustered:
            return ClusterWires(self.source, self.timeout)
        return Wires(self.source.route, self.timeout)

    def _parts(self) -> tuple[Any, ...]:
        return self._wires, self._line, self._keeping, self._io, self._following

    def run(self, op: Op[T]) -> T:
        """Drive an operation."""
        self._check_open()
        return self._io.run(op)

    def stream(self, op: Op[None]) -> Generator[Any]:
        """Drive an operation that tells; yield what it tells."""
        self._check_open()
        io = self._io
        for told in io.stream(op):
            yield told
            self._check_open()
            check_same(io, self._io)

    def _listening(self) -> bool:
        return self._line.ready

    def _stir(self) -> None:
        self._keeping.stir()

    def _defer(self, call: Call, until: float) -> None:
        self.keeper.defer(call, until)
        self._stir()

    def acquire(
        self,
        claim: Claim,
        new: Callable[[Claim, str, int, float, float], L],
        *,
        timeout: float | None,
        queue: bool,
    ) -> L | None:
        """Take a lock; *new* makes the lease.  See `_core.lock.acquire`."""
        rid = self.rid(claim)
        return self._taken(
            new,
            lambda noted: self.acquiring(
                claim, rid, noted, timeout=timeout, queue=queue
            ),
            self.release,
            lambda: lock.give_up(claim, rid, clock.now()),
        )

    def release(self, lease: LockLease, why: str = "") -> None:
        """Give a lock back; *why* is for an election's history."""
        self.keeper.drop(lease)
        self.run(lock.release(lease, why))

    def join(
        self,
        circle: Circle,
        record: Record,
        new: Callable[[str, int, float], M],
        *,
        replace: bool,
    ) -> M:
        """Become a member of a group; *new* makes the membership.  See `_core.group.join`."""
        rid = self.rid()
        return self._taken(
            new,
            lambda noted: self.joining(circle, rid, record, noted, replace=replace),
            self.leave,
            lambda: group.give_up(circle, rid, record.identity, clock.now()),
        )

    def _taken(
        self,
        new: Callable[..., T],
        taking: Callable[[Callable[..., T]], Op[R]],
        give_back: Callable[[T], None],
        give_up: Callable[[], tuple[Call, float]],
    ) -> R:
        """Run what is *taking* a *new* lease; leave nothing behind, wherever it is interrupted."""
        made: list[T] = []

        def noted(*what: Any) -> T:
            made.append(new(*what))
            return made[0]

        try:
            return self.run(taking(noted))
        except BaseException as exc:
            # Interrupted after it was made, or in the middle of taking it back.
            if made:
                with suppress(CoordError):
                    give_back(made[0])
            elif not isinstance(exc, CoordError):
                self._defer(*give_up())
            raise

    def leave(self, member: MemberLease) -> None:
        """Be a member of a group no longer."""
        self.keeper.drop(member)
        self.run(member._leaving())

    def release_all(self) -> None:
        """Give back whatever is still held; what cannot be ends by its ttl."""
        for lease in self.keeper.leases():
            with suppress(CoordError):
                if isinstance(lease, LockLease):
                    self.release(lease)
                elif isinstance(lease, MemberLease):
                    self.leave(lease)

    def break_(self, name: str, reason: str, holder: str | None) -> LockInfo | None:
        """Take a lock from its holder."""
        wake = wake_prefix(self.namespace)
        seen = self.run(
            inspect.break_(name, self.namespace, wake, holder, self.timeout)
        )
        return _broken(seen, reason)

    def load(self, copy: Copy) -> None:
        """Ask for a ring or a group now, and keep it fresh from then on."""
        self._check_open()
        self._following.follow(copy)

    def _load_first(self, local: LocalRing) -> None:
        self.load(local)

    def close(self) -> None:
        """Close every connection; what is still held ends by its ttl."""
        self.closed = True
        self._keeping.stop(self.timeout)
        self._line.close()
        self._following.stop(self.timeout)
        self._wires.close()


class AsyncEngine(Common):
    """For tasks."""

    _guard = nullcontext

    def __init__(
        self, source: AsyncSource, namespace: str, named: str | None, timeout: float
    ) -> None:
        self.source = source
        super().__init__(namespace, named, timeout)

    def _connect(self, channel: str) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: AsyncGenerator[None] | None = None
        source, now = self.source, clock.now
        self._wires = self._way()
        self._line = AsyncWakeLine(source, channel, self.timeout, now)
        self.keeper = Keeper(
            guard=self._guard(),
            draw=random.random,
            ceiling=self.timeout,
            scatter=source.clustered,
        )
        self._keeping = KeeperTask(self.keeper, self._way(), self._line, now)
        self._io = Aio(self._wires, self._line, now, self._defer)
        self._following = FollowerTask(
            Follower(guard=self._guard()),
            self._wires,
            self._line,
            now,
            self._defer,
            self.rid(),
        )

    def _way(self) -> Line | AsyncClusterWires:
        if self.source.clustered:
            return AsyncClusterWires(self.source, self.timeout)
        return Line(self.source.route, self.timeout)

    def _parts(self) -> tuple[Any, ...]:
        parts = (self._wires, self._line, self._keeping, self._io, self._following)
        return (*parts, self._end)

    # These three return the driver's own coroutine: a frame less to wake a task through.

    def run(self, op: Op[T]) -> Coroutine[Any, Any, T]:
        """Drive an operation, on the event loop that asked first."""
        self._check_open()
        self._check_loop()
        return self._io.run(op)

    async def stream(self, op: Op[None]) -> AsyncGenerator[Any]:
        """Drive an operation that tells; yield what it tells."""
        self._check_open()
        self._check_loop()
        io = self._io
        async with aclosing(io.stream(op)) as telling:
            async for told in telling:
                yield told
                self._check_open()
                check_same(io, self._io)

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._end = self._closing()
            with suppress(StopIteration):  # up to its yield; no loop is needed for that
                self._end.asend(None).send(None)
        elif self._loop is not loop:
            raise RuntimeError(
                "this AsyncSession belongs to another event loop: make one for each loop"
            )

    def _listening(self) -> bool:
        return self._line.ready

    def _stir(self) -> None:
        self._keeping.stir()

    def _defer(self, call: Call, until: float) -> None:
        self.keeper.defer(call, until)
        self._stir()

    def acquire(
        self,
        claim: Claim,
        new: Callable[[Claim, str, int, float, float], L],
        *,
        timeout: float | None,
        queue: bool,
    ) -> Coroutine[Any, Any, L | None]:
        """Take a lock; *new* makes the lease.  See `_core.lock.acquire`."""
        return self.run(
            self.acquiring(claim, self.rid(claim), new, timeout=timeout, queue=queue)
        )

    def release(self, lease: LockLease, why: str = "") -> Coroutine[Any, Any, None]:
        """Give a lock back; *why* is for an election's history."""
        asked = self.run(lock.release(lease, why))
        self.keeper.drop(lease)
        return asked

    def join(
        self,
        circle: Circle,
        record: Record,
        new: Callable[[str, int, float], M],
        *,
        replace: bool,
    ) -> Coroutine[Any, Any, M]:
        """Become a member of a group; *new* makes the membership.  See `_core.group.join`."""
        return self.run(self.joining(circle, self.rid(), record, new, replace=replace))

    def leave(self, member: MemberLease) -> Coroutine[Any, Any, None]:
        """Be a member of a group no longer."""
        asked = self.run(member._leaving())
        self.keeper.drop(member)
        return asked

    async def release_all(self) -> None:
        """Give back whatever is still held; what cannot be ends by its ttl."""
        for lease in self.keeper.leases():
            with suppress(CoordError):
                if isinstance(lease, LockLease):
                    await self.release(lease)
                elif isinstance(lease, MemberLease):
                    await self.leave(lease)

    async def break_(
        self, name: str, reason: str, holder: str | None
    ) -> LockInfo | None:
        """Take a lock from its holder."""
        wake = wake_prefix(self.namespace)
        seen = await self.run(
            inspect.break_(name, self.namespace, wake, holder, self.timeout)
        )
        return _broken(seen, reason)

    async def load(self, copy: Copy) -> None:
        """Ask for a ring or a group now, and keep it fresh from then on."""
        self._check_open()
        self._check_loop()
        await self._following.follow(copy)

    def _load_first(self, local: LocalRing) -> None:
        raise StaleRing(local.name, "it has not been asked for: await refresh() first")

    async def close(self) -> None:
        """Close every connection; what is still held ends by its ttl."""
        self.closed = True
        if self._end is not None:
            await self._end.aclose()

    async def _closing(self) -> AsyncGenerator[None]:
        """Close the connections at the latest when the loop ends: it closes its generators last."""
        try:
            yield
        finally:
            await self._keeping.stop()
            await self._following.stop()
            await self._line.close()
            await self._wires.close()


def _broken(seen: LockInfo | None, reason: str) -> LockInfo | None:
    if seen is not None:
        log.warning(
            "lock %r of %r was broken: %s",
            seen.name,
            seen.identity,
            reason or "no reason given",
        )
    return seen
