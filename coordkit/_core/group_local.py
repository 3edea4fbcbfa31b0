"""
What this process knows of a group: who is there, kept fresh by the follower.

What is known is one immutable value, swapped in one assignment.  It is asked for anew
after every message, and so often that a member which falls silent is seen to be suspect
before it is dead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from copy import copy
from typing import Any, NamedTuple

from ..errors import CoordError, StaleGroup
from .group import Circle
from .members import Changed, GroupEvent, Looked, MemberInfo, Members, Watching, looked
from .ops import Call

#: A member that falls silent is suspect in the last quarter of its ttl: it is looked ten
#: times a ttl.  But all members are a lot to read where there are many.
LOOKS = 10
SECONDS_EACH = 0.005
MOST_OFTEN, LEAST_OFTEN = 0.1, 5.0


class Known(NamedTuple):
    """The members of a group by holder, in the order in which they joined."""

    members: Mapping[str, MemberInfo]
    #: counts what changes more than what members say of their load
    shape: int


class LocalGroup:
    """
    The newest members of one group, which a follower keeps fresh.

    *guard* makes it safe to share, and what is made of it: threads pass a lock, a loop
    needs none.
    """

    def __init__(
        self, circle: Circle, max_staleness: float, guard: AbstractContextManager[Any]
    ) -> None:
        self.name = circle.name
        self.channel = circle.channel
        self.max_staleness = max_staleness
        self._circle = circle
        self._shape = 0
        self.forget(guard)

    def forget(self, guard: AbstractContextManager[Any]) -> None:
        """Know nothing: the next question asks."""
        self.guard = guard
        #: it is asked about so often, at least
        self.every = LEAST_OFTEN
        #: until when it may be gone by without another answer
        self.deadline = 0.0
        self._known: Known | None = None
        self._error: CoordError | None = None
        self._why = ""
        self._now = self._seen_at = 0.0
        self._begin()

    @property
    def asked(self) -> bool:
        """Whether there was an answer, be it too old or an error."""
        return self._known is not None or self._error is not None

    def known(self, now: float) -> Known:
        """Return who is there; raise if that is not known well enough at *now*."""
        known = self._known
        if known is not None and now < self.deadline:
            return known
        if self._error is not None:
            raise copy(self._error)
        if known is None:  # forked meanwhile
            raise StaleGroup(self.name, "it has not been asked for")
        why = self._why or f"no answer for {self.max_staleness:g} s"
        raise StaleGroup(self.name, why)

    # -- what its follower does ---------------------------------------------------------

    def ask(self) -> Call:
        """Return the question: who is there, or what has changed since just now?"""
        watching = self._watching
        if self._now - self._whole_at < self.every:
            return self._circle._look_call(watching.birth, watching.version)
        return self._circle._look_call()

    def take(self, value: Any, asked_at: float, heard_at: float) -> None:
        """Take in the answer to a question of *asked_at*; an error may stand in its place."""
        found = self._read(value)
        with self.guard:
            if asked_at < self._seen_at:
                return  # asked before, heard after: what we know is newer
            self._seen_at = heard_at
            try:
                if isinstance(found, CoordError):
                    raise found
                self._adopt(found, asked_at)
            except CoordError as exc:
                self._error = exc  # told when what is known is too old
                self._begin()

    def expire(self, now: float, why: str) -> None:
        """Answer no more, if what is known is too old at *now*; it is asked right after."""
        self._now = now
        if now >= self.deadline:
            self.deadline, self._why = 0.0, why  # also of a session that is closed

    def _read(self, value: Any) -> Looked | CoordError:
        """Return what an answer says: nobody who picks is kept waiting for that."""
        try:
            return value if isinstance(value, CoordError) else looked(self.name, value)
        except CoordError as exc:
            return exc

    def _adopt(self, found: Looked, asked_at: float) -> None:
        watching = self._watching
        if found.members is None and not _follows(found, watching):
            self._whole_at = -math.inf
            return
        before: Mapping[str, MemberInfo] = {}
        if self._known is not None:
            before = self._known.members
        differs = [_differs(event, before) for event in watching.news(found)]
        members = dict(watching._members)
        self._shape += any(differs)
        self._known, self._error = Known(members, self._shape), None
        self.deadline, self._why = asked_at + self.max_staleness, ""
        if found.members is not None:
            self._whole_at = asked_at
            self.every = _every(members)

    def _begin(self) -> None:
        """Ask for all of them next time."""
        self._watching = Watching(self.name)
        #: when all members were asked for
        self._whole_at = -math.inf


def _follows(found: Looked, watching: Watching) -> bool:
    """Whether these changes are those after what is known: another answer may have come first."""
    after = watching.version + 1
    return watching.birth in (0, found.birth) and [
        version for version, _ in found.changes
    ] == [*range(after, after + len(found.changes))]


def _differs(event: GroupEvent, before: Mapping[str, MemberInfo]) -> bool:
    """Whether tables that were made for those who were there *before* no longer fit."""
    match event:
        case Members():
            return [*map(_place, event)] != [*map(_place, before.values())]
        case Changed(member, _, old):
            return _place(member) != _place(old)
        case _:
            return True


def _place(member: MemberInfo) -> tuple[Any, ...]:
    """Return what tables for picking are made of: not the load, which is told all the time."""
    return member.holder, member.token, member.weight, member.capacity, member.state


def _every(members: Mapping[str, MemberInfo]) -> float:
    """Return how often to ask: the longest that is left to anybody is nearly the ttl."""
    ttl = max((each.expires_in for each in members.values()), default=math.inf)
    every = max(ttl / LOOKS, SECONDS_EACH * len(members))
    return min(max(every, MOST_OFTEN), LEAST_OFTEN)
