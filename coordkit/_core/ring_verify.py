"""Checks whether what is stored of a ring fits together, and says what does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import DamagedRing
from .asking import ask
from .ops import Call, Op
from .reply import text
from .ring import no_ring
from .ring_change import changed_slots
from .ring_history import log_call
from .ring_place import hashed
from .ring_read import RingId, info_of, pairs, read_call, snapshot_of
from .ring_slot import MOST_SLOTS
from .ring_snapshot import Snapshot, points
from .ring_write import change_of

#: Slots whose points are read at once: a millisecond or two of the server's time.
PAGE = 2048
#: The ring may change while it is read: then it is read again, so often at most.
MOST_TRIES = 8
#: Of many things that are wrong alike, so many are named.
MOST_NAMED = 5


class _Stored(NamedTuple):
    """All that is stored of a ring."""

    whole: Any
    #: score: members
    points: dict[str, list[str]]
    log: Any
    listed: bool


def verify(ring: RingId) -> Op[list[str]]:
    """Return what is wrong with the ring, a sentence each; nothing when all is well."""
    for _ in range(MOST_TRIES):
        reply = yield from ask(read_call(ring, None))
        if text(reply.value[0]) == "none":
            raise no_ring(ring.name)
        meta = pairs(reply.value[1])
        stored = yield from _rest(ring, reply.value, meta)
        if stored is not None:
            return list(_problems(ring, stored, meta))
    return [f"it changed while it was read, {MOST_TRIES} times: ask again"]


def _rest(ring: RingId, whole: Any, meta: dict[str, str]) -> Op[_Stored | None]:
    """Read all the rest of that version; None if there is another by now."""
    found: dict[str, list[str]] = {}
    keys, version = ring.keys, [meta.get("birth", ""), meta.get("version", "")]
    slots = int(meta["slots"]) if meta.get("slots", "").isdigit() else 0
    for first in range(0, min(slots, MOST_SLOTS) or 1, PAGE):
        low = first or "-inf"
        high = "+inf" if first + PAGE >= slots else first + PAGE - 1
        call = Call("ring_points", (keys.meta, keys.points), (low, high), ring.timeout)
        reply = yield from ask(call)
        if [text(part) for part in reply.value[1:3]] != version:
            return None
        flat = [text(part) for part in reply.value[3]]
        for member, score in zip(flat[::2], flat[1::2], strict=True):
            found.setdefault(score, []).append(member)
    log = yield from ask(log_call(ring, 0))
    if pairs(log.value[1]) != meta:
        return None
    index = yield from ask(Call("index_list", (keys.lasting,), (), ring.timeout))
    listed = ring.member in {text(member) for member in index.value}
    return _Stored(whole, found, log.value[2], listed)


def _problems(ring: RingId, stored: _Stored, meta: dict[str, str]) -> Iterator[str]:
    try:
        info_of(ring.name, meta)
        snapshot = snapshot_of(ring.name, stored.whole)
    except DamagedRing as exc:
        yield exc.why
    else:
        yield from _of_points(snapshot, stored.points)
        yield from _of_mode(snapshot)
        yield from _of_log(stored.log, snapshot.version)
    if not stored.listed:
        yield "the index of the namespace does not list it"


def _of_points(snapshot: Snapshot, found: dict[str, list[str]]) -> Iterator[str]:
    expected = {str(slot): [member] for slot, member in points(snapshot.table())}
    for what, one, other in (
        ("is missing", expected, found),
        ("is not what the packed snapshot says", found, expected),
    ):
        wrong = [
            f"point {member!r} at {score}"
            for score, members in one.items()
            for member in members
            if member not in other.get(score, ())
        ]
        for point in wrong[:MOST_NAMED]:
            yield f"{point} {what}"
        if len(wrong) > MOST_NAMED:
            yield f"and so on: {len(wrong)} points in all"


def _of_mode(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.mode == "hashed" and all(node.pull for node in snapshot.nodes):
        derived = hashed(snapshot.nodes, snapshot.slots)
        if wrong := changed_slots(snapshot.targets, derived):
            yield f"{len(wrong)} slots are not where the names put them"


def _of_log(entries: list[Any], version: int) -> Iterator[str]:
    try:
        versions = [change_of(entry).version for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        yield "its log holds what is no change"
        return
    if not versions:
        yield "its log is gone: versions cannot be compared"
    elif versions != list(range(versions[0], version + 1)):
        yield f"its log does not lead to version {version}"
