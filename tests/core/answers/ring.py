"""Rings: what is stored slot by slot, and who has how much."""

from __future__ import annotations

from typing import Any

from coordkit._core import ring, ring_load, ring_write
from coordkit._core.ops import Op
from coordkit._core.ring_history import RingDiff, diff
from coordkit._core.ring_node import Node, node_record
from coordkit._core.ring_read import read_call
from coordkit._core.ring_snapshot import pack
from coordkit._core.ring_verify import verify
from coordkit._core.ring_write import RingChange
from coordkit.errors import EmptyRing, KeyConflict, Overloaded, Refused, RingChanged
from core import rings
from core.answers import said
from core.answers.said import Asked, Word, last_call
from core.props import RID
from core.rings import RING, a_writer
from core.script import Line

OLD = rings.a_ring(3)
MADE = rings.made_up(OLD, add={"n3": 1.0})
#: So many points that they are laid ready beside the old ones.
LARGE = rings.made_up(rings.bare(slots=8192), add={f"n{i}": 1.0 for i in range(9)})
VALUES = said.VALUES | {
    "tomb_ms": 11_000,
    "birth": rings.BIRTH,
    "version": OLD.version,
    "packed": pack(MADE.new),
    "channel": "ck:1:ns:news:ring:jobs",
    "member": "ring:jobs",
    "change": '{"add":["n3"]}',
    "moved": 256,
    "moves": ring_write.moves_text(MADE.moves),
    "ready": 0,
    "holder": "",
    "seen": f"{rings.BIRTH} {OLD.version}",
    "whole": 1,
    "first": "-inf",
    "last": "+inf",
    "key": b"user:42",
    "fine": 0xDC1FE,  # its hash begins so
    "c": "1.25",
}
GONE, COME, _ = DRAWN = ring_write.points_of(MADE)
#: What a commit carries besides: who gives, fields of its meta, a node with its record, and points.
LISTS = (
    *("n3", node_record(Node("n3")), *GONE),
    *(part for at in COME for part in at),
)
VALUES["lists"] = f"3 20 2 0 {len(GONE)} {2 * len(COME)}"
COMMIT = ring_write.commit_call(RING, RID, "me", MADE, DRAWN)


def asked() -> list[Asked]:
    """The calls that are about a ring."""
    calls = [
        read_call(RING, OLD),
        last_call(diff(RING, OLD.version, None)),
        last_call(verify(RING), ("ring_read", rings.whole(OLD))),
        last_call(ring.delete(RING, RID)),
        last_call(ring_load.assign(RING, "user:42", 1.25)),
        last_call(ring_load.release(RING, "user:42", RID)),
        last_call(ring_load.loads(RING)),
    ]
    stage = next(ring_write.stage_calls(RING, RID, LARGE.new))
    return [
        Asked(COMMIT, VALUES, lists=True),
        Asked(stage, VALUES, lists=True),
        *(Asked(call, VALUES) for call in calls),
    ]


def words() -> list[Word]:
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
        Word("ring_commit", [b"alive", b"n0"], committing, KeyConflict),
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
        Word("ring_delete", [b"alive", 3], deleting, KeyConflict),
        Word("ring_assign", [b"assigned", b"n1"], assigning, str),
        Word("ring_assign", [b"overloaded", 8, b"9"], assigning, Overloaded),
        Word("ring_assign", rings.NONE, assigning, EmptyRing),
        Word("ring_release", [b"released", b"n1"], releasing, str),
        Word("ring_release", [b"free"], releasing, None),
    ]


ASKED = asked()
WORDS = words()
