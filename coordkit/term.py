"""
A leadership, held: `Term` for threads, `AsyncTerm` for tasks.

Guaranteed: until `deadline`, on this leader's own clock, nobody else was elected by the
server; `token`, the term, is greater than that of every leader before.  The deadline
comes ``ttl - renew_deadline`` before anybody else may be elected.

Not guaranteed: that this process runs when the deadline passes.  A leader that was
paused may act too late without knowing it yet; only what it writes to can refuse that,
by its term (see `Fence`).

Clock: as of every lease (see `coordkit.lease`).
"""

from __future__ import annotations

from ._core.election import reason_text
from .lease import AsyncLease, Lease


class Term(Lease):
    """
    A leadership, held: a `Lease` whose *token* is the term.

    `LeadershipLost` says that it has ended.  Leaving it resigns.
    """

    __slots__ = ()

    def resign(self, *, reason: str = "") -> None:
        """
        Give the leadership to the next candidate; *reason* goes into the history.

        `NotHeld` when it was resigned before, `LeadershipLost` when it had been lost,
        `Unreachable` when no answer came: the keeper goes on trying, and the term ends
        by the ttl at the latest.
        """
        why = reason_text(reason)
        if self._let_go():
            self._engine.release(self, why)


class AsyncTerm(AsyncLease):
    """
    A leadership, held: a `Lease` whose *token* is the term.

    `LeadershipLost` says that it has ended.  Leaving it resigns.
    """

    __slots__ = ()

    async def resign(self, *, reason: str = "") -> None:
        """
        Give the leadership to the next candidate; *reason* goes into the history.

        `NotHeld` when it was resigned before, `LeadershipLost` when it had been lost,
        `Unreachable` when no answer came: the keeper goes on trying, and the term ends
        by the ttl at the latest.
        """
        why = reason_text(reason)
        if self._let_go():
            await self._engine.release(self, why)
