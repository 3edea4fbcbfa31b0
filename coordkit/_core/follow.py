"""
The follower: one per session, it keeps copies of what others change fresh.

A message on the channel of a copy makes it ask at once; else it asks every few
seconds.  A copy that has had no answer for longer than it may be gone by is told to
give none.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

from ..errors import CoordError, Unreachable
from .asking import FIRST_PAUSE, LONGEST_PAUSE, ask
from .ops import Call, Listen, Op, Pipeline, Rest, Wait
from .span import LONGEST_CALL

#: Where no message comes through, a change is seen so late; and a machine that was
#: suspended, where timers stand still, notices it so late.
LONGEST_NAP = 5.0
#: A copy is asked about so often, at least, in the span that it may be gone by.
ASKED = 3


class Copy(Protocol):
    """What this process knows of something that others change."""

    channel: str
    #: how long, in seconds, an answer may be gone by
    max_staleness: float
    #: until when the last one may
    deadline: float
    #: it is asked about so often, at least, in seconds
    every: float

    def ask(self) -> Call:
        """Return the question: has it changed?"""
        ...

    def take(self, value: Any, asked_at: float, heard_at: float) -> None:
        """Take in the answer to a question of *asked_at*; an error may stand in its place."""
        ...

    def expire(self, now: float, why: str) -> None:
        """Answer no more, if what is known is too old at *now*."""
        ...


class Tended(Copy, Protocol):
    """A copy that has something to do whenever it was refreshed."""

    @property
    def over(self) -> bool:
        """Whether it has nothing to do any more, and is followed no longer."""
        ...

    def tend(self) -> Op[None]:
        """Do it."""
        ...


def refresh(copy: Copy) -> Op[None]:
    """Ask about *copy* now; `Unreachable` if there is no answer."""
    reply = yield from ask(copy.ask())
    copy.take(reply.value, reply.asked_at, reply.heard_at)


class Follower:
    """
    Which copies there are, and when to ask about them.

    *guard* makes the list safe to share: threads pass a lock, a loop needs none.
    """

    def __init__(self, *, guard: AbstractContextManager[Any]) -> None:
        self._guard = guard
        self._copies: list[Copy] = []
        self._tended: list[Tended] = []
        self._listening: set[str] = set()

    def add(self, copy: Copy) -> bool:
        """Follow *copy*; return True if it is new, and the follower must be stirred."""
        with self._guard:
            new = copy not in self._copies
            if new:
                self._copies.append(copy)
            return new

    def attend(self, tended: Tended) -> None:
        """Follow *tended*, too, and have it tend; the follower must be stirred."""
        with self._guard:
            self._tended.append(tended)

    def copies(self) -> list[Copy]:
        """Return all that is followed."""
        with self._guard:
            self._tended = [each for each in self._tended if not each.over]
            return [*self._copies, *self._tended]

    def abandon(self) -> None:
        """No copy is kept fresh any more."""
        for copy in self.copies():
            copy.expire(math.inf, "its session is closed, or its follower has failed")

    # -- its loop -----------------------------------------------------------------

    def follow(self, rid: str) -> Op[None]:
        """Keep every copy fresh until told to stop."""
        clock = yield Rest(0.0)  # only tells the time
        pause, why = 0.0, "no answer yet"
        while True:
            new = yield from self._listen(rid)
            if not new:  # else it may have changed between its first answer and here
                yield Wait(rid, self._nap(clock.heard_at, pause))
            clock = yield Rest(0.0)
            if clock.value:
                return
            for copy in self.copies():
                silent = f"no answer for {copy.max_staleness:g} s ({why})"
                copy.expire(clock.heard_at, silent)
            why = (yield from self._refresh()) or (yield from self._tend())
            pause = min(2 * pause or FIRST_PAUSE, LONGEST_PAUSE) if why else 0.0

    def _listen(self, rid: str) -> Op[bool]:
        """
        Have the messages about every copy kept; return whether one is new.

        Without messages it only asks less often.
        """
        new = False
        for copy in self.copies():
            if copy.channel not in self._listening:
                self._listening.add(copy.channel)
                new = True
                with suppress(CoordError):
                    yield Listen(rid, LONGEST_CALL, copy.channel)
        return new

    def _nap(self, now: float, pause: float) -> float:
        """Return how long to wait for a message, in seconds."""
        nap = pause or LONGEST_NAP
        for copy in self.copies():
            nap = min(nap, copy.every, copy.max_staleness / ASKED)
            if copy.deadline > now:
                nap = min(nap, copy.deadline - now)
        return nap

    def _refresh(self) -> Op[str]:
        """Ask about every copy; return why there was no answer, or nothing."""
        copies = self.copies()
        try:
            calls = tuple(copy.ask() for copy in copies)
            timeout = min(call.timeout for call in calls)
            reply = yield from ask(Pipeline(calls, timeout))
        except CoordError as exc:
            return str(exc)
        silence = ""
        for copy, value in zip(copies, reply.value, strict=True):
            if isinstance(value, Unreachable):
                silence = str(value)
            else:
                copy.take(value, reply.asked_at, reply.heard_at)
        return silence

    def _tend(self) -> Op[str]:
        """Have all tend that have to; return why there was no answer, or nothing."""
        with self._guard:
            tended = list(self._tended)
        why = ""
        for each in tended:
            try:
                yield from each.tend()
            except CoordError as exc:
                why = str(exc)
        return why
