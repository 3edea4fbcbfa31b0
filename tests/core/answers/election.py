"""Elections: a lock whose holder is public."""

from __future__ import annotations

from typing import Any

from coordkit._core import lock
from coordkit._core.ops import Call, Op
from coordkit._core.terms import Leader
from coordkit.errors import NoCandidate, NoLeader, Unreachable
from core.answers.lock import VALUES as OF_A_LOCK
from core.answers.lock import renewal_of
from core.answers.said import Asked, Word, last_call
from core.props import OFFICE, RID, a_campaign, a_standing, a_term, led_by, look
from core.script import Line, Stage

LED = led_by("me", term=7)
HIS = led_by("him", term=7)
VACANT = led_by(None)
PAUSED = look("paused", paused=("", "op"))
VALUES = OF_A_LOCK | {
    "hold_ms": 0,
    "member": "leader:jobs",
    "entry": "election:jobs",
    "channel": "ck:1:ns:news:leader:jobs",
    "priority": 5,
    "preempt": 1,
    "why": "it is tired",
    "heir": "you",
    "since": "+",
    "candidates": 1,
    "pause_ms": 60_000,
    "pause": "a pause",
    "by_ms": 1_700_000_104_000,
}


def calls() -> list[Call]:
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
        last_call(OFFICE.pause(RID, "me", 60.0, "it is tired"), looked),
        last_call(OFFICE.resume("me"), ("election_look", PAUSED)),
    ]


def words() -> list[Word]:
    def transferring() -> Op[Any]:
        return OFFICE.transfer("you", "me", "")

    def pausing() -> Op[Any]:
        return OFFICE.pause(RID, "me", None, "")

    led: Line = ("election_look", LED)
    his: tuple[Line, ...] = (("election_look", HIS),)
    paused: tuple[Line, ...] = (("election_look", PAUSED),)
    again: tuple[Line, ...] = (("election_look", VACANT),)
    transfer, pause, resume = (f"election_{v}" for v in ("transfer", "pause", "resume"))
    return [
        Word("election_look", LED, OFFICE.leader, Leader),
        Word("election_look", VACANT, OFFICE.leader, None),
        Word("election_look", PAUSED, OFFICE.leader, None),
        Word(transfer, [b"asked"], transferring, Leader, (), his),
        Word(transfer, [b"not held"], transferring, NoLeader, again, his),
        Word(transfer, [b"nobody"], transferring, NoCandidate, (), his),
        Word(transfer, [b"several"], transferring, NoCandidate, (), his),
        Word(pause, [b"paused"], pausing, None, (), his),
        Word(pause, [b"asked"], pausing, Leader, (led,), his),
        Word(pause, [b"late"], pausing, Unreachable, (), his),
        Word(resume, [b"resumed"], lambda: OFFICE.resume("me"), None, (), paused),
        Word(resume, [b"not paused"], lambda: OFFICE.resume("me"), None, (), paused),
    ]


ASKED = [Asked(call, VALUES, of="leader.") for call in calls()]
WORDS = words()
