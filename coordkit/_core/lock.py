"""
The lock, as operations.  Every decision about a lock is taken here.

The protocol, for one name: a request (rid) asks `lock_acquire`; the server
answers taken, busy or gone.  Who waits has entered the queue and asks again when
it is woken, when the holder's lease would end, and at least twice in its own
liveness deadline.  A free lock belongs to the live head of its queue.  Whatever
ends a request that may have reached the server writes a tombstone, so that a
straggler of it takes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ..errors import (
    CoordError,
    KeyConflict,
    LeadershipLost,
    LeaseLost,
    LockTimeout,
    Reason,
    Refused,
    Unreachable,
)
from .asking import FIRST_PAUSE, LONGEST_PAUSE, SHORTEST_CALL, ask, insist
from .claim import Claim
from .lease import Clock, Lease, Renewal, State, believed_until
from .ops import Call, Defer, Listen, Op, Reply, Rest, Wait
from .reply import number, text
from .span import milliseconds

L = TypeVar("L", bound="LockLease")

#: A released request's straggler: a retry of it that was still on its way.
RELEASED_MS = 10_000
#: A request given up may still sit in a stalled server's socket.
GIVEN_UP_MS = 60_000


class LockLease(Lease):
    """A lease on a lock: knows how to be renewed."""

    __slots__ = ("_claim",)

    def __init__(
        self,
        claim: Claim,
        rid: str,
        token: int,
        asked_at: float,
        lasts: float,
        *,
        clock: Clock,
    ) -> None:
        self._claim = claim
        super().__init__(
            claim.name,
            rid,
            token,
            claim.ttl,
            asked_at,
            clock=clock,
            max_hold=claim.max_hold,
            max_term=claim.max_term,
            lasts=lasts,
            belief=claim.belief,
            pace=claim.pace,
        )

    def _out_of_time(self) -> Reason:
        over = self._claim.max_term is not None and self._clock() >= self._not_after
        return Reason.OVER if over else Reason.EXPIRED

    def _loss(self, reason: Reason) -> LeaseLost:
        lost = LeadershipLost if self._claim.history else LeaseLost
        return lost(self.name, self.token, reason)

    def _renewal(self) -> Renewal:
        claim, keys = self._claim, self._claim.keys
        tomb = keys.tomb + self.holder
        if claim.limit is None:
            return Renewal(
                "lock_renew",
                (keys.lock, keys.index, tomb, keys.fence),
                (
                    self.holder,
                    self.token,
                    self._ttl_ms(),
                    milliseconds(claim.lock_delay),
                    claim.member,
                ),
            )
        return Renewal(
            "share_renew",
            (keys.holders, keys.records, keys.index, tomb, keys.fence),
            (self.holder, self.token, self._ttl_ms(), claim.member),
        )


def acquire_call(claim: Claim, rid: str, *, queue: bool) -> Call:
    """Return the question: may this request have the lock?"""
    waiter_ttl = milliseconds(claim.waiter_ttl) if queue else 0
    return Call(
        f"{claim.kind}_acquire",
        (*claim.acquire_keys, claim.keys.tomb + rid, *claim.history),
        (rid, waiter_ttl, *claim.acquire_args),
        claim.call_timeout,
    )


def release_call(claim: Claim, rid: str, tomb_ms: int, why: str = "") -> Call:
    """Return the call that ends this request, whatever became of it."""
    told = (why,) if claim.history else ()
    return Call(
        f"{claim.kind}_release",
        (*claim.release_keys, claim.keys.tomb + rid, *claim.history),
        (rid, tomb_ms, *claim.release_args, *told),
        claim.call_timeout,
    )


def give_up(claim: Claim, rid: str, now: float) -> tuple[Call, float]:
    """
    Return the call that takes a request back, and until when it is worth making.

    A straggler that is granted after all ends by its ttl.
    """
    until = now + claim.ttl + GIVEN_UP_MS / 1000
    return release_call(claim, rid, GIVEN_UP_MS), until


def acquire(
    claim: Claim,
    rid: str,
    make: Callable[[int, float, float], L],
    *,
    now: float,
    timeout: float | None,
    queue: bool,
    listening: bool,
) -> Op[L | None]:
    """
    Take the lock, waiting at most *timeout* seconds (None: as long as it takes).

    *make* turns a token, an instant and how long the server gave it from then on
    into the lease.  Without *queue* it is asked
    once, and None says that it is taken.  *listening* tells that a wake would
    reach us already, so that the first question may enter the queue.

    Whatever interrupts it, a request that may have reached the server is ended
    there before the interruption goes on.
    """
    give_up = math.inf if timeout is None else now + timeout
    attempt = _Attempt(claim, rid, now, give_up, insist=queue)
    waiting = False
    try:
        if queue and listening:
            waiting = yield from _listen(claim, rid)
        while True:
            reply = yield from attempt.ask(queue=waiting)
            if reply.value[0] == b"taken":
                if reply.heard_at >= _believed(claim, reply, claim.first_ttl):
                    raise _too_late(claim, reply)
                return make(int(reply.value[1]), reply.asked_at, claim.first_ttl)
            # Answered: it left at most its place in the queue.
            attempt.loose = attempt.before or waiting
            hint = _busy(claim, reply)
            if not queue:
                yield from _undo(None, attempt)
                return None
            if reply.heard_at >= give_up:
                raise LockTimeout(claim.name, timeout or 0.0)
            if not waiting:
                waiting = yield from _listen(claim, rid)
                continue
            # Whoever becomes the first asks before the lease that began then can end.
            nap = min(hint, claim.waiter_ttl / 2, claim.ttl)
            wake = yield Wait(rid, max(min(nap, give_up - reply.heard_at), 0.001))
            token = _handed(claim, reply, wake)
            if token is not None:
                return make(token, reply.asked_at, claim.handed_ttl)
    except BaseException as cause:
        yield from _undo(cause, attempt)
        raise


class _Attempt:
    """One request's questions: which may have reached the server, and how long to insist."""

    def __init__(
        self, claim: Claim, rid: str, now: float, give_up: float, *, insist: bool
    ) -> None:
        self.claim = claim
        self.rid = rid
        self.last = now
        self.give_up = give_up
        #: ride out an outage; else only a lost answer is asked for again
        self.insist = insist
        self.patience = claim.patience if insist else 2 * claim.call_timeout
        #: whether the server may know the request: then it must be ended there
        self.loose = False
        #: the same, of what was asked before the present question
        self.before = False

    def _in_time(self, call: Call) -> Call:
        """Return the call with no more time than the caller has left, or a short while."""
        left = max(self.give_up - self.last, SHORTEST_CALL)
        return (
            call._replace(timeout=left) if self.insist and left < call.timeout else call
        )

    def ask(self, *, queue: bool) -> Op[Reply]:
        """Ask until there is an answer, the caller's limit, or an outage of a ttl."""
        call = acquire_call(self.claim, self.rid, queue=queue)
        pause, silent_since = FIRST_PAUSE, self.last
        self.before = self.loose
        while True:
            self.loose = True
            try:
                reply = yield self._in_time(call)
            except Unreachable as exc:
                self.before = self.loose = self.before or exc.sent
                self.last = exc.heard_at
                until = min(self.give_up, silent_since + self.patience)
                if self.last >= until or not (self.insist or exc.sent):
                    raise
                yield Rest(min(self.last + pause, until))
                pause = min(2 * pause, LONGEST_PAUSE)
            except Refused:
                self.loose = self.before  # the server did nothing
                raise
            else:
                self.last = reply.heard_at
                return reply


