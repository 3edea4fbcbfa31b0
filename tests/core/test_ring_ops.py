"""What a change of a ring asks, what it does when another came first or no answer comes."""

from __future__ import annotations

from typing import Any

import pytest

from coordkit._core import ring, ring_load
from coordkit._core.ops import Call, Op, Rest
from coordkit._core.ring import Seen, Shape, Steps
from coordkit._core.ring_change import Change, wanted
from coordkit._core.ring_read import RingInfo
from coordkit._core.ring_write import MANY, PART, RingChange, points_of
from coordkit.errors import (
    DamagedRing,
    EmptyRing,
    KeyConflict,
    NoNode,
    Refused,
    RingChanged,
    Unreachable,
    Unsupported,
)
from core import rings
from core.props import no_answer
from core.rings import RING, a_ring, a_writer, after, bare, made_up
from core.script import Line, Stage, Took, play

OLD = a_ring(3)
MADE = made_up(OLD, add={"n3": 1.0})
SEEN: Line = ("ring_read", rings.whole(OLD))
DONE: Line = ("ring_commit", rings.committed(MADE.new))
LOST: Line = ("ring_commit", [b"changed", b"2"])


def adding(told: list[Seen] | None = None, known: Any = None) -> Op[RingChange]:
    return ring.apply_now(RING, wanted(add={"n3": 1.0}), a_writer(told=told), known)


# -- one change ---------------------------------------------------------------------------


def test_a_change_is_made_from_what_the_ring_is_now() -> None:
    told: list[Seen] = []
    stage = Stage()
    change = stage.play(adding(told), [SEEN, DONE])
    assert change == RingChange(
        2, rings.AT / 1000, "me", ("n3",), (), (), len(MADE.moved)
    )
    _, commit = stage.calls()
    assert commit == rings.committing(MADE)
    (seen,) = told
    assert (seen.snapshot.version, seen.snapshot.owners) == (2, MADE.new.owners)


def test_what_is_known_already_is_not_sent_again() -> None:
    stage = Stage()
    stage.play(adding(known=OLD), [("ring_read", rings.SAME), DONE])
    assert stage.calls()[0].args == (f"{rings.BIRTH} 1", 1)


def test_whoever_loses_the_race_makes_it_up_again() -> None:
    other = after(OLD, add={"n9": 1.0})
    again = made_up(other, add={"n3": 1.0})
    stage = Stage()
    lines: list[Line] = [SEEN, LOST, ("ring_read", rings.whole(other))]
    change = stage.play(adding(), [*lines, ("ring_commit", rings.committed(again.new))])
    assert change.version == 3
    first, second = (call for call in stage.calls() if call.script == "ring_commit")
    assert (first.args[2], second.args[2]) == (1, 2)
    assert first.args[0] == second.args[0], "one request, whatever it takes"


def test_it_gives_up_when_another_won_every_time() -> None:
    lines: list[Line] = [SEEN, LOST]
    lines += [("ring_read", rings.SAME), LOST] * (ring.MOST_RACES - 1)
    with pytest.raises(RingChanged, match="is at version 2, no longer at version 1"):
        play(adding(), lines)


def test_what_the_other_has_changed_may_forbid_it() -> None:
    other = after(OLD, add={"n3": 1.0})
    lines: list[Line] = [SEEN, LOST, ("ring_read", rings.whole(other))]
    with pytest.raises(KeyConflict, match="has a node 'n3' already"):
        play(adding(), lines)


def test_a_lost_answer_is_asked_for_again_with_the_same_request() -> None:
    stage = Stage()
    lines: list[Line] = [SEEN, ("ring_commit", Took(2.0, no_answer())), (Rest, None)]
    stage.play(adding(), [*lines, DONE])
    _, first, again = stage.calls()
    assert first == again._replace(timeout=first.timeout)


def test_what_stays_unknown_is_told_so() -> None:
    told: list[Seen] = []
    lines: list[Line] = [SEEN, ("ring_commit", Took(9.0, no_answer()))]
    with pytest.raises(Unreachable):
        play(adding(told), lines)
    assert told == []


def test_an_unknown_node_asks_nothing_further() -> None:
    op = ring.apply_now(RING, wanted(remove=["n9"]), a_writer(), None)
    with pytest.raises(NoNode):
        play(op, [SEEN])


# -- a ring that is not there, or not ours ---------------------------------------------------


def test_the_first_nodes_make_the_ring() -> None:
    stage = Stage()
    made = made_up(bare(slots=2**14), add={"n3": 1.0})
    lines: list[Line] = [("ring_read", rings.NONE)]
    stage.play(adding(), [*lines, ("ring_commit", rings.committed(made.new))])
    commit = stage.calls()[-1]
    rid = "r" * 32
    assert commit.args[:3] == (rid, rid, 0), "its birth is the request that made it"


