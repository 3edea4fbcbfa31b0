"""What the core asks of each script, and what it makes of every word of an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from coordkit._core import inspect, lock, ring, ring_load, ring_write
from coordkit._core.cron import Begun, Due, Plan, cron
from coordkit._core.fence import Guard
from coordkit._core.inspect import LockInfo
from coordkit._core.keys import guard_key, lock_keys
from coordkit._core.lock import LockLease
from coordkit._core.ops import Call, Listen, Op, Wait
from coordkit._core.ring_history import RingDiff, diff
from coordkit._core.ring_node import Node, node_record
from coordkit._core.ring_read import read_call
from coordkit._core.ring_snapshot import pack
from coordkit._core.ring_verify import verify
from coordkit._core.ring_write import RingChange
from coordkit._core.runs import Seen
from coordkit._core.ticks import Every, Turn
from coordkit.errors import (
    CoordError,
    EmptyRing,
    KeyConflict,
    LeaseLost,
    Overloaded,
    Reason,
    Refused,
    RingChanged,
    StaleToken,
)
from core import rings
from core.lua import SCRIPTS
from core.props import BUSY, ENDS, RID, TAKEN, TOKEN, a_claim, a_lease, wanting
from core.rings import RING, a_writer
from core.script import Line, Stage

KEYS = lock_keys("ns", "jobs")
CRON = cron("ns", "jobs", 2.0)
FENCE = Guard("jobs", guard_key("ns", "jobs"), 2.0)
WAKE = "ck:1:ns:wake:"
HELD = [b"held", 0, RID.encode(), 1000, b"7", b"1", b"me", b"{}"]
SHARED = [b"shared", 0, b"3", RID.encode(), 1000, b"7\n1\nme\n{}"]

# -- what is asked -----------------------------------------------------------------

#: Every option has a value of its own, so that each is seen to stand in its place.
ALONE: dict[str, Any] = {
    "ttl": 10,
    "lock_delay": 1.5,
    "hold_at_least": 0.25,
    "meta": {"a": 1},
}
PLACES: dict[str, Any] = {"ttl": 10, "slots": 3, "meta": {"a": 1}}
VALUES = {
    "rid": RID,
    "token": TOKEN,
    "waiter_ttl_ms": 3000,
    "ttl_ms": 10_000,
    "delay_ms": 1500,
    "hold_ms": 250,
    "tomb_ms": 11_000,
    "limit": 3,
    "fair": 1,
    "identity": "me",
    "meta": '{"a":1}',
    "member": "lock:jobs",
    "wake": WAKE,
    "tick": 120_000,
    "attempt": 2,
    "spec": "every 60 s",
    "kept": 64,
    "kept_ms": 400 * 86_400_000,
    "entry": "cron:jobs",
    "state": "failed",
    "code": 3,
    "field": "total",
    "value": b"seven",
}

OLD = rings.a_ring(3)
MADE = rings.made_up(OLD, add={"n3": 1.0})
#: So many points that they are laid ready beside the old ones.
LARGE = rings.made_up(rings.bare(slots=8192), add={f"n{i}": 1.0 for i in range(9)})
OF_RINGS = VALUES | {
    "birth": rings.BIRTH,
    "version": OLD.version,
    "packed": pack(MADE.new),
    "channel": "ck:1:ns:news:ring:jobs",
    "member": "ring:jobs",
    "change": '{"add":["n3"]}',
    "moved": 256,
    "moves": ring_write.moves_text(MADE.moves),
    "ready": 0,
    "seen": f"{rings.BIRTH} {OLD.version}",
    "whole": 1,
    "first": "-inf",
    "last": "+inf",
    "key": b"user:42",
    "fine": 0xDC1FE,  # its hash begins so
    "c": "1.25",
}


def last_call(op: Op[Any], *lines: Line) -> Call:
    """The script that *op* calls after these lines."""
    call = Stage().upto(op, lines)
    assert isinstance(call, Call)
    return call


def renewal_of(lease: LockLease) -> Call:
    return last_call(lock.renew(lease))


def taking(tick: int, attempt: int) -> Op[Any]:
    due, plan = Due(Turn(tick, tick + 1), attempt), Plan(Every(60))
    return CRON._take(a_lease(Stage()), plan, "me", due, Seen(0, []))


def calls() -> list[Call]:
    """One call of every script, as the core makes it."""
    seen: Line = ("lock_info", HELD)
    alone, places = a_claim(**ALONE), a_claim(**PLACES)
    return [
        lock.acquire_call(alone, RID, queue=True),
        lock.acquire_call(places, RID, queue=True),
        lock.release_call(alone, RID, 11_000),
        lock.release_call(places, RID, 11_000),
        renewal_of(a_lease(Stage(), **ALONE)),
        renewal_of(a_lease(Stage(), **PLACES)),
        last_call(inspect.info("jobs", KEYS, 2.0)),
        last_call(inspect.break_("jobs", "ns", WAKE, None, 2.0), seen),
        last_call(inspect.revoke("jobs", "ns", 2.0), seen),
        last_call(inspect.probe("ns", 2.0)),
        last_call(CRON.look()),
        last_call(taking(120_000, 2)),
        last_call(CRON.end(RID, 3, patience=1.0)),
        last_call(FENCE.set("total", b"seven", TOKEN)),
        last_call(FENCE.get("total")),
        *calls_of_rings(),
    ]


def calls_of_rings() -> list[Call]:
    drawn = ring_write.points_of(MADE)
    return [
        ring_write.commit_call(RING, RID, "me", MADE, drawn),
        next(ring_write.stage_calls(RING, RID, LARGE.new)),
        read_call(RING, OLD),
        last_call(diff(RING, OLD.version, None)),
        last_call(verify(RING), ("ring_read", rings.whole(OLD))),
        last_call(ring.delete(RING, RID)),
        last_call(ring_load.assign(RING, "user:42", 1.25)),
        last_call(ring_load.release(RING, "user:42", RID)),
        last_call(ring_load.loads(RING)),
    ]


CALLS = {call.script: call for call in calls()}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def test_every_script_is_called() -> None:
    assert set(CALLS) == set(SCRIPTS)


def positions(script: str, table: str) -> dict[int, str]:
    """What the header says stands where, from 1; of one lease where there are many."""
    described = SCRIPTS[script].described(table)
    each = len(described)
    return {
        int(
            re.sub(rf"{each}\*i(-(\d+))?", lambda m: str(each - int(m[2] or 0)), index)
        ): w
        for index, w in described.items()
    }


@each_call
def test_every_key_stands_where_the_header_says(call: Call) -> None:
    kinds = {n: key.split(":")[4] for n, key in enumerate(call.keys, 1)}
    assert kinds == positions(call.script, "KEYS")


@each_call
def test_every_argument_stands_where_the_header_says(call: Call) -> None:
    values, given = VALUES, call.args
    if call.script.startswith("ring_"):
        values = OF_RINGS | {"lists": lengths(call)}
    described = positions(call.script, "ARGV")
    if call.script in LISTS:
        given = given[: len(described)]
    assert dict(enumerate(given, 1)) == {
        n: values[word] for n, word in described.items()
    }


#: They take as many arguments more as there are.
LISTS = {"ring_commit", "ring_stage"}


def lengths(call: Call) -> str:
    """How long the lists are that follow in a commit; and they must be these."""
    gone, come, _ = ring_write.points_of(MADE)
    flat = [x for point in come for x in point]
    if call.script == "ring_commit":
        assert call.args[12:14] == ("birth", rings.BIRTH)
        assert call.args[32:] == ("n3", node_record(Node("n3")), *gone, *flat)
    return f"20 2 0 {len(gone)} {len(flat)}"


# -- what is answered --------------------------------------------------------------


class Word(NamedTuple):
    """A word of an answer: to what it is said, what follows it, and what it means."""

    script: str
    answer: list[Any]
    op: Callable[[], Op[Any]]
    #: the type of the result or of the error, or the reason of a loss
    means: Any
    then: tuple[Line, ...] = ()
    before: tuple[Line, ...] = ()

    @property
    def word(self) -> str:
        return str(self.answer[0].decode())


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
    unsaid = {Reason.UNKEPT, Reason.FORKED}  # these no server tells
    if kind == "share":
        unsaid.add(Reason.STOLEN)  # whose place it was, nobody can tell
    return words + [
        Word(renew, [reason.value.encode()], renewing, reason)
        for reason in Reason
        if reason not in unsaid
    ]


def of_others() -> list[Word]:
    held: Line = ("lock_info", HELD)

    def admitting() -> Op[Any]:
        return FENCE.check(7)

    def looking() -> Op[Any]:
        return inspect.info("jobs", KEYS, 2.0)

    def breaking() -> Op[Any]:
        return inspect.break_("jobs", "ns", WAKE, None, 2.0)

    def revoking() -> Op[Any]:
        return inspect.revoke("jobs", "ns", 2.0)

    def beginning() -> Op[Any]:
        return taking(1, 1)

    def ending() -> Op[Any]:
        return CRON.end(RID, 0, patience=1.0)

    return [
        Word("cron_take", [b"taken", b"5"], beginning, Begun),
        Word("cron_take", [b"not held"], beginning, KeyConflict),
        Word("cron_end", [b"ended"], ending, bool),
        Word("cron_end", [b"gone"], ending, bool),
        Word("fence_check", [b"admitted", b"7"], admitting, None),
        Word("fence_check", [b"stale", b"9"], admitting, StaleToken),
        Word("lock_info", [b"free", 1], looking, None),
        Word("lock_info", HELD, looking, LockInfo),
        Word("lock_info", SHARED, looking, LockInfo),
        Word("lock_break", [b"broken"], breaking, LockInfo, (), (held,)),
        Word("lock_break", [b"not held"], breaking, None, (), (held,)),
        Word("lock_revoke", [b"asked"], revoking, LockInfo, (), (held,)),
        Word("lock_revoke", [b"not held"], revoking, None, (), (held,)),
    ]


def of_rings() -> list[Word]:
    seen: Line = ("ring_read", rings.whole(OLD))
    log = [b"log", rings.meta(OLD), []]
    parts = len(list(ring_write.stage_calls(RING, RID, LARGE.new)))
    staged: list[Line] = [("ring_stage", [b"staged", 0])] * (parts - 1)

    def committing() -> Op[Any]:
        return ring.commit(RING, MADE, a_writer())

    def reading() -> Op[Any]:
        return ring.read(RING, OLD)

    def history() -> Op[Any]:
        return diff(RING, OLD.version, None)

    def deleting() -> Op[Any]:
        return ring.delete(RING, RID)

    def assigning() -> Op[Any]:
        return ring_load.assign(RING, "user:42", 1.25)

    def releasing() -> Op[Any]:
        return ring_load.release(RING, "user:42", RID)

    return [
        Word("ring_commit", rings.committed(MADE.new), committing, RingChange),
        Word("ring_commit", [b"changed", b"9"], committing, RingChanged),
        Word("ring_commit", [b"unready"], committing, Refused),
        Word(
            "ring_stage",
            [b"staged", 0],
            lambda: ring.commit(RING, LARGE, a_writer()),
            RingChange,
            (*staged, ("ring_commit", rings.committed(LARGE.new))),
        ),
        Word("ring_read", rings.SAME, reading, ring.Seen),
        Word("ring_read", rings.whole(OLD), reading, ring.Seen),
        Word("ring_read", rings.NONE, reading, None),
        Word("ring_log", log, history, RingDiff),
        Word("ring_log", rings.NONE, history, EmptyRing),
        Word(
            "ring_points",
            [b"points", rings.BIRTH.encode(), b"1", []],
            lambda: verify(RING),
            list,
            (("ring_log", log), ("index_list", [])),
            (seen,),
        ),
        Word("ring_delete", [b"deleted"], deleting, bool),
        Word("ring_delete", rings.NONE, deleting, bool),
        Word("ring_assign", [b"assigned", b"n1"], assigning, str),
        Word("ring_assign", [b"overloaded", 8, b"9"], assigning, Overloaded),
        Word("ring_assign", rings.NONE, assigning, EmptyRing),
        Word("ring_release", [b"released", b"n1"], releasing, str),
        Word("ring_release", [b"free"], releasing, None),
    ]


WORDS = [*of_locks("lock"), *of_locks("share"), *of_others(), *of_rings()]


def test_every_word_of_every_script_is_known_here() -> None:
    known = {(word.script, word.word) for word in WORDS}
    told = {(s.name, word) for s in SCRIPTS.values() for word in s.answers()}
    assert known == told


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{word.script}: {word.word}")
def test_every_word_means_what_it_should(word: Word) -> None:
    lines = [*word.before, (word.script, word.answer), *word.then]
    assert meaning(word.op(), lines) is word.means


def meaning(op: Op[Any], lines: list[Line]) -> Any:
    try:
        result: Any = Stage().play(op, lines)
    except LeaseLost as lost:
        return lost.reason
    except CoordError as error:
        return type(error)
    return None if result is None else type(result)


@pytest.mark.parametrize(
    "number", [BUSY, [b"busy", b"10000", b"0", str(ENDS).encode()]]
)
def test_numbers_come_as_numbers_or_as_text(number: list[Any]) -> None:
    op = wanting(Stage(), a_claim(), listening=True)
    lines: list[Line] = [(Listen, None), ("lock_acquire", number)]
    wait = Stage().upto(op, lines)
    assert wait == Wait(RID, 1.5)
