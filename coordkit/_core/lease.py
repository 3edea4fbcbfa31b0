"""
A lease: a right that ends by itself.

States and their transitions, all of them::

    HELD ──(no renewal for 2/3 of the ttl)──► AT_RISK ──(renewed)──► HELD
    HELD, AT_RISK ──(its deadline passed, or the server said so)──► LOST
    HELD, AT_RISK ──(released)──► RELEASED

Belief is computed: a lease is held while ``now < deadline`` on the holder's own
clock.  So it ends on time even when nothing is left that could tell.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from ..errors import LeaseLost, NotHeld, Reason
from .reply import text
from .span import milliseconds

Clock = Callable[[], float]

#: How much faster than the server's our clock may run, and the grain of both.
DRIFT_RATE = 0.01
DRIFT_GRAIN = 0.002


class State(Enum):
    """Where a lease stands."""

    HELD = "held"
    AT_RISK = "at risk"
    LOST = "lost"
    RELEASED = "released"


class Renewal(NamedTuple):
    """One lease's share of a renewal script that renews many."""

    script: str
    keys: tuple[str, ...]
    args: tuple[str | bytes | int, ...]


def believed_until(asked_at: float, ttl: float) -> float:
    """
    Return the instant up to which a lease of *ttl* may be relied on.

    Counted from before the question was sent: the server can only have started
    the lease later than that, so the holder never overstays.
    """
    return asked_at + ttl - (ttl * DRIFT_RATE + DRIFT_GRAIN)


class Lease(ABC):
    """What a holder knows of its lease.  The nouns add how to act on it."""

    __slots__ = (
        "__weakref__",
        "_belief",
        "_clock",
        "_due",
        "_ended",
        "_hold_ends",
        "_last",
        "_lasts",
        "_not_after",
        "_pace",
        "_watchers",
        "deadline",
        "holder",
        "name",
        "token",
        "ttl",
    )

    def __init__(
        self,
        name: str,
        holder: str,
        token: int,
        ttl: float,
        asked_at: float,
        *,
        clock: Clock,
        max_hold: float | None = None,
        max_term: float | None = None,
        lasts: float | None = None,
        belief: float = 1.0,
        pace: float = 1 / 3,
    ) -> None:
        """
        Begin with what the server gave: *lasts* seconds, or the *ttl*.

        *belief*: the part of it that may be relied on; *pace*: after which it is renewed.
        """
        self.name = name
        self.holder = holder
        self.token = token
        self.ttl = ttl
        self._clock = clock
        #: when max_hold ends, as the server is told it
        self._hold_ends = asked_at + (math.inf if max_hold is None else max_hold)
        #: up to when it may be believed at most: of max_term the server knows nothing
        self._not_after = math.inf
        for limit in (max_hold, max_term):
            if limit is not None:
                ends = believed_until(asked_at, limit)
                self._not_after = min(self._not_after, ends)
        self._belief, self._pace = belief, pace
        self._watchers: list[Callable[[], None]] | None = None
        #: when the keeper will renew it next, on our clock
        self._due = 0.0
        self.deadline = 0.0
        #: how long the server gave it last: less than the ttl until it is confirmed
        self._lasts = ttl if lasts is None else lasts
        self._extend(asked_at)
        # Last: what has it is whole, wherever its making may be interrupted.
        self._ended: State | Reason | None = None

    # -- what the holder may ask ------------------------------------------------

    @property
    def state(self) -> State:
        """Where the lease stands at this instant, by the holder's own clock."""
        if self._ended is not None:
            return State.RELEASED if self._ended is State.RELEASED else State.LOST
        now = self._clock()
        if now >= self.deadline:
            return State.LOST
        overdue = self._lasts * (self._belief - self._pace) / 2
        if now >= self.deadline - overdue and not self._is_last():
            return State.AT_RISK
        return State.HELD

    @property
    def held(self) -> bool:
        """Whether the holder may still act."""
        return self._ended is None and self._clock() < self.deadline

    @property
    def reason(self) -> Reason | None:
        """Why it is lost; None while it is not."""
        if self._ended is not None:
            return self._ended if isinstance(self._ended, Reason) else None
        return self._out_of_time() if self._clock() >= self.deadline else None

    def remaining(self) -> float:
        """Return for how many seconds it may still be relied on; 0.0 when it has ended."""
        if self._ended is not None:
            return 0.0
        return max(0.0, self.deadline - self._clock())

    def check(self) -> None:
        """Return if the holder may still act; else raise `LeaseLost` or `NotHeld`."""
        if self._ended is State.RELEASED:
            raise NotHeld(self.name, "it was released before")
        reason = self.reason
        if reason is Reason.FORKED:
            raise NotHeld(self.name, reason.why)
        if reason is not None:
            raise self._loss(reason)

    @abstractmethod
    def _renewal(self) -> Renewal:
        """Return this lease's share of a renewal script."""

    def _out_of_time(self) -> Reason:
        """Return why it is lost when its deadline has passed."""
        return Reason.EXPIRED

    def _heard(self, verdict: Any, asked_at: float, heard_at: float) -> Reason | None:
        """Take in the answer to a renewal; return why the lease is lost, if it is."""
        word = text(verdict)
        if word != "kept":
            return Reason(word)
        if heard_at >= self.deadline:
            # Kept by the server, but too late for us: nobody may act on it.
            return self._out_of_time()
        self._renewed(asked_at)
        return None

    def _returns(self, _reason: Reason) -> bool:
        """Whether the keeper goes on to ask for it, when it is lost for that reason."""
        return False

    def _comes_back(self) -> bool:
        """Whether it is lost, and its next renewal asks for it anew."""
        return isinstance(self._ended, Reason) and self._returns(self._ended)

    def _loss(self, reason: Reason) -> LeaseLost:
        return LeaseLost(self.name, self.token, reason)

    # -- what happens to it -----------------------------------------------------

    def _renewed(self, asked_at: float) -> None:
        """Take note that the server granted the ttl to a question of that instant."""
        self._lasts = min(self.ttl, max(0.0, self._hold_ends - asked_at))
        self._extend(asked_at)

    def _extend(self, asked_at: float) -> None:
        until = believed_until(asked_at, self._lasts * self._belief)
        self._last = until >= self._not_after
        if self._last:
            until = self._not_after
        self.deadline = max(self.deadline, until)

    def _is_last(self) -> bool:
        """Whether another renewal would gain nothing."""
        return self._last

    def _end(self, how: State | Reason) -> None:
        """End it.  The first end stands; telling twice does no harm."""
        self._ended = self._ended or how
        for tell in tuple(self._watchers or ()):
            tell()

    def _ttl_ms(self) -> int:
        """Return what to ask for at the next renewal: never beyond max_hold."""
        return max(1, milliseconds(min(self.ttl, self._hold_ends - self._clock())))

    def _watch(self, tell: Callable[[], None]) -> None:
        """Have *tell* called when the lease ends by other means than its deadline."""
        self._watchers = self._watchers or []
        self._watchers.append(tell)

    def _unwatch(self, tell: Callable[[], None]) -> None:
        if self._watchers and tell in self._watchers:
            self._watchers.remove(tell)

    def __repr__(self) -> str:
        state = self.state
        left = f", {self.remaining():.3f} s left" if self.held else ""
        why = f" ({self.reason})" if state is State.LOST else ""
        return (
            f"<{type(self).__name__} {self.name!r} token={self.token} "
            f"{state.value}{why}{left}>"
        )
