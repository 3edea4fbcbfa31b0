"""
A held lock: `Lease` for threads, `AsyncLease` for tasks.

Guaranteed: until `deadline`, on this holder's own clock, no other holder was
given the lock by the server that granted it; `token` is greater than that of
every holder before.

Not guaranteed: that this process runs when the deadline passes.  A holder that
was paused may act too late without knowing it yet; only what it writes to can
refuse that, by its token (see `Fence`).  Nor does a lease survive the loss of
the server's data: then it ends early, and `lost` says ``data_lost``.

Clock: ``CLOCK_BOOTTIME`` where there is one, from before the question was sent,
less 1 % of the ttl and 2 ms.
"""

from __future__ import annotations

import logging
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ._core import lock as _core
from ._core.lease import State
from ._core.lock import Claim
from ._io import clock
from ._io.fork import OfOneProcess
from ._io.loss import AsyncLost, Lost, Scope
from .errors import CoordError, NotHeld, Reason

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine

log = logging.getLogger("coordkit")


class _Held(OfOneProcess, _core.LockLease):
    """What both flavours share: how they are entered again, and how they end."""

    __slots__ = ("_depth",)

    def __init__(
        self, claim: Claim, rid: str, token: int, asked_at: float, lasts: float
    ) -> None:
        super().__init__(claim, rid, token, asked_at, lasts, clock=clock.now)
        #: how often it was entered again
        self._depth = 0

    def _let_go(self) -> bool:
        """Note one release; return True if it is the last one and must be sent."""
        if self._ended is State.RELEASED:
            raise NotHeld(self.name, "it was released before")
        if self._ended is Reason.FORKED:
            warnings.warn(
                f"{self!r} belongs to the parent process: not released by its fork",
                RuntimeWarning,
                stacklevel=4,
            )
            return False
        if self._depth:
            self._depth -= 1
            return False
        return True

    def _unfinished(self) -> bool:
        """Whether leaving a ``with`` has something left to release."""
        return self._ended is not State.RELEASED

    def __del__(self) -> None:
        # Nothing is released from here: an object that is collected in the wrong
        # process or thread would free a lock in use.  The keeper knows leases only
        # weakly, so this one ends by itself.
        if hasattr(self, "_ended") and self.held:
            warnings.warn(
                f"{self!r} was dropped without release: it ends by its ttl",
                ResourceWarning,
                stacklevel=2,
            )
            # As text: a record of the log must not keep it alive.
            log.warning("a lease was dropped without release: %s", repr(self))


class Lease(_Held):
    """A held lock.  Use it as a context manager, or call `release`."""

    __slots__ = ("_engine",)
    _engine: Engine

    def __init__(
        self,
        engine: Engine,
        claim: Claim,
        rid: str,
        token: int,
        asked_at: float,
        lasts: float,
    ) -> None:
        super().__init__(claim, rid, token, asked_at, lasts)
        self._engine = engine

    @property
    def lost(self) -> Lost:
        """Set at the instant of the loss: `is_set()`, `wait(timeout)`, `reason`."""
        return Lost(self)

    def reenter(self) -> Lease:
        """Return the same lease, to be released once more; counted here, not in Redis."""
        self.check()
        self._depth += 1
        return self

    def renew(self) -> None:
        """Push the deadline away now; `LeaseLost` if it was lost, `Unreachable` if unknown."""
        self._engine.run(_core.renew(self))

    def release(self) -> None:
        """
        Give the lock back and let the next waiter have it.

        `NotHeld` when it was released before, `LeaseLost` when it had been lost,
        `Unreachable` when no answer came: the keeper goes on trying, and the lock
        is free by the ttl at the latest.
        """
        if self._let_go():
            self._engine.release(self)

    def _leave(self) -> None:
        """Let it go on without us: renewed by whoever knows its holder id, or by nobody."""
        self._engine.keeper.drop(self)
        self._end(State.RELEASED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._unfinished():
            return
        try:
            self.release()
        except CoordError as problem:
            if exc is None:
                raise
            exc.add_note(f"on leaving the lease: {problem}")


class AsyncLease(_Held):
    """A held lock.  Use it as a context manager, or call `release`."""

    __slots__ = ("_engine", "_scopes")
    _engine: AsyncEngine
    _scopes: list[Scope] | None

    def __init__(
        self,
        engine: AsyncEngine,
        claim: Claim,
        rid: str,
        token: int,
        asked_at: float,
        lasts: float,
    ) -> None:
        super().__init__(claim, rid, token, asked_at, lasts)
        self._engine = engine
        self._scopes = None

    @property
    def lost(self) -> AsyncLost:
        """Set at the instant of the loss: `is_set()`, `wait(timeout)`, `reason`."""
        return AsyncLost(self)

    def reenter(self) -> AsyncLease:
        """Return the same lease, to be released once more; counted here, not in Redis."""
        self.check()
        self._depth += 1
        return self

    async def renew(self) -> None:
        """Push the deadline away now; `LeaseLost` if it was lost, `Unreachable` if unknown."""
        await self._engine.run(_core.renew(self))

    async def release(self) -> None:
        """
        Give the lock back and let the next waiter have it.

        `NotHeld` when it was released before, `LeaseLost` when it had been lost,
        `Unreachable` when no answer came: the keeper goes on trying, and the lock
        is free by the ttl at the latest.
        """
        if self._let_go():
            await self._engine.release(self)

    async def __aenter__(self) -> Self:
        self._scopes = self._scopes or []
        self._scopes.append(Scope(self))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ours = self._scopes.pop().close(exc) if self._scopes else False
        reason = self.reason
        problem: CoordError | None = None
        if self._unfinished():
            try:
                await self.release()
            except CoordError as unreleased:
                problem = unreleased
        if ours and reason is not None:
            raise self._loss(reason) from exc
        if problem is not None and exc is None:
            raise problem
        if problem is not None and exc is not None:
            exc.add_note(f"on leaving the lease: {problem}")
