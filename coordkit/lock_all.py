"""
Several locks at once: all or none of them.

They are taken one after another in the order of their names, the same for
everybody, so that two who want the same locks never wait for each other.

Not guaranteed: that the leases began at one instant, or that an unrelated lock
taken in between cannot deadlock with these.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Generic, Self, TypeVar

from ._core.span import limit_seconds
from ._io import clock
from ._io.entered import Entered
from ._io.fork import OfOneProcess
from .errors import CoordError, LockTimeout
from .lease import AsyncLease, Lease
from .lock import Acquiring, AsyncLock, Lock

L = TypeVar("L", bound=Lease | AsyncLease)


class _Leases(Mapping[str, L], Generic[L]):
    """The leases of several locks, by name."""

    def __init__(self, leases: dict[str, L]) -> None:
        self._leases = leases

    def __getitem__(self, name: str) -> L:
        return self._leases[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._leases)

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def held(self) -> bool:
        """Whether the holder may still act on all of them."""
        return all(lease.held for lease in self._leases.values())

    def remaining(self) -> float:
        """Return for how many seconds all of them may still be relied on."""
        return min(lease.remaining() for lease in self._leases.values())

    def check(self) -> None:
        """Return if the holder may still act on all of them; else raise."""
        for lease in self._leases.values():
            lease.check()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {list(self._leases.values())!r}>"


class Leases(_Leases[Lease]):
    """All of several locks, held."""

    def release(self) -> None:
        """Give all of them back, the last one first; the first failure is raised at the end."""
        problem: BaseException | None = None
        for lease in reversed(self._leases.values()):
            try:
                lease.release()
            except BaseException as exc:  # noqa: BLE001  # the others must be given back
                problem = _first(problem, exc)
        if problem is not None:
            raise problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        problem: BaseException | None = None
        for lease in reversed(self._leases.values()):
            try:
                lease.__exit__(kind, exc, trace)
            except BaseException as failed:  # noqa: BLE001  # the others must be given back
                problem = _first(problem, failed)
        if problem is not None:
            raise problem


class AsyncLeases(_Leases[AsyncLease]):
    """All of several locks, held."""

    async def release(self) -> None:
        """Give all of them back, the last one first; the first failure is raised at the end."""
        problem: BaseException | None = None
        for lease in reversed(self._leases.values()):
            try:
                await lease.release()
            except BaseException as exc:  # noqa: BLE001  # the others must be given back
                problem = _first(problem, exc)
        if problem is not None:
            raise problem

    async def __aenter__(self) -> Self:
        for lease in self._leases.values():
            await lease.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        problem: BaseException | None = None
        for lease in reversed(self._leases.values()):
            try:
                await lease.__aexit__(kind, exc, trace)
            except BaseException as failed:  # noqa: BLE001  # the others must be given back
                problem = _first(problem, failed)
        if problem is not None:
            raise problem


def _first(problem: BaseException | None, exc: BaseException) -> BaseException:
    """Return what to raise in the end: an interruption, else the first failure."""
    if problem is None:
        return exc
    if isinstance(problem, CoordError) and not isinstance(exc, CoordError):
        problem, exc = exc, problem
    problem.add_note(f"and: {exc}")
    return problem


class LockAll(OfOneProcess):
    """Several names to be had together.  Making one sends nothing."""

    def __init__(self, locks: dict[str, Lock]) -> None:
        self._locks = dict(sorted(locks.items()))
        self._entered: Entered[Leases] = Entered(threading.get_ident)

    def acquire(self, timeout: float | timedelta | None = None) -> Leases:
        """Wait for all of them, at most *timeout* seconds altogether, and take them."""
        limit = limit_seconds(timeout, "timeout")
        until = None if limit is None else clock.now() + limit
        taken: dict[str, Lease] = {}
        try:
            for name, lock in self._locks.items():
                left = None if until is None else max(0.0, until - clock.now())
                taken[name] = lock.acquire(left)
            leases = Leases(taken)
            leases.check()
            return leases
        except BaseException as cause:
            Leases(taken).__exit__(type(cause), cause, None)
            raise

    def try_acquire(self) -> Leases | None:
        """Take all of them if they are free at this moment; else none, and return None."""
        try:
            return self.acquire(0)
        except LockTimeout:
            return None

    def __enter__(self) -> Leases:
        return self._entered.push(self.acquire())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered.pop().__exit__(kind, exc, trace)

    def __repr__(self) -> str:
        return f"<LockAll {list(self._locks)!r}>"


class AsyncLockAll(OfOneProcess):
    """Several names to be had together.  Making one sends nothing."""

    def __init__(self, locks: dict[str, AsyncLock]) -> None:
        self._locks = dict(sorted(locks.items()))
        self._entered: Entered[AsyncLeases] = Entered(asyncio.current_task)

    def acquire(
        self, timeout: float | timedelta | None = None
    ) -> Acquiring[AsyncLeases]:
        """Wait for all of them, at most *timeout* seconds altogether, and take them."""
        limit = limit_seconds(timeout, "timeout")
        return Acquiring(repr(list(self._locks)), lambda: self._acquired(limit))

    async def _acquired(self, limit: float | None) -> AsyncLeases:
        until = None if limit is None else clock.now() + limit
        taken: dict[str, AsyncLease] = {}
        try:
            for name, lock in self._locks.items():
                left = None if until is None else max(0.0, until - clock.now())
                taken[name] = await lock.acquire(left)
            leases = AsyncLeases(taken)
            leases.check()
            return leases
        except BaseException as cause:
            await _give_back(taken, cause)
            raise

    async def try_acquire(self) -> AsyncLeases | None:
        """Take all of them if they are free at this moment; else none, and return None."""
        try:
            return await self.acquire(0)
        except LockTimeout:
            return None

    async def __aenter__(self) -> AsyncLeases:
        return await self._entered.push(await self.acquire()).__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._entered.pop().__aexit__(kind, exc, trace)

    def __repr__(self) -> str:
        return f"<AsyncLockAll {list(self._locks)!r}>"


async def _give_back(taken: dict[str, AsyncLease], cause: BaseException) -> None:
    try:
        await AsyncLeases(taken).release()
    except CoordError as problem:
        cause.add_note(f"giving the others back: {problem}")
