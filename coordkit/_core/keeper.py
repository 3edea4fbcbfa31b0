"""
The keeper: one per session, it renews every lease of it.

It renews at a third of the ttl, up to a hundred leases a script call.  A
renewal that got no answer leaves its leases *unknown*: they are asked about
again until each one's deadline.  It never re-creates a lease, and it knows
leases only weakly: one that its holder has dropped is renewed no more and ends
by itself.

Not guaranteed: that a lease outlives a server that is silent for two thirds of
its ttl.  Belief does not depend on the keeper; see `_core.lease`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from heapq import heapify, heappop, heappush
from itertools import groupby
from typing import Any, NamedTuple
from weakref import ref

from ..errors import CoordError, Reason, Unreachable
from .lease import Lease, Renewal
from .ops import Call, Op, Pipeline, Rest
from .span import LONGEST_CALL, call_timeout

#: Leases a script call: 0.3 ms of server time, short enough to disturb nobody.
BATCH = 100
#: Calls a trip: what fits into one write and is answered well within a timeout.
TRIP = 10
#: A renewal comes up to this much early to share its trip with others.
EARLY = 0.5
#: So many entries of released leases may lie in the heap before they are swept out.
SWEEP = 64
#: Pause before a question that got no answer is asked again.
RETRY = (0.05, 0.2)


class Deferred(NamedTuple):
    """A call that could not be made, to be made until that instant."""

    call: Call
    until: float


class Keeper:
    """
    Which lease is due, and what its renewal meant.

    *guard* makes the table safe to share: threads pass a lock, a loop needs none.
    *scatter* is True where a script may touch one bucket only (Cluster).
    *draw* returns numbers in [0, 1) for the jitter.
    """

    def __init__(
        self,
        *,
        guard: AbstractContextManager[Any],
        draw: Callable[[], float],
        ceiling: float = LONGEST_CALL,
        scatter: bool = False,
    ) -> None:
        self._guard = guard
        self._draw = draw
        self._ceiling = ceiling
        self._scatter = scatter
        self._leases: dict[str, ref[Lease]] = {}
        self._heap: list[tuple[float, str]] = []
        self._deferred: list[Deferred] = []
        #: when it will look next; whoever adds something earlier must stir it
        self.wakes_at = math.inf

    # -- what the session tells it -------------------------------------------------

    def add(self, lease: Lease, asked_at: float) -> bool:
        """Keep *lease* from now on; return True if the keeper must be stirred for it."""
        lease._due = self._due_after(asked_at, lease)
        with self._guard:
            self._leases[lease.holder] = ref(lease)
            self._push(lease)
            return lease._due < self.wakes_at

    def drop(self, lease: Lease) -> None:
        """Renew *lease* no more."""
        with self._guard:
            self._leases.pop(lease.holder, None)

    def defer(self, call: Call, until: float) -> None:
        """Make *call* as soon as the server answers again, until then at most; stir it."""
        with self._guard:
            self._deferred.append(Deferred(call, until))

    def leases(self) -> list[Lease]:
        """Return every lease that is kept."""
        with self._guard:
            known = list(self._leases.values())
        return [lease for lease in (weak() for weak in known) if lease is not None]

    def orphans(self) -> list[Lease]:
        """Return the leases in the child of a fork, where the guard may be held for ever."""
        return [
            lease for weak in [*self._leases.values()] if (lease := weak()) is not None
        ]

    def abandon(self) -> None:
        """Every lease is lost: nobody renews them any more.  Whoever keeps next, looks anew."""
        self.wakes_at = math.inf
        for lease in self.leases():
            self._lose(lease, Reason.UNKEPT, 0.0)

    # -- its loop -----------------------------------------------------------------

    def keep(self) -> Op[None]:
        """Renew what is due until told to stop."""
        pause = 0.0
        while True:
            with self._guard:
                self.wakes_at = self._next_at(pause)
            reply = yield Rest(self.wakes_at)
            if reply.value and not self._deferred:
                return
            # An operation of its own: while this one rests, it refers to no lease.
            pause = yield from self._renew(reply.heard_at)
            if reply.value:
                return  # and what was deferred has had its last chance

    def _renew(self, now: float) -> Op[float]:
        """Make one trip with what is due; return when to try again what was deferred."""
        batches = list(self._due(now))
        deferred = self._pending(now)
        if not batches and not deferred:
            return 0.0
        trip = tuple(self._call(batch) for batch in batches)
        trip += tuple(d.call for d in deferred)
        try:
            reply = yield Pipeline(trip, min(call.timeout for call in trip))
        except CoordError:
            reply = yield Rest(0.0)  # only tells the time
            for batch in batches:
                self._ask_again(batch, reply.heard_at)
            return reply.heard_at + self._backoff()
        for batch, verdicts in zip(batches, reply.value, strict=False):
            if isinstance(verdicts, CoordError):
                self._ask_again(batch, reply.heard_at)
            else:
                self._settle(batch, verdicts, reply.asked_at, reply.heard_at)
        self._forget(deferred, reply.value[len(batches) :])
        return reply.heard_at + self._backoff()

    def _next_at(self, pause: float) -> float:
        """Return when to look next: at what is released since too, or each acquire would stir."""
        first = self._heap[0][0] if self._heap else math.inf
        return min(first, pause) if self._deferred else first

    def _pending(self, now: float) -> list[Deferred]:
        """Forget the deferred calls that are too old; return the others."""
        with self._guard:
            self._deferred = [d for d in self._deferred if d.until > now]
            return self._deferred[:BATCH]

    def _forget(self, made: list[Deferred], answers: list[Any]) -> None:
        """Forget the deferred calls that were answered: not those that could not be."""
        done = [
            deferred
            for deferred, answer in zip(made, answers, strict=True)
            if not isinstance(answer, Unreachable)
        ]
        with self._guard:
            self._deferred = [d for d in self._deferred if d not in done]

    def _due(self, now: float) -> Iterator[list[Lease]]:
        """Take what is due off the heap, in batches that one script call may carry."""
        due: list[Lease] = []
        with self._guard:
            early = 0.0
            while self._heap and self._heap[0][0] <= now + early:
                entry = heappop(self._heap)
                lease = self._live(entry)
                if lease is None:
                    continue
                early = early or min(EARLY, lease.ttl / 30)
                due.append(lease)
                if len(due) == BATCH * TRIP:
                    break
        asking: list[Lease] = []
        for lease in due:
            if lease._comes_back():
                asking.append(lease)
            elif now >= lease.deadline:
                self._lose(lease, lease._out_of_time(), now)
            elif lease._is_last():
                self._again_at(lease, lease.deadline)
            else:
                asking.append(lease)
        asking.sort(key=self._group)
        for _, group in groupby(asking, key=self._group):
            together = list(group)
            for start in range(0, len(together), BATCH):
                yield together[start : start + BATCH]

    def _group(self, lease: Lease) -> str:
        """Return what leases must have in common to be renewed by one call."""
        renewal = lease._renewal()
        # All keys of a name have its bucket as their hash tag.
        slot = renewal.keys[0].partition("}")[0] if self._scatter else ""
        return f"{renewal.script} {slot}"

    def _call(self, batch: list[Lease]) -> Call:
        renewals: list[Renewal] = [lease._renewal() for lease in batch]
        return Call(
            renewals[0].script,
            tuple(key for r in renewals for key in r.keys),
            tuple(arg for r in renewals for arg in r.args),
            min(call_timeout(lease._lasts, self._ceiling) for lease in batch),
        )

    def _settle(
        self, batch: list[Lease], verdicts: Any, asked_at: float, heard_at: float
    ) -> None:
        """Take in the answers, lease by lease."""
        for lease, verdict in zip(batch, verdicts, strict=True):
            reason = lease._heard(verdict, asked_at, heard_at)
            if reason is not None:
                self._lose(lease, reason, heard_at)
            else:
                self._again_at(lease, self._due_after(asked_at, lease))

    def _due_after(self, asked_at: float, lease: Lease) -> float:
        """Return when to renew: at a third of what was granted, a little spread."""
        return asked_at + lease._lasts * lease._pace * (0.9 + 0.2 * self._draw())

    def _ask_again(self, batch: list[Lease], now: float) -> None:
        """Nobody knows what became of them: ask again soon, up to each one's deadline."""
        for lease in batch:
            self._again_at(lease, self._again_after(lease, now))

    def _again_after(self, lease: Lease, now: float) -> float:
        """Return when to ask for it again: in a while, but no later than it ends."""
        if lease._comes_back():
            return now + max(self._backoff(), lease._lasts / 10)
        return min(now + min(self._backoff(), lease._lasts / 10), lease.deadline)

    def _backoff(self) -> float:
        low, high = RETRY
        return low + (high - low) * self._draw()

    def _again_at(self, lease: Lease, due: float) -> None:
        with self._guard:
            lease._due = due
            if lease.holder in self._leases:
                self._push(lease)

    def _push(self, lease: Lease) -> None:
        # Released leases stay in the heap until they would be due; swept when they prevail.
        if len(self._heap) > SWEEP + 4 * len(self._leases):
            self._heap = [entry for entry in self._heap if self._live(entry)]
            heapify(self._heap)
        heappush(self._heap, (lease._due, lease.holder))

    def _live(self, entry: tuple[float, str]) -> Lease | None:
        """Return the lease that an entry of the heap speaks of, if it still does."""
        weak = self._leases.get(entry[1])
        lease = weak() if weak is not None else None
        if lease is None:
            self._leases.pop(entry[1], None)
            return None
        return lease if lease._due == entry[0] else None

    def _lose(self, lease: Lease, reason: Reason, now: float) -> None:
        if not lease._returns(reason):
            self.drop(lease)
            lease._end(reason)
            return
        in_vain = lease._comes_back()
        lease._end(reason)
        if not lease._comes_back():  # it had ended for good, and had not been dropped
            self.drop(lease)
            return
        self._again_at(lease, self._again_after(lease, now) if in_vain else now)
