"""What the core asks of each script, and what it makes of every word of an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from coordkit._core import group, inspect, lock
from coordkit._core.cron import Begun, Due, Plan, cron
from coordkit._core.fence import Guard
from coordkit._core.group import MemberLease
from coordkit._core.inspect import LockInfo
from coordkit._core.keys import guard_key, lock_keys
from coordkit._core.lock import LockLease
from coordkit._core.members import Members
from coordkit._core.ops import Call, Listen, Op, Wait
from coordkit._core.runs import Seen
from coordkit._core.terms import Leader
from coordkit._core.ticks import Every, Turn
from coordkit.errors import (
    CoordError,
    KeyConflict,
    LeaseLost,
    NoCandidate,
    NoLeader,
    Reason,
    StaleToken,
    Unreachable,
)
from core.lua import SCRIPTS
from core.props import (
    BUSY,
    CIRCLE,
    ENDS,
    OFFICE,
    RECORD,
    RID,
    TAKEN,
    TOKEN,
    a_campaign,
    a_claim,
    a_lease,
    a_member,
    a_standing,
    a_term,
    led_by,
    look,
    wanting,
)
from core.script import Line, Stage

KEYS = lock_keys("ns", "jobs")
CRON = cron("ns", "jobs", 2.0)
FENCE = Guard("jobs", guard_key("ns", "jobs"), 2.0)
WAKE = "ck:1:ns:wake:"
HELD = [b"held", 0, RID.encode(), 1000, b"7", b"1", b"me", b"{}"]
LED = led_by("me", term=7)
HIS = led_by("him", term=7)
VACANT = led_by(None)
PAUSED = look("paused", paused=("", "op"))
#: What has another value where an election is asked about.
OF_A_LEADER: dict[Any, Any] = {
    "lock:jobs": "leader:jobs",
    "cron:jobs": "election:jobs",
    250: 0,
}
OF_A_GROUP: dict[Any, Any] = {
    "lock:jobs": "group:jobs",
    "ck:1:ns:news:leader:jobs": "ck:1:ns:news:group:jobs",
    10_000: 9_000,
    11_000: 60_000,
}
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
    "why": "it is tired",
    "priority": 5,
    "preempt": 1,
    "channel": "ck:1:ns:news:leader:jobs",
    "heir": "you",
    "seq": 1,
    "record": RECORD.stored(),
    "replace": 0,
    "birth": "",
    "version": 0,
    "since": "+",
    "candidates": 1,
    "pause_ms": 60_000,
    "pause": "a pause",
    "by_ms": 1_700_000_104_000,
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


def last_call(op: Op[Any], *lines: Line) -> Call:
    """The script that *op* calls after these lines."""
    call = Stage().upto(op, lines)
    assert isinstance(call, Call)
    return call


def renewal_of(lease: LockLease) -> Call:
    return last_call(lock.renew(lease))


def of_elections() -> list[Call]:
    """The calls that are about an election, those of the lock's scripts among them."""
    looked: Line = ("election_look", LED)
    stands = a_standing(5, meta={"a": 1}, preempt=True)
    times: dict[str, Any] = {"ttl": 10, "handover_delay": 1.5}
    claim = a_campaign(stands, **times)
    return [
        lock.acquire_call(claim, RID, queue=True),
        lock.release_call(claim, RID, 11_000, "it is tired"),
        renewal_of(a_term(Stage(), **times)),
        last_call(OFFICE.info()),
        last_call(OFFICE.revoke("it is tired", None), looked),
        last_call(OFFICE.transfer("you", "me", "it is tired"), ("election_look", HIS)),
        last_call(
            OFFICE.pause(RID, "me", 60.0, "it is tired"), ("election_look", VACANT)
        ),
        last_call(OFFICE.resume("me"), ("election_look", PAUSED)),
    ]


def of_groups() -> list[Call]:
    """The calls that are about a group."""
    stage = Stage()
    member, gone = a_member(stage), a_member(stage)
    gone._end(Reason.EXPIRED)
    return [
        Call(*member._renewal(), 2.0),
        Call(*gone._renewal(), 2.0),
        last_call(group.leave(member)),
        last_call(group.report(a_member(stage), RECORD)),
        last_call(CIRCLE.look()),
    ]


def taking(tick: int, attempt: int) -> Op[Any]:
    due, plan = Due(Turn(tick, tick + 1), attempt), Plan(Every(60))
    return CRON._take(a_lease(Stage()), plan, "me", due, Seen(0, []))


def calls() -> list[Call]:
    """Calls of every script, as the core makes them."""
    seen: Line = ("lock_info", HELD)
    alone, places = a_claim(**ALONE), a_claim(**PLACES)
    return [
        *of_elections(),
        *of_groups(),
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
    ]


CALLS = calls()
each_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.script)


def test_every_script_is_called() -> None:
    assert {call.script for call in CALLS} == set(SCRIPTS)


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


#: What only an election says to a script that serves locks, too.
OF_ELECTIONS = {"history", "priority", "preempt", "entry", "channel", "why"}


def expected(call: Call, table: str) -> dict[int, str]:
    """What the header says stands where in such a call."""
    words = positions(call.script, table)
    if call.script in ("lock_acquire", "lock_release") and "leader" not in call.keys[0]:
        return {n: word for n, word in words.items() if word not in OF_ELECTIONS}
    return words