def _listen(claim: Claim, rid: str) -> Op[bool]:
    """Have wakes kept for this request.  Without them it still asks, only less often."""
    with suppress(Unreachable):
        yield Listen(rid, claim.call_timeout)
    return True


def _busy(claim: Claim, reply: Reply) -> float:
    """Return when it is worth asking again, in seconds; raise if it never will be."""
    word = text(reply.value[0])
    if word == "busy":
        return number(reply.value[1]) / 1000
    if word == "limit":
        agreed = number(reply.value[1])
        raise KeyConflict(
            f"{claim.name!r} is shared with {_limit(agreed)} at present, "
            f"not with {_limit(claim.limit or 0)}"
        )
    # Gone, and not by us: an operator broke it before we heard that we had it.
    raise LeaseLost(claim.name, 0, Reason.BROKEN)


def _handed(claim: Claim, asked: Reply, wake: Reply) -> int | None:
    """
    Return the token if the lock was handed to us with this wake.

    Who releases a lock gives it to the head of the queue until the head's liveness
    would have ended, as set by its last question.  So the lease counts from before
    that question; a wake that speaks of another one is stale, and we ask.
    """
    token, _, ends = (wake.value or "").partition(" ")
    if not token or ends != text(asked.value[3]):
        return None
    if wake.heard_at >= _believed(claim, asked, claim.handed_ttl):
        return None
    return int(token)


