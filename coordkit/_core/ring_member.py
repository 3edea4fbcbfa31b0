"""
A live node: a member of its ring's group, and what it may believe.

A slot is believed to be its own while three things hold: its membership lasts, by its own
clock; the ring names that membership as the node's holder; and it has not let the slot
go.  `ring_commit` takes nothing from a member that lives, so what was read of the ring may
be old: it is only refused when older than `max_staleness`, for nothing is known then of a
ring that was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from ..errors import Reason
from .group import Circle, MemberLease, leave
from .keys import news_channel
from .members import Members, Record, a_record
from .ops import Op
from .ring_node import Node, check_node
from .ring_read import RingId
from .ring_slot import slot_of
from .ring_snapshot import Range
from .span import LONGEST_TTL, seconds, ttl_seconds

if TYPE_CHECKING:
    from .ring_tend import Tender


@dataclass(frozen=True, slots=True)
class Assigned:
    """These slots are its own from now on."""

    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Revoked:
    """
    These slots are its own no more.

    Unless they are *lost*, they are handed over when the next change is asked for: until
    then nobody has them, and what was begun may end.  *lost*: the lease has passed, and
    somebody else may have them already.
    """

    ranges: tuple[Range, ...]
    lost: bool = False


#: What a live node is told.
Handover: TypeAlias = Assigned | Revoked


class NodeLease(MemberLease):
    """What a live node knows of itself: its membership, and what it has of the ring."""

    __slots__ = ()
    _tender: Tender

    def owns(self, key: str | bytes) -> bool:
        """Whether *key* is its own at this instant: False whenever that is not certain."""
        held = self._tender.held()
        return held is not None and bool(held[1][slot_of(key, held[0].slots)])

    def token_of(self, key: str | bytes) -> int | None:
        """
        Return a fencing token for what it does with *key*; None if it does not own it.

        It rises whenever the slot of the key changes hands, or its holder is another
        process, though the ring be made anew: give it to a `Fence` of that key's own, or
        of its slot's.
        """
        held = self._tender.held()
        if held is None:
            return None
        snapshot, mask = held
        slot = slot_of(key, snapshot.slots)
        return snapshot.floor + snapshot.epochs[slot] if mask[slot] else None

    def ranges(self) -> list[Range]:
        """Return the slots that are its own at this instant, runs of them as one."""
        return list(runs_of(self._tender.slots()))

    def _is_last(self) -> bool:
        # Who hears nothing of the ring must not go on holding what others are to have.
        return super()._is_last() or not self._tender.hears(self._clock())

    def _returns(self, reason: Reason) -> bool:
        return super()._returns(reason) and not self._tender.abandoned

    def _leaving(self) -> Op[None]:
        yield from leave(self)
        yield from self._tender.anew(self).withdraw(self.identity, self.holder)


# -- what may be given, and how it is stored ------------------------------------------


def live_circle(
    namespace: str, ring: RingId, ttl: float | timedelta, timeout: float
) -> Circle:
    """Return the group of the live nodes of a ring."""
    return Circle(
        namespace,
        ring.name,
        ring.keys.live,
        news_channel(namespace, "ring.live", ring.name),
        ttl_seconds(ttl),
        timeout,
        "ring.live",
        patient=True,
    )


def live_members(namespace: str, ring: RingId, timeout: float) -> Op[Members]:
    """Return the live nodes of a ring."""
    return live_circle(namespace, ring, timeout, timeout).look()


def live_record(node: Node, grace: float | timedelta) -> Record:
    """Check what a live node says of itself; it is in the meta of its membership."""
    checked = check_node(node)
    told = {
        "grace": seconds(grace, "grace", most=LONGEST_TTL),
        "capacity": checked.capacity,
        "meta": dict(checked.meta),
    }
    return a_record(checked.name, told, checked.weight, zone=checked.zone)


def runs_of(slots: Iterable[int]) -> Iterator[Range]:
    """Yield these slots in order, those side by side as one."""
    first = last = -1
    for slot in sorted(slots):
        if slot != last + 1 or first < 0:
            if first >= 0:
                yield Range(first, last)
            first = slot
        last = slot
    if first >= 0:
        yield Range(first, last)