@each_call
def test_every_key_stands_where_the_header_says(call: Call) -> None:
    kinds = [re.sub(r"(leader|group)\.", "", key.split(":")[4]) for key in call.keys]
    assert dict(enumerate(kinds, 1)) == expected(call, "KEYS")


@each_call
def test_every_argument_stands_where_the_header_says(call: Call) -> None:
    values = {n: VALUES[word] for n, word in expected(call, "ARGV").items()}
    if call.script.startswith("group_"):
        values |= {n: OF_A_GROUP.get(v, v) for n, v in values.items()}
        values |= {2: 2} if call.script == "group_report" else {}
    if call.script == "lock_revoke" and "leader" not in call.keys[0]:
        values[2] = "asked"
    if "leader" in call.keys[0]:
        values = {n: OF_A_LEADER.get(value, value) for n, value in values.items()}
    assert dict(enumerate(call.args, 1)) == values


# -- what is answered --------------------------------------------------------------


class Word(NamedTuple):
    """A word of an answer: to what it is said, what follows it, and what it means."""

    script: str
    answer: list[Any]
    op: Callable[[], Op[Any]]
    #: the type of the result or of the error, or the reason of a loss
    means: Any
    then: tuple[Line, ...] = ()

    @property
    def word(self) -> str:
        first: Any = self.answer[0]
        return str((first[0] if isinstance(first, list) else first).decode())


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


def of_others() -> list[Word]:
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
        Word("lock_break", [b"broken"], breaking, LockInfo),
        Word("lock_break", [b"not held"], breaking, None),
        Word("lock_revoke", [b"asked"], revoking, LockInfo),
        Word("lock_revoke", [b"not held"], revoking, None),
    ]


def of_offices() -> list[Word]:
    def transferring() -> Op[Any]:
        return OFFICE.transfer("you", "me", "")

    def pausing() -> Op[Any]:
        return OFFICE.pause(RID, "me", None, "")

    led: Line = ("election_look", LED)
    again: tuple[Line, ...] = (("election_look", VACANT),)
    transfer, pause, resume = (f"election_{v}" for v in ("transfer", "pause", "resume"))
    return [
        Word("election_look", LED, OFFICE.leader, Leader),
        Word("election_look", VACANT, OFFICE.leader, None),
        Word("election_look", PAUSED, OFFICE.leader, None),
        Word(transfer, [b"asked"], transferring, Leader),
        Word(transfer, [b"not held"], transferring, NoLeader, again),
        Word(transfer, [b"nobody"], transferring, NoCandidate),
        Word(transfer, [b"several"], transferring, NoCandidate),
        Word(pause, [b"paused"], pausing, None),
        Word(pause, [b"asked"], pausing, Leader, (led,)),
        Word(pause, [b"late"], pausing, Unreachable),
        Word(resume, [b"resumed"], lambda: OFFICE.resume("me"), None),
        Word(resume, [b"not paused"], lambda: OFFICE.resume("me"), None),
    ]


def of_circles() -> list[Word]:
    def joining() -> Op[Any]:
        stage = Stage()

        def make(token: int, asked_at: float) -> MemberLease:
            assert token == 7
            return a_member(stage)

        return group.join(CIRCLE, RECORD, RID, make, now=stage.now, replace=False)

    def beating() -> Op[Any]:
        return group.beat(a_member(Stage(), rejoins=False))

    def leaving() -> Op[Any]:
        return group.leave(a_member(Stage()))

    def reporting() -> Op[Any]:
        return group.report(a_member(Stage(), rejoins=False), RECORD)

    join, beat, leave, report, look = (
        f"group_{verb}" for verb in ("join", "beat", "leave", "report", "look")
    )
    undone: tuple[Line, ...] = ((leave, [b"not ours"]),)
    reasons = [
        *(Reason.EXPIRED, Reason.STOLEN, Reason.EVICTED, Reason.DATA_LOST),
        Reason.CONFLICT,
    ]
    return [
        Word(join, [[b"joined", b"7"]], joining, MemberLease),
        Word(join, [[b"taken"]], joining, KeyConflict),
        Word(join, [[b"gone"]], joining, Reason.BROKEN, undone),
        Word(join, [[b"conflict"]], joining, KeyConflict),
        Word(beat, [b"kept"], beating, None),
        *(Word(beat, [each.encode()], beating, each) for each in reasons),
        Word(leave, [b"left"], leaving, None),
        Word(leave, [b"not ours"], leaving, None),
        Word(report, [b"reported"], reporting, None),
        Word(report, [b"gone"], reporting, Reason.EXPIRED),
        Word(look, [b"members", b"1", b"2", 3, -1, [], []], CIRCLE.look, Members),
        Word(look, [b"changes", b"1", b"2", 3, -1, []], CIRCLE.look, Members),
    ]


WORDS = [
    *(*of_locks("lock"), *of_locks("share"), *of_others()),
    *(*of_offices(), *of_circles()),
]


def test_every_word_of_every_script_is_known_here() -> None:
    known = {(word.script, word.word) for word in WORDS}
    told = {(s.name, word) for s in SCRIPTS.values() for word in s.answers()}
    assert known == told


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{word.script}: {word.word}")
def test_every_word_means_what_it_should(word: Word) -> None:
    lines: list[Line] = [(word.script, word.answer), *word.then]
    if word.script in {"lock_break", "lock_revoke"}:
        lines.insert(0, ("lock_info", HELD))
    if word.script in {"election_transfer", "election_pause", "election_resume"}:
        looked = PAUSED if word.script == "election_resume" else HIS
        lines.insert(0, ("election_look", looked))
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
