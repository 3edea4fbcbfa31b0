"""A membership as its guard sees it, where the command may run on without it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coordkit import Member


class Listed:
    """Never lost: a member that was joins again by itself, and its command runs on."""

    deadline = math.inf
    reason = None

    def __init__(self, member: Member) -> None:
        self.name = member.name
        self.token = member.token
        self.ttl = member.ttl

    def remaining(self) -> float:
        """Return for how many seconds the command may run."""
        return math.inf

    def renew(self) -> None:
        """Do nothing: there is nothing to push away."""

    def _watch(self, tell: Callable[[], None]) -> None: ...

    def _unwatch(self, tell: Callable[[], None]) -> None: ...
