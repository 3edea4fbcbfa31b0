"""
Plans: `Plan` for threads, `AsyncPlan` for tasks.

Guaranteed: that nothing is changed before `apply`, and that the ring becomes what was
shown, or that nothing more is changed.

Not guaranteed: that a plan in steps comes to its end; what was interrupted is seen by
the next plan, and finished by the next change that is not made in steps.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ._core.ring import Writer, apply_plan, steps
from ._core.ring_change import Draft, Move
from ._core.ring_read import RingId
from ._core.ring_stats import RingStats, stats
from ._core.ring_write import RingChange
from ._io.fork import OfOneProcess

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine


class _Planned(OfOneProcess):
    """A change that was made up, and not made."""

    def __init__(self, engine: Any, ring: RingId, made: Draft, writer: Writer) -> None:
        self._engine = engine
        self._ring = ring
        self._made = made
        self._writer = writer

    @property
    def version(self) -> int:
        """Which version of the ring it is for."""
        return self._made.old.version

    @property
    def moves(self) -> list[Move]:
        """Which slots go from where to where, in order."""
        return self._made.moves

    @property
    def moved(self) -> float:
        """The share of all slots that moves."""
        return sum(move.slots for move in self.moves) / self._made.old.slots

    @property
    def ideal(self) -> float:
        """The least share that any placement could move."""
        return self._made.ideal()

    @property
    def before(self) -> RingStats:
        """How even the ring is now."""
        return stats(self._made.old)

    @property
    def after(self) -> RingStats:
        """How even it would be."""
        return stats(self._made.new.arrived())

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._ring.name!r} of version {self.version}: "
            f"moves {self.moved:.2%}>"
        )


class Plan(_Planned):
    """What a change would do; `apply` does it, if the ring is still the same."""

    _engine: Engine

    def apply(
        self,
        *,
        max_move: float = 1.0,
        every: float | timedelta = 0.0,
        told: Callable[[RingChange], object] | None = None,
    ) -> list[RingChange]:
        """
        Make the change; return each version that was made.

        With *max_move*, a share of all slots, it goes in steps that move no more than
        that, *every* so many seconds; *told* is called after each of them.  What was
        interrupted goes on with a new plan: one without a change finishes what is open.
        `RingChanged` if somebody else has changed the ring: what is done is done, and
        the rest is left.
        """
        way = steps(max_move, every, told)
        op = apply_plan(self._ring, self._made, self._writer, way)
        return self._engine.run(op)


class AsyncPlan(_Planned):
    """What a change would do; `apply` does it, if the ring is still the same."""

    _engine: AsyncEngine

    async def apply(
        self,
        *,
        max_move: float = 1.0,
        every: float | timedelta = 0.0,
        told: Callable[[RingChange], object] | None = None,
    ) -> list[RingChange]:
        """
        Make the change; return each version that was made.

        With *max_move*, a share of all slots, it goes in steps that move no more than
        that, *every* so many seconds; *told* is called after each of them.  What was
        interrupted goes on with a new plan: one without a change finishes what is open.
        `RingChanged` if somebody else has changed the ring: what is done is done, and
        the rest is left.
        """
        way = steps(max_move, every, told)
        op = apply_plan(self._ring, self._made, self._writer, way)
        return await self._engine.run(op)