def _believed(claim: Claim, asked: Reply, ttl: float) -> float:
    """Return up to when a lease of *ttl* may be relied on that was asked for by *asked*."""
    return believed_until(asked.asked_at, ttl * claim.belief)


def _limit(limit: int) -> str:
    return f"slots={limit}" if limit else "shared=True"


def _too_late(claim: Claim, reply: Reply) -> Unreachable:
    """Return the error of an answer that took as long as the lease: it is no lease."""
    took = reply.heard_at - reply.asked_at
    return Unreachable(
        f"the server took {took:.3f} s to answer, longer than the lease of "
        f"{claim.first_ttl:g} s on {claim.name!r} may be relied on; it was given back"
    )


def _undo(cause: BaseException | None, attempt: _Attempt) -> Op[None]:
    """End a request that may have reached the server; never hide *cause*."""
    if not attempt.loose or isinstance(cause, GeneratorExit):
        return  # nothing to undo, or the driver is gone: there is nobody to ask
    attempt.loose = False
    call, until = give_up(attempt.claim, attempt.rid, attempt.last)
    if isinstance(cause, Unreachable):  # silent just now: the caller waits no longer
        call = call._replace(timeout=min(call.timeout, SHORTEST_CALL))
    try:
        yield call
    except CoordError as exc:
        yield Defer(call, until)
        if cause is not None:
            cause.add_note(f"giving {attempt.claim.name!r} up was not confirmed: {exc}")
    except GeneratorExit:
        raise
    except BaseException:
        yield Defer(call, until)
        raise


def release(lease: LockLease, why: str = "") -> Op[None]:
    """
    Give the lock back.  `LeaseLost` when it was no longer ours.

    A lost answer is resolved by asking again; `Unreachable` when it stays open.  *why*:
    what an election's history says of it.
    """
    claim, was = lease._claim, lease.reason
    call = release_call(claim, lease.holder, RELEASED_MS, why or was or "")
    try:
        lease._end(State.RELEASED)
        reply = yield from insist(call)
    except GeneratorExit:
        raise
    except BaseException:
        yield Defer(call, max(lease.deadline, lease._clock()) + claim.call_timeout)
        raise
    word = text(reply.value[0])
    if word == "released" and was is None:
        return
    if was is None:
        was = Reason.BROKEN if word == "broken" else (yield from _why(lease))
    raise lease._loss(was)


def _renewal_call(lease: LockLease) -> Call:
    renewal = lease._renewal()
    return Call(renewal.script, renewal.keys, renewal.args, lease._claim.call_timeout)


def _why(lease: LockLease) -> Op[Reason]:
    """Ask why a lease that the server no longer knows was lost."""
    try:
        reply = yield from ask(_renewal_call(lease))
    except CoordError:
        return Reason.EVICTED  # what is certain: the server has no such lease
    word = text(reply.value[0])
    return Reason.EVICTED if word == "kept" else Reason(word)


def renew(lease: LockLease) -> Op[None]:
    """Push the lease's end away now, instead of when the keeper would."""
    lease.check()
    reply = yield from insist(_renewal_call(lease))
    word = text(reply.value[0])
    if word == "kept" and reply.heard_at < lease.deadline:
        lease._renewed(reply.asked_at)
        return
    reason = lease._out_of_time() if word == "kept" else Reason(word)
    lease._end(reason)
    raise lease._loss(reason)
