"""Groups: members that are heard of, and what they say of themselves."""

from __future__ import annotations

from typing import Any

from coordkit._core import group
from coordkit._core.group import MemberLease
from coordkit._core.members import Members
from coordkit._core.ops import Call, Op
from coordkit.errors import KeyConflict, Reason
from core.answers import said
from core.answers.said import Asked, Word, last_call
from core.props import CIRCLE, RECORD, RID, a_member
from core.script import Line, Stage

VALUES = said.VALUES | {
    "ttl_ms": 9000,
    "tomb_ms": 60_000,
    "member": "group:jobs",
    "channel": "ck:1:ns:news:group:jobs",
    "seq": 1,
    "record": RECORD.stored(),
    "replace": 0,
    "birth": "",
    "idle_ms": 86_400_000,
    "version": 0,
}


def asked() -> list[Asked]:
    """The calls that are about a group."""
    stage = Stage()
    member, gone = a_member(stage), a_member(stage)
    gone._end(Reason.EXPIRED)
    report = last_call(group.report(a_member(stage), RECORD))
    calls = [
        Call(*member._renewal(), 2.0),
        Call(*gone._renewal(), 2.0),
        last_call(group.leave(member)),
        last_call(CIRCLE.look()),
        last_call(CIRCLE.turn()),
    ]
    return [
        Asked(report, VALUES | {"seq": 2}, of="group."),
        *(Asked(call, VALUES, of="group.") for call in calls),
    ]


def words() -> list[Word]:
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

    join, beat, leave, report, look, turn = (
        f"group_{verb}" for verb in ("join", "beat", "leave", "report", "look", "turn")
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
        Word(turn, [b"turn", b"7"], CIRCLE.turn, int),
    ]


ASKED = asked()
WORDS = words()
