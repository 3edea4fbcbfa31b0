"""Locks, held alone or shared, and what an operator asks of them."""

from __future__ import annotations

from typing import Any

from coordkit._core import inspect, lock
from coordkit._core.inspect import LockInfo
from coordkit._core.lock import LockLease
from coordkit._core.ops import Call, Op
from coordkit.errors import KeyConflict, Reason
from core.answers import said
from core.answers.said import KEYS, WAKE, Asked, Word, last_call
from core.props import BUSY, RID, TAKEN, a_claim, a_lease, wanting
from core.script import Line, Stage

HELD = [b"held", 0, RID.encode(), 1000, b"7", b"1", b"me", b"{}"]
SHARED = [b"shared", 0, b"3", RID.encode(), 1000, b"7\n1\nme\n{}"]

#: Every option has a value of its own, so that each is seen to stand in its place.
ALONE: dict[str, Any] = {
    "ttl": 10,
    "lock_delay": 1.5,
    "hold_at_least": 0.25,
    "meta": {"a": 1},
}
PLACES: dict[str, Any] = {"ttl": 10, "slots": 3, "meta": {"a": 1}}
VALUES = said.VALUES | {
    "waiter_ttl_ms": 3000,
    "ttl_ms": 10_000,
    "delay_ms": 1500,
    "hold_ms": 250,
    "tomb_ms": 11_000,
    "limit": 3,
    "fair": 1,
    "member": "lock:jobs",
    "why": "asked",
}
#: What only an election says to a script that serves locks, too.
OF_ELECTIONS = frozenset({"history", "priority", "preempt", "entry", "channel", "why"})


def renewal_of(lease: LockLease) -> Call:
    """The call that renews a lease."""
    return last_call(lock.renew(lease))


def asked() -> list[Asked]:
    """The calls of a lock."""
    seen: Line = ("lock_info", HELD)
    alone, places = a_claim(**ALONE), a_claim(**PLACES)
    acquire = lock.acquire_call(alone, RID, queue=True)
    release = lock.release_call(alone, RID, 11_000)
    return [
        Asked(acquire, VALUES, unsaid=OF_ELECTIONS),
        Asked(release, VALUES, unsaid=OF_ELECTIONS),
        *(
            Asked(call, VALUES)
            for call in (
                lock.acquire_call(places, RID, queue=True),
                lock.release_call(places, RID, 11_000),
                renewal_of(a_lease(Stage(), **ALONE)),
                renewal_of(a_lease(Stage(), **PLACES)),
                last_call(inspect.info("jobs", KEYS, 2.0)),
                last_call(inspect.break_("jobs", "ns", WAKE, None, 2.0), seen),
                last_call(inspect.revoke("jobs", "ns", 2.0), seen),
                last_call(inspect.probe("ns", 2.0)),
            )
        ),
    ]


def of_locks(kind: str) -> list[Word]:
    """The words of the scripts for locks held alone, or shared."""
    given: dict[str, Any] = {"slots": 3} if kind == "share" else {}

    def acquiring() -> Op[Any]:
        return wanting(Stage(), a_claim(**given), queue=False)

    def releasing() -> Op[Any]:
        return lock.release(a_lease(Stage(), **given))

    def renewing() -> Op[Any]:
        return lock.renew(a_lease(Stage(), **given))

    acquire, release, renew = (f"{kind}_{v}" for v in ("acquire", "release", "renew"))
    evicted: Line = (renew, [b"evicted"])
    words = [
        Word(acquire, TAKEN, acquiring, LockLease),
        Word(acquire, BUSY, acquiring, None),
        Word(acquire, [b"gone"], acquiring, Reason.BROKEN),
        Word(release, [b"released"], releasing, None),
        Word(release, [b"not ours"], releasing, Reason.EVICTED, (evicted,)),
        Word(release, [b"broken"], releasing, Reason.BROKEN),
        Word(renew, [b"kept"], renewing, None),
    ]
    if kind == "share":
        words.append(Word(acquire, [b"limit", b"5"], acquiring, KeyConflict))
    unsaid = {Reason.UNKEPT, Reason.FORKED, Reason.OVER}  # these no server tells
    if kind == "share":
        unsaid.add(Reason.STOLEN)  # whose place it was, nobody can tell
    return words + [
        Word(renew, [reason.value.encode()], renewing, reason)
        for reason in Reason
        if reason not in unsaid
    ]


def of_operators() -> list[Word]:
    """The words of the scripts for whoever looks on, or steps in."""
    held: Line = ("lock_info", HELD)

    def looking() -> Op[Any]:
        return inspect.info("jobs", KEYS, 2.0)

    def breaking() -> Op[Any]:
        return inspect.break_("jobs", "ns", WAKE, None, 2.0)

    def revoking() -> Op[Any]:
        return inspect.revoke("jobs", "ns", 2.0)

    return [
        Word("lock_info", [b"free", 1], looking, None),
        Word("lock_info", HELD, looking, LockInfo),
        Word("lock_info", SHARED, looking, LockInfo),
        Word("lock_break", [b"broken"], breaking, LockInfo, (), (held,)),
        Word("lock_break", [b"not held"], breaking, None, (), (held,)),
        Word("lock_revoke", [b"asked"], revoking, LockInfo, (), (held,)),
        Word("lock_revoke", [b"not held"], revoking, None, (), (held,)),
    ]


ASKED = asked()
WORDS = [*of_locks("lock"), *of_locks("share"), *of_operators()]
