"""Tells a holder, at that instant, that its lease is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Event

from .._core.lease import Lease
from ..errors import Reason

#: A wait is looked up from this often: timers stand still while the machine is
#: suspended, and the clock of the leases does not.
LONGEST_NAP = 1.0


class Lost:
    """
    Set at the instant of the loss: when the deadline passes, by the holder's own
    clock, or when the server says so, whichever comes first.

    It is computed from the clock, not set by another thread: it holds even where
    nothing else runs any more.
    """

    __slots__ = ("_lease",)

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    @property
    def reason(self) -> Reason | None:
        """Why it is lost; None while it is not."""
        return self._lease.reason

    def is_set(self) -> bool:
        """Whether the lease is lost."""
        return self._lease.reason is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the loss, or for the release, at most *timeout* seconds; True if lost."""
        lease, ended = self._lease, Event()
        reasons: list[Reason | None] = []

        def tell() -> None:
            reasons.append(lease.reason)  # a membership may be back before we look
            ended.set()

        until = None if timeout is None else lease._clock() + timeout
        lease._watch(tell)
        try:
            while lease.held and not reasons:
                nap = min(lease.remaining(), LONGEST_NAP)
                if until is not None:
                    nap = min(nap, until - lease._clock())
                    if nap <= 0:
                        break
                ended.wait(nap)
        finally:
            lease._unwatch(tell)
        return any(reasons) or self.is_set()

    def __repr__(self) -> str:
        return f"<Lost {self.reason or 'not yet'}>"


class AsyncLost:
    """As `Lost`, for tasks."""

    __slots__ = ("_lease",)

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    @property
    def reason(self) -> Reason | None:
        """Why it is lost; None while it is not."""
        return self._lease.reason

    def is_set(self) -> bool:
        """Whether the lease is lost."""
        return self._lease.reason is not None

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait for the loss, or for the release, at most *timeout* seconds; True if lost."""
        lease, ended = self._lease, asyncio.Event()
        reasons: list[Reason | None] = []

        def tell() -> None:
            reasons.append(lease.reason)  # a membership may be back before we look
            ended.set()

        until = None if timeout is None else lease._clock() + timeout
        lease._watch(tell)
        try:
            while lease.held and not reasons:
                nap = min(lease.remaining(), LONGEST_NAP)
                if until is not None:
                    nap = min(nap, until - lease._clock())
                    if nap <= 0:
                        break
                with suppress(TimeoutError):
                    async with asyncio.timeout(nap):
                        await ended.wait()
        finally:
            lease._unwatch(tell)
        return any(reasons) or self.is_set()

    def __repr__(self) -> str:
        return f"<AsyncLost {self.reason or 'not yet'}>"


class Scope:
    """
    Cancels the task that entered it at the instant its lease is lost.

    So the body of an ``async with`` cannot outlive its lease, unless it blocks
    the loop or refuses to be cancelled.
    """

    __slots__ = ("_before", "_fired", "_lease", "_loop", "_task", "_timer")

    def __init__(self, lease: Lease) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a lease is entered by a task: there is none to cancel")
        self._lease = lease
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._before = task.cancelling()
        self._fired = False
        self._timer: asyncio.Handle | None = None
        lease._watch(self._look)
        self._look()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lease.held:
            nap = min(self._lease.remaining(), LONGEST_NAP)
            self._timer = self._loop.call_later(nap, self._look)
        elif self._lease.reason is not None and not self._fired:
            if asyncio.current_task() is self._task:
                # It finds out by itself, just now; cancelled while it runs, it would
                # be struck at its next await, perhaps after the body.
                self._timer = self._loop.call_soon(self._look)
                return
            self._fired = True
            self._task.cancel()

    def close(self, exc: BaseException | None) -> bool:
        """Watch no more; return True if *exc* is the cancellation that came from here."""
        self._lease._unwatch(self._look)
        if self._timer is not None:
            self._timer.cancel()
        if not self._fired:
            return False
        outside = self._task.uncancel() > self._before
        return isinstance(exc, asyncio.CancelledError) and not outside