@pytest.mark.parametrize(
    "change", [wanted(remove=["a"]), wanted(reweight={"a": 1.0}), Change()]
)
def test_nothing_else_makes_one(change: Change) -> None:
    with pytest.raises(EmptyRing, match="there is no ring 'jobs'"):
        play(
            ring.apply_now(RING, change, a_writer(), None), [("ring_read", rings.NONE)]
        )


def test_a_ring_is_created_once() -> None:
    form = Shape(4096, "hashed", 3)
    stage = Stage()
    made = bare(slots=4096, mode="hashed", replicas=3)
    op = ring.create(RING, form, a_writer())
    change = stage.play(op, [("ring_commit", rings.committed(after(made)))])
    assert (change.version, change.added, change.moved) == (1, (), 0)
    (commit,) = stage.calls()
    assert commit.args[2] == 0
    with pytest.raises(KeyConflict, match="a ring 'jobs' already, at version 7"):
        play(
            ring.create(RING, form, a_writer()),
            [("ring_commit", [b"changed", b"7"])],
        )


def whole(**changes: Any) -> list[Any]:
    """An answer of which something is not as it should be."""
    answer = rings.whole(OLD)
    meta = dict(zip(answer[1][::2], answer[1][1::2], strict=True))
    for field, value in changes.items():
        if value is None:
            del meta[field.encode()]
        else:
            meta[field.encode()] = value
    return [b"ring", [x for pair in meta.items() for x in pair], *answer[2:]]


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (whole(format=b"3"), Unsupported, "in format 3, this coordkit reads up to 2"),
        (whole(hash=b"md5"), Unsupported, "hashed by 'md5', not by xxh64"),
        (whole(format=b"x"), DamagedRing, "'jobs' is damaged: its meta"),
        (whole(format=None), DamagedRing, "its meta"),
        (whole(hash=None), DamagedRing, "its meta"),
        (whole(birth=None), DamagedRing, "its meta"),
        (whole(slots=b"1000"), DamagedRing, "not a power of two"),
        (whole(mode=b"random"), DamagedRing, "its meta"),
        (whole(version=b"2"), DamagedRing, "of another version"),
        (whole(version=None), DamagedRing, "its meta"),
        ([*whole()[:3], None], DamagedRing, "packed snapshot is gone"),
        ([*whole()[:3], b"x"], DamagedRing, "is no packed ring"),
        ([*whole()[:2], [], whole()[3]], DamagedRing, "of other nodes"),
        (
            [*whole()[:2], [*whole()[2], b"n9", b"?"], whole()[3]],
            DamagedRing,
            "other nodes",
        ),
        (
            [*whole()[:2], [b"n0", b"?", *whole()[2][2:]], whole()[3]],
            DamagedRing,
            "record of its node 'n0'",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_is_changed(
    answer: list[Any], error: type[Exception], says: str
) -> None:
    stage = Stage()
    with pytest.raises(error, match=says):
        stage.play(adding(), [("ring_read", answer)])
    assert len(stage.calls()) == 1


# -- many points ------------------------------------------------------------------------------


def test_many_points_are_laid_ready_in_parts() -> None:
    made = made_up(bare(slots=8192), add={f"n{i}": 1.0 for i in range(9)})
    drawn = points_of(made)
    number = len(drawn.come)
    assert number > MANY
    sizes = [min(PART, number - first) for first in range(0, number, PART)]
    stage, ready = Stage(), 0
    lines: list[Line] = []
    for size in sizes:
        ready += size
        lines.append(("ring_stage", [b"staged", ready]))
    op = ring.commit(RING, made, a_writer())
    stage.play(op, [*lines, ("ring_commit", rings.committed(made.new))])
    *parts, commit = stage.calls()
    staged = [arg for part in parts for arg in part.args]
    assert staged == [x for point in drawn.come for x in point]
    assert {part.keys for part in parts} == {commit.keys[6:7]}
    assert commit.args[10] == number
    assert commit.args[12] == "0 20 18 0 0 0", "and none of them is sent again"


def test_points_that_were_evicted_meanwhile_are_told() -> None:
    with pytest.raises(Refused, match="were evicted"):
        play(ring.commit(RING, MADE, a_writer()), [("ring_commit", [b"unready"])])


# -- plans ------------------------------------------------------------------------------------


def planned(way: Steps, told: list[Seen] | None = None) -> Op[list[RingChange]]:
    return ring.apply_plan(RING, MADE, a_writer(told=told), way)


def test_a_plan_is_one_change_unless_steps_are_asked_for() -> None:
    stage = Stage()
    (change,) = stage.play(planned(Steps(1.0, 60.0, None)), [(Rest, None), DONE])
    assert (change.version, change.added) == (2, ("n3",))
    assert stage.now == 100


def test_a_plan_in_steps_rests_between_them() -> None:
    stage, told = Stage(), list[Seen]()
    versions = list(MADE.steps(int(0.1 * 1024)))
    assert len(versions) == 3
    lines: list[Line] = [(Rest, None)]
    for n, version in enumerate(versions):
        lines += [(Rest, None)] if n else []
        lines.append(("ring_commit", rings.committed(version)))
    made: list[RingChange] = []
    changes = stage.play(planned(Steps(0.1, 60.0, made.append), told), lines)
    assert changes == made
    assert [change.version for change in changes] == [2, 3, 4]
    assert [change.added for change in changes] == [("n3",), (), ()]
    assert [change.moved for change in changes] == [102, 102, len(MADE.moved) - 204]
    assert stage.now == pytest.approx(220)
    commits = [call.args for call in stage.calls()]
    assert [args[2] for args in commits] == [1, 2, 3], "each from the one before"
    assert len({args[0] for args in commits}) == 3, "each is a request of its own"
    assert [seen.snapshot.version for seen in told] == [2, 3, 4]


def test_a_plan_of_nothing_makes_no_version() -> None:
    nothing = made_up(OLD)
    assert play(ring.apply_plan(RING, nothing, a_writer(), Steps(1, 0, None)), []) == []


def test_a_plan_whose_version_has_passed_changes_nothing_more() -> None:
    first = next(MADE.steps(102))
    lines: list[Line] = [
        (Rest, None),
        ("ring_commit", rings.committed(first)),
        (Rest, None),
    ]
    with pytest.raises(RingChanged) as passed:
        play(
            planned(Steps(0.1, 60.0, None)),
            [*lines, ("ring_commit", [b"changed", b"9"])],
        )
    assert (passed.value.expected, passed.value.version) == (2, 9)
    with pytest.raises(RingChanged, match="'jobs' is gone, no longer at version 1"):
        play(
            planned(Steps(1.0, 0.0, None)),
            [(Rest, None), ("ring_commit", [b"changed", b"0"])],
        )


@pytest.mark.parametrize(
    ("max_move", "every", "error"),
    [
        (0, 0, ValueError),
        (1.1, 0, ValueError),
        (float("nan"), 0, ValueError),
        (-0.1, 0, ValueError),
        (True, 0, TypeError),
        ("5%", 0, TypeError),
        (0.5, -1, ValueError),
        (0.5, None, TypeError),
    ],
)
def test_how_a_plan_cannot_go(
    max_move: Any, every: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ring.steps(max_move, every, None)


@pytest.mark.parametrize(
    ("form", "error", "says"),
    [
        ((1000, "balanced", 1), ValueError, "power of two"),
        ((1024, "random", 1), ValueError, "mode='random' is none of balanced, hashed"),
        ((1024, "balanced", 0), ValueError, "replicas=0 is not between 1 and 64"),
        ((1024, "balanced", 65), ValueError, "replicas=65"),
        ((1024, "balanced", 1.0), TypeError, "replicas is an int"),
        ((1024, "balanced", True), TypeError, "replicas is an int, not bool"),
    ],
)
def test_shapes_that_no_ring_has(form: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ring.shape(*form)


# -- the other questions ----------------------------------------------------------------------


def test_every_ring_of_a_namespace_and_none_that_hides_another() -> None:
    stage = Stage()

    def answer(request: Any) -> Any:
        if isinstance(request.calls[0], Call) and len(request.calls) == 256:
            return [[b"ring:a", b"ring:b", b"fence:x"], [b"ring:c"], *[[]] * 254]
        meta = rings.meta(OLD)
        return [KeyConflict("foreign"), [b"ring", meta], [b"none"]]

    (found,) = stage.improvise(ring.listing("ns", 2.0), answer)
    assert (found.name, found.version, found.nodes, found.slots) == ("b", 1, 3, 1024)


def test_info_is_without_slots() -> None:
    stage = Stage()
    found = stage.play(ring.info(RING), [("ring_read", [b"ring", rings.meta(OLD)])])
    assert found == RingInfo("jobs", 1, 1024, "balanced", 1, 3)
    assert stage.calls()[0].args == ("", 0)
    assert play(ring.info(RING), [("ring_read", rings.NONE)]) is None


@pytest.mark.parametrize(
    ("c", "error"),
    [
        (0.99, ValueError),
        (1001, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (True, TypeError),
        ("2", TypeError),
    ],
)
def test_how_nodes_cannot_be_loaded(c: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="c"):
        next(ring_load.assign(RING, "a", c))


def test_a_key_of_another_type_is_never_sent() -> None:
    ops: list[Op[Any]] = [
        ring_load.assign(RING, 7, 1.25),  # type: ignore[arg-type]
        ring_load.release(RING, 7, "r"),  # type: ignore[arg-type]
    ]
    for op in ops:
        with pytest.raises(TypeError, match="not int"):
            next(op)


def test_loads_are_told_by_name() -> None:
    answer = [b"b", b"2", b"a", b"1"]
    assert list(play(ring_load.loads(RING), [("ring_loads", answer)]).items()) == [
        ("a", 1),
        ("b", 2),
    ]
