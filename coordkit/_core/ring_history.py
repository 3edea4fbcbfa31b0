"""What was changed on a ring: between two versions, and from now on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import DamagedRing
from .asking import ask
from .observe import Subject
from .ops import Call, Op
from .reply import text
from .ring import no_ring
from .ring_change import Move, runs
from .ring_read import RingId, RingInfo, info_of, pairs
from .ring_write import RingChange, change_of, is_owned, moves_of


@dataclass(frozen=True, slots=True)
class RingDiff:
    """
    What has changed from version *since* to version *until*.

    *moves*: slots whose owner is another at the end than at the beginning; none if nobody
    owned the slots at some time in between.  *moved*: the share of all slots that these
    are.
    """

    since: int
    until: int
    changes: tuple[RingChange, ...]
    moves: tuple[Move, ...] = field(repr=False)
    moved: float


def log_call(ring: RingId, since: int) -> Call:
    """Return the question: what was changed after that version?"""
    return Call("ring_log", (ring.keys.meta, ring.keys.log), (since,), ring.timeout)


def diff(ring: RingId, since: int, until: int | None) -> Op[RingDiff]:
    """Return what has changed; `ValueError` if the log does not reach back so far."""
    reply = yield from ask(log_call(ring, since))
    if text(reply.value[0]) == "none":
        raise no_ring(ring.name)
    info = info_of(ring.name, pairs(reply.value[1]))
    entries: list[Any] = reply.value[2]
    if until is None:
        until = info.version
    if not 0 <= since <= until <= info.version:
        raise ValueError(
            f"versions {since} to {until} of the ring {ring.name!r}: it is at "
            f"{info.version}, and time runs forward"
        )
    wanted = entries[: until - since]
    changes = _changes(ring.name, wanted)
    if [change.version for change in changes] != list(range(since + 1, until + 1)):
        oldest = changes[0].version - 1 if changes else info.version
        raise ValueError(
            f"version {since} of the ring {ring.name!r} is not in its log any more, "
            f"which reaches back to {oldest}"
        )
    moves = list(_moves(ring.name, wanted)) if all(map(is_owned, wanted)) else []
    moved = sum(move.slots for move in moves) / info.slots
    return RingDiff(since, until, tuple(changes), tuple(moves), moved)


def _changes(name: str, entries: list[Any]) -> list[RingChange]:
    try:
        return [change_of(entry) for entry in entries]
    except (ValueError, KeyError, TypeError) as exc:
        raise DamagedRing(name, f"its log holds what is no change: {exc}") from exc


def _moves(name: str, entries: list[Any]) -> Iterator[Move]:
    """Yield from where to where slots have gone in all."""
    before: dict[int, str] = {}
    after: dict[int, str] = {}
    for entry in entries:
        moves = moves_of(entry)
        if moves is None:
            raise ValueError(
                f"version {change_of(entry).version} of the ring {name!r} moved more "
                "than its log keeps"
            )
        for first, last, source, target in moves:
            for slot in range(first, last + 1):
                before.setdefault(slot, source)
                after[slot] = target
    moved = sorted(slot for slot in after if after[slot] != before[slot])
    yield from runs(before, after, moved)


class Watching:
    """
    A ring that is observed: what it is, then every change.

    When changes cannot be told one by one, as after a long silence or when the ring is
    made anew, what it is comes again.
    """

    def __init__(self, ring: RingId) -> None:
        self._ring = ring
        self._birth = ""
        self._version = -1

    def subject(self) -> Subject:
        """Return what to observe."""
        return Subject(self._ring.channel, self._ask, self._read)

    def _ask(self) -> Call:
        return log_call(self._ring, max(0, self._version))

    def _read(self, value: Any) -> Iterator[RingInfo | RingChange]:
        name = self._ring.name
        if text(value[0]) == "none":
            if self._version:
                self._birth, self._version = "", 0
                yield RingInfo(name, 0)
            return
        meta = pairs(value[1])
        info = info_of(name, meta)
        changes = _changes(name, value[2])
        told = [self._version, *(change.version for change in changes)]
        if self._birth == meta["birth"] and told == [*range(told[0], info.version + 1)]:
            yield from changes
        else:
            yield info
        self._birth, self._version = meta["birth"], info.version
