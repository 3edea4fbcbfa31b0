"""
Locks: `Lock` for threads, `AsyncLock` for tasks.

Guaranteed, by one Redis that keeps its data: at most one lease of a name at a
time (or, ``shared`` and ``slots``: as many as allowed), first come first served,
tokens that rise with every new holder, and that a caller that gave up, was
interrupted or was cancelled leaves nothing behind.

Not guaranteed: that a holder which was paused beyond its deadline does not act.
Whatever it writes to must check the token.  And no lock on Redis excludes across
a loss of the server's data or the promotion of a replica that lags behind; what
survives both is that tokens rise.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ._core import inspect as _inspect
from ._core.claim import Options
from ._core.inspect import LockInfo
from ._core.lock import Claim
from ._core.span import limit_seconds
from ._io import clock
from ._io.entered import Entered
from ._io.fork import OfOneProcess
from .errors import LockTimeout
from .lease import AsyncLease, Lease

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine


class _Held(Protocol):
    """What an acquisition gives: something to enter and to leave."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


H = TypeVar("H", bound=_Held)


class Lock(OfOneProcess):
    """A name that one holder at a time may have.  Making one sends nothing."""

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine
        self._options = options
        self._claim = options.claim(engine.identity, engine.timeout)
        self._entered: Entered[Lease] = Entered(threading.get_ident)

    @property
    def name(self) -> str:
        """What this lock is called."""
        return self._options.name

    @property
    def ttl(self) -> float:
        """How long a lease lasts without renewal, in seconds."""
        return self._options.ttl

    def acquire(self, timeout: float | timedelta | None = None) -> Lease:
        """
        Wait for the lock, at most *timeout* seconds (None: as long as it takes), and take it.

        `LockTimeout` when others kept it for so long.  `Unreachable` when the server
        gave no answer until then, or for one whole ttl: then the request is taken
        back as soon as the server answers again.
        """
        limit = limit_seconds(timeout, "timeout")
        lease = self._acquire(limit, queue=limit != 0)
        if lease is None:
            raise LockTimeout(self.name, 0.0)
        return lease

    def try_acquire(self) -> Lease | None:
        """Take the lock if it is free at this moment and nobody waits for it; else None."""
        return self._acquire(None, queue=False)

    def info(self) -> LockInfo | None:
        """Return who holds the lock, or None.  It may have changed since."""
        return self._engine.run(
            _inspect.info(self.name, self._options.keys, self._engine.timeout)
        )

    def break_(self, *, reason: str = "", holder: str | None = None) -> LockInfo | None:
        """
        Take the lock from its holder; return who that was, or None.

        The holder learns it at its next renewal, and may act until then: its token
        is what keeps it out.  *reason* is logged here.  *holder*, as `info` told it:
        take it from nobody else.
        """
        return self._engine.break_(self.name, reason, holder)

    def revoke(self) -> LockInfo | None:
        """Ask the holder to let go: its lease is lost at its next renewal; return who it is."""
        return self._engine.run(
            _inspect.revoke(self.name, self._options.namespace, self._engine.timeout)
        )

    def _asked(self) -> Claim:
        if self._claim.identity != self._engine.identity:  # forked since
            self._claim = self._options.claim(
                self._engine.identity, self._engine.timeout
            )
        return self._claim

    def _acquire(self, timeout: float | None, *, queue: bool) -> Lease | None:
        return self._engine.acquire(
            self._asked(), self._lease, timeout=timeout, queue=queue
        )

    def _lease(
        self, claim: Claim, rid: str, token: int, asked_at: float, lasts: float
    ) -> Lease:
        return Lease(self._engine, claim, rid, token, asked_at, lasts)

    def _adopted(self, holder: str, token: int) -> Lease:
        """Return another process's lease, kept by nobody; renew it before it is believed."""
        return self._lease(self._asked(), holder, token, clock.now(), self.ttl)

    def __enter__(self) -> Lease:
        lease: Lease | None = None
        try:
            lease = self.acquire()
            return self._entered.push(lease)
        except BaseException:
            if lease is not None:
                lease.release()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered.pop().__exit__(kind, exc, trace)

    def __repr__(self) -> str:
        return f"<Lock {self.name!r} {self._options.shown()}>"


