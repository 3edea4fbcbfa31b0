"""What the core asks of each script, and what it makes of every word of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from coordkit._core import inspect, lock, ring, ring_load, ring_write
from coordkit._core.counter import Tally
from coordkit._core.cron import Begun, Due, Plan, cron
from coordkit._core.fence import Guard
from coordkit._core.ids import id_blocks
from coordkit._core.inspect import LockInfo
from coordkit._core.keys import fence_keys, lock_keys
from coordkit._core.lanes import REMEMBERED_MS, Lanes
from coordkit._core.lock import LockLease
from coordkit._core.ops import Call, Listen, Op, Pipeline, Wait
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
    OutOfBounds,
    Overloaded,
    Overtaken,
    Reason,
    Refused,
    RingChanged,
    StaleToken,
    Unreachable,
)
from core import rings
from core.lua import SCRIPTS, place
from core.props import BUSY, ENDS, RID, TAKEN, TOKEN, a_claim, a_lease, wanting
from core.rings import RING, a_writer
from core.script import Line, Stage

KEYS = lock_keys("ns", "jobs")


def a_fence() -> Guard:
    return Guard("jobs", fence_keys("ns", "jobs"), Lanes(), 2.0)


FENCE = a_fence()
CRON = cron("ns", "jobs", 2.0)
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
    "seq": 1,
    "memo_ms": REMEMBERED_MS,
    "amount": 5,
    "least": -5,
    "most": 95,
    "shards": "1",
    "kept_ms": 400 * 86_400_000,
    "block": 100,
    "start": 200,
    "what": "set",
    "written": b"seven",
    "if_is": "equal",
    "expected": b"six",
    "keep": 50,
    "first": 9,
    "tick": 120_000,
    "attempt": 2,
    "spec": "every 60 s",
    "kept": 64,
    "entry": "cron:jobs",
    "state": "failed",
    "code": 3,
}
#: Where the same word stands for something else.
OTHERWISE: dict[str, dict[str, Any]] = {
    "counter_add": {"member": "counter:jobs"},
    "counter_set": {
        "member": "counter:jobs",
        "value": "6",
        "kept_ms": 7 * 86_400_000,
    },
    "fence_write": {"ttl_ms": 1500},
    "fence_append": {"expected": 8, "entry": b"seven"},
    "fence_read": {"limit": 10},
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
    if isinstance(call, Pipeline):
        (call,) = call.calls
    assert isinstance(call, Call)
    return call


def a_counter(shards: int | None = 1) -> Tally:
    return Tally("ns", "jobs", shards, lanes=Lanes(), timeout=2.0, scatter=False)


def ids_taken() -> Op[range]:
    return id_blocks("ns", "jobs", block=100, start=200, timeout=2.0).take(0)


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
        last_call(FENCE.check(TOKEN)),
        last_call(a_fence().cas("total", b"seven", b"six", TOKEN, 1.5)),
        last_call(a_fence().append(b"seven", TOKEN, 8, 50)),
        last_call(CRON.look()),
        last_call(taking(120_000, 2)),
        last_call(CRON.end(RID, 3, patience=1.0)),
        last_call(FENCE.get("total")),
        last_call(FENCE.journal(8, 10)),
        last_call(a_counter().add(5, token=TOKEN, at_least=0, at_most=100)),
        last_call(a_counter().set(6, token=TOKEN)),
        last_call(a_counter().value()),
        last_call(ids_taken()),
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


def positions(script: str, table: str, length: int) -> dict[int, str]:
    """What the header says stands where, from 1: there are *length* of them."""
    found: dict[int, str] = {}
    for index, word in SCRIPTS[script].described(table).items():
        stride, first = place(index)
        found |= dict.fromkeys(range(first, length + 1, stride or length), word)
    return found


@each_call
def test_every_key_stands_where_the_header_says(call: Call) -> None:
    kinds = {n: key.split(":")[4] for n, key in enumerate(call.keys, 1)}
    assert kinds == positions(call.script, "KEYS", len(call.keys))


@each_call
def test_every_argument_stands_where_the_header_says(call: Call) -> None:
    given = call.args
    values = VALUES | OTHERWISE.get(call.script, {})
    if call.script.startswith("ring_"):
        values = OF_RINGS | {"lists": lengths(call)}
    if call.script in LISTS:
        given = given[: len(SCRIPTS[call.script].described("ARGV"))]
    said = positions(call.script, "ARGV", len(given))
    assert dict(enumerate(given, 1)) == {n: values[word] for n, word in said.items()}


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


def of_counts() -> list[Word]:
    def swapping() -> Op[Any]:
        return a_fence().cas("total", b"7", b"6", 7)

    def appending() -> Op[Any]:
        return a_fence().append(b"7", 7, 8, 10)

    def adding() -> Op[Any]:
        return a_counter().add(5, token=7, at_most=100)

    def setting() -> Op[Any]:
        return a_counter().set(5, token=7)

    return [
        Word("fence_write", [b"done", b"7"], swapping, bool),
        Word("fence_write", [b"differs", b"7"], swapping, bool),
        Word("fence_write", [b"stale", b"9"], swapping, StaleToken),
        Word("fence_write", [b"gone", b"9"], swapping, Unreachable),
        Word("fence_append", [b"appended", b"9"], appending, int),
        Word("fence_append", [b"overtaken", b"9"], appending, Overtaken),
        Word("fence_append", [b"stale", b"9"], appending, StaleToken),
        Word("fence_append", [b"gone"], appending, Unreachable),
        Word("counter_add", [b"added", b"9"], adding, int),
        Word("counter_add", [b"stale", b"9"], adding, StaleToken),
        Word("counter_add", [b"bounds", b"99"], adding, OutOfBounds),
        Word("counter_add", [b"shards", b"9"], adding, KeyConflict),
        Word("counter_add", [b"conflict", b"0"], adding, KeyConflict),
        Word("counter_add", [b"gone"], adding, Unreachable),
        Word("counter_add", [b"absent", b"0"], adding, int, ADDED_AT_LAST),
        Word("counter_set", [b"set", b"9"], setting, int),
        Word("counter_set", [b"stale", b"9"], setting, StaleToken),
        Word("counter_set", [b"shards", b"9"], setting, KeyConflict),
        Word("counter_set", [b"conflict"], setting, KeyConflict),
        Word("counter_set", [b"gone"], setting, Unreachable),
        Word("ids_take", [b"taken", b"300"], ids_taken, range),
        Word("ids_take", [b"bounds", b"300"], ids_taken, OutOfBounds),
        Word("ids_take", [b"conflict"], ids_taken, KeyConflict),
    ]


#: A shard is not there: the first is seen to, then it is made.
ADDED_AT_LAST: tuple[Line, ...] = (("counter_add", [b"added", b"0"]),) * 2


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


WORDS = [*of_locks("lock"), *of_locks("share"), *of_others(), *of_counts(), *of_rings()]


def test_every_word_of_every_script_is_known_here() -> None:
    known = {(word.script, word.word) for word in WORDS}
    told = {(s.name, word) for s in SCRIPTS.values() for word in s.answers()}
    assert known == told


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{word.script}: {word.word}")
def test_every_word_means_what_it_should(word: Word) -> None:
    # `set` asks in trips: of each shard, where they are on several nodes.
    first: Line = (word.script, word.answer)
    if word.script == "counter_set":
        first = (Pipeline, [word.answer])
    lines: list[Line] = [*word.before, first, *word.then]
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
