"""
Passive health: who fails again and again is left alone for a while.

As the outlier detection of Envoy does it: so many failures in a row, with no success
between them, eject a member, for a base time the first time, twice that the second, and
so on; each base time that it then does well takes one of them back.  At most a part of
the group is ejected at once: if most fail, then rather what they all need does.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import timedelta

from .members import amount
from .span import seconds

MOST_FAILURES = 1_000_000
SHORTEST_EJECTION, LONGEST_EJECTION = 0.01, 86_400.0
#: However often it was ejected, it gets its next chance after so many base times.
MOST_TIMES = 10


@dataclass(slots=True)
class _Health:
    failures: int = 0
    times: int = 0
    until: float = 0.0


class Ejection:
    """Who has failed how often, as far as this process was told."""

    def __init__(self, max_failures: int, base: float, max_ejected: float) -> None:
        self._max_failures = max_failures
        self._base = base
        self._max_ejected = max_ejected
        self._health: dict[str, _Health] = {}

    def succeeded(self, holder: str) -> None:
        """Take note of a success."""
        health = self._health.get(holder)
        if health is not None:
            health.failures = 0

    def failed(self, holder: str, now: float, of: int) -> bool:
        """Take note of a failure; return whether it is ejected for it, one of so many members."""
        health = self._health.setdefault(holder, _Health())
        if now < health.until:
            return False  # it was asked before
        health.failures += 1
        if health.failures < self._max_failures or self._full(now, of):
            return False
        well = int((now - health.until) / self._base) if health.times else 0
        health.times = min(max(0, health.times - well) + 1, MOST_TIMES)
        health.until = now + health.times * self._base
        health.failures = 0
        return True

    def _full(self, now: float, of: int) -> bool:
        room = max(1, int(self._max_ejected * of)) if self._max_ejected else 0
        return len(self.ejected(now)) >= room

    def ejected(self, now: float) -> dict[str, float]:
        """Return who is ejected, and until when."""
        return {
            holder: health.until
            for holder, health in self._health.items()
            if now < health.until
        }

    def keep(self, holders: Container[str]) -> None:
        """Forget all others: they are no members any more."""
        self._health = {h: it for h, it in self._health.items() if h in holders}


def ejection(
    max_failures: int, base: float | timedelta, max_ejected: float
) -> Ejection:
    """Check when members are ejected."""
    if isinstance(max_failures, bool) or not isinstance(max_failures, int):
        kind = type(max_failures).__name__
        raise TypeError(f"max_failures is an int, not {kind}: {max_failures!r}")
    if not 1 <= max_failures <= MOST_FAILURES:
        raise ValueError(
            f"max_failures={max_failures} is not between 1 and {MOST_FAILURES}"
        )
    return Ejection(
        max_failures,
        seconds(base, "ejection", least=SHORTEST_EJECTION, most=LONGEST_EJECTION),
        amount(max_ejected, "max_ejected", 0.0, 1.0),
    )