class AsyncLock(OfOneProcess):
    """A name that one holder at a time may have.  Making one sends nothing."""

    def __init__(self, engine: AsyncEngine, options: Options) -> None:
        self._engine = engine
        self._options = options
        self._claim = options.claim(engine.identity, engine.timeout)
        self._entered: Entered[AsyncLease] = Entered(asyncio.current_task)

    @property
    def name(self) -> str:
        """What this lock is called."""
        return self._options.name

    @property
    def ttl(self) -> float:
        """How long a lease lasts without renewal, in seconds."""
        return self._options.ttl

    def acquire(
        self, timeout: float | timedelta | None = None
    ) -> Acquiring[AsyncLease]:
        """
        Wait for the lock, at most *timeout* seconds (None: as long as it takes), and take it.

        `LockTimeout` when others kept it for so long.  `Unreachable` when the server
        gave no answer until then, or for one whole ttl: then the request is taken
        back as soon as the server answers again.
        """
        limit = limit_seconds(timeout, "timeout")
        shown = "" if limit is None else f" timeout={limit:g}"
        return Acquiring(f"{self.name!r}{shown}", lambda: self._acquired(limit))

    async def try_acquire(self) -> AsyncLease | None:
        """Take the lock if it is free at this moment and nobody waits for it; else None."""
        return await self._acquire(None, queue=False)

    async def info(self) -> LockInfo | None:
        """Return who holds the lock, or None.  It may have changed since."""
        return await self._engine.run(
            _inspect.info(self.name, self._options.keys, self._engine.timeout)
        )

    async def break_(
        self, *, reason: str = "", holder: str | None = None
    ) -> LockInfo | None:
        """
        Take the lock from its holder; return who that was, or None.

        The holder learns it at its next renewal, and may act until then: its token
        is what keeps it out.  *reason* is logged here.  *holder*, as `info` told it:
        take it from nobody else.
        """
        return await self._engine.break_(self.name, reason, holder)

    async def revoke(self) -> LockInfo | None:
        """Ask the holder to let go: its lease is lost at its next renewal; return who it is."""
        return await self._engine.run(
            _inspect.revoke(self.name, self._options.namespace, self._engine.timeout)
        )

    def _asked(self) -> Claim:
        if self._claim.identity != self._engine.identity:  # forked since
            self._claim = self._options.claim(
                self._engine.identity, self._engine.timeout
            )
        return self._claim

    def _acquire(
        self, timeout: float | None, *, queue: bool
    ) -> Coroutine[Any, Any, AsyncLease | None]:
        return self._engine.acquire(
            self._asked(), self._lease, timeout=timeout, queue=queue
        )

    async def _acquired(self, limit: float | None) -> AsyncLease:
        lease = await self._acquire(limit, queue=limit != 0)
        if lease is None:
            raise LockTimeout(self.name, 0.0)
        return lease

    def _lease(
        self, claim: Claim, rid: str, token: int, asked_at: float, lasts: float
    ) -> AsyncLease:
        return AsyncLease(self._engine, claim, rid, token, asked_at, lasts)

    async def __aenter__(self) -> AsyncLease:
        lease = self._entered.push(await self._acquired(None))
        return await lease.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._entered.pop().__aexit__(kind, exc, trace)

    def __repr__(self) -> str:
        return f"<AsyncLock {self.name!r} {self._options.shown()}>"


class Acquiring(OfOneProcess, Generic[H]):
    """
    An acquisition under way: await it, or enter it.

    It is no coroutine: `asyncio.create_task` wants one, and gets it from a function
    that awaits this.
    """

    def __init__(self, what: str, start: Callable[[], Coroutine[Any, Any, H]]) -> None:
        self._what = what
        self._start = start
        self._held: H | None = None

    def __await__(self) -> Generator[Any, None, H]:
        return self._start().__await__()

    async def __aenter__(self) -> H:
        self._held = await self
        await self._held.__aenter__()
        return self._held

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held is not None:
            await self._held.__aexit__(kind, exc, trace)

    def __repr__(self) -> str:
        return f"<Acquiring {self._what}>"
