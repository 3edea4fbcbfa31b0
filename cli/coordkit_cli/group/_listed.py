"""A membership as its guard sees it, where the command may run on without it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coordkit import Member

    from .._events import Events


class Listed:
    """Never lost: a member that was joins again by itself, and its command runs on."""

    deadline = math.inf
    reason = None

    def __init__(self, member: Member, events: Events) -> None:
        self.name = member.name
        self.token = member.token
        self.ttl = member.ttl
        self._member = member
        self._events = events
        self._listed = True

    def look(self) -> str:
        """Tell whether it is listed, if that has changed; never a reason to end it."""
        reason = self._member.reason
        if self._listed and reason is not None:
            self._listed = False
            self._events.tell("lost", reason=reason.value)
            self._events.say(
                f"not listed in {self.name!r} any more, it joins again: {reason.why}"
            )
        elif not self._listed and reason is None:
            self._listed = True
            token = self._member.token
            self._events.tell("joined", identity=self._member.identity, token=token)
            self._events.say(f"listed in {self.name!r} again")
        return ""

    def remaining(self) -> float:
        """Return for how many seconds the command may run."""
        return math.inf

    def renew(self) -> None:
        """Do nothing: there is nothing to push away."""

    def _watch(self, tell: Callable[[], None]) -> None: ...

    def _unwatch(self, tell: Callable[[], None]) -> None: ...
