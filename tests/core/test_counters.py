"""Several counters at once, as operations: one trip, and what is told of the bad ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coordkit._core.counter import CounterInfo
from coordkit._core.counters import MOST_AT_ONCE
from coordkit._core.keys import BUCKETS, bucket_of
from coordkit._core.ops import Call, Op, Pipeline, Rest
from coordkit.errors import (
    KeyConflict,
    NotAllAdded,
    OutOfBounds,
    Refused,
    StaleToken,
    Unreachable,
)
from core.props import no_answer
from core.script import Line, Stage, play
from core.test_counter import SESSION, counters

AMOUNTS = {"jobs": 5, "hits": -2, "misses": 0}


def answer(*pairs: str) -> list[bytes]:
    return [word.encode() for pair in pairs for word in pair.split()]


def trips(stage: Stage) -> list[tuple[Call, ...]]:
    return [request.calls for request in stage.asked if isinstance(request, Pipeline)]


def test_several_in_one_call() -> None:
    stage = Stage()
    line: Line = (Pipeline, [answer("added 5", "added -2", "added 7")])
    op = counters().add_all(AMOUNTS, None)
    assert stage.play(op, [line]) == {"jobs": 5, "hits": -2, "misses": 7}
    (((call,),)) = trips(stage)
    assert call.script == "counter_add"
    assert [key.split(":")[-1] for key in call.keys[1::2]] == list(AMOUNTS)
    assert [call.args[n] for n in (3, 8, 13)] == [5, -2, 0]
    assert call.keys[0] == f"ck:1:ns:{{b0}}:memo:{SESSION}-0"


def test_the_token_is_for_all() -> None:
    stage = Stage()
    line: Line = (Pipeline, [answer("added 5", "stale 9", "added 7")])
    with pytest.raises(NotAllAdded) as told:
        stage.play(counters().add_all(AMOUNTS, 7), [line])
    assert told.value.added == {"jobs": 5, "misses": 7}
    assert set(told.value.failed) == {"hits"}
    assert isinstance(told.value.failed["hits"], StaleToken)
    assert "1 of 3 counters were not added to; the first: token 7" in str(told.value)
    assert trips(stage)[0][0].args[2] == 7


def test_each_has_its_own_refusal() -> None:
    line: Line = (Pipeline, [answer("bounds 9", "conflict 0", "added 1")])
    with pytest.raises(NotAllAdded) as told:
        play(counters().add_all(AMOUNTS, None), [line])
    kinds = {name: type(error) for name, error in told.value.failed.items()}
    assert kinds == {"jobs": OutOfBounds, "hits": KeyConflict}


def test_so_many_in_one_call() -> None:
    stage = Stage()
    many = {f"c{n}": 1 for n in range(2 * MOST_AT_ONCE + 1)}
    full = answer(*["added 1"] * MOST_AT_ONCE)
    line: Line = (Pipeline, [full, full, answer("added 1")])
    assert stage.play(counters().add_all(many, None), [line]) == many
    (calls,) = trips(stage)
    lanes = [call.keys[0].rpartition(":")[2] for call in calls]
    assert lanes == [f"{SESSION}-{n}" for n in range(3)], "one call a lane"


def test_in_a_cluster_each_bucket_has_its_call() -> None:
    stage = Stage()
    many = {f"c{n}": 1 for n in range(300)}

    def answers(request: Any) -> Any:
        return [answer(*["added 1"] * (len(call.keys) // 2)) for call in request.calls]

    op = counters(scatter=True).add_all(many, None)
    assert stage.improvise(op, answers) == many
    (calls,) = trips(stage)
    buckets = {bucket_of(name) for name in many}
    assert len(calls) == len(buckets)
    assert all(len({key[8:12] for key in call.keys}) == 1 for call in calls)
    assert {call.keys[0].rpartition("-")[2] for call in calls} == {"0"}, (
        "one lane will do"
    )


def test_only_what_got_no_answer_is_asked_again() -> None:
    stage = Stage()
    names = ["c0", "c1"]
    assert bucket_of("c0") != bucket_of("c1")
    lines: list[Line] = [
        (Pipeline, [no_answer(), answer("added 4")]),
        (Rest, None),
        (Pipeline, [answer("added 3")]),
    ]
    op = counters(scatter=True).add_all(dict.fromkeys(names, 1), None)
    assert stage.play(op, lines) == {"c0": 3, "c1": 4}
    first, second = trips(stage)
    assert second == (first[0],)


def test_when_nothing_was_answered_it_is_unknown() -> None:
    def nothing(request: Any) -> Any:
        return no_answer() if isinstance(request, Pipeline) else None

    with pytest.raises(Unreachable):
        Stage().improvise(counters().add_all(AMOUNTS, None), nothing)


def test_when_all_are_refused_alike_it_is_still_told_of_each() -> None:
    line: Line = (Pipeline, [Refused("no memory")])
    with pytest.raises(NotAllAdded, match=r"3 of 3 .* no memory") as told:
        play(counters().add_all(AMOUNTS, None), [line])
    assert set(told.value.failed) == set(AMOUNTS)


def test_a_counter_that_has_shards_is_asked_alone() -> None:
    lines: list[Line] = [
        (Pipeline, [answer("added 5", "shards 4", "added 0")]),
        ("counter_add", answer("shards 4")),
        ("counter_add", answer("added 3")),
    ]
    op = counters().add_all(AMOUNTS, None)
    assert play(op, lines) == {"jobs": 5, "hits": 3, "misses": 0}


def test_a_straggler_of_ours() -> None:
    with pytest.raises(Unreachable, match="a later request"):
        play(counters().add_all({"jobs": 1}, None), [(Pipeline, [[b"gone"]])])


A_LIST: Any = ["jobs"]
A_FLOAT: Any = {"jobs": 1.5}


@pytest.mark.parametrize(
    ("ask", "error", "told"),
    [
        (lambda c: c.add_all(A_LIST, None), TypeError, "amounts is a mapping of names"),
        (lambda c: c.add_all({}, None), ValueError, "amounts is empty"),
        (lambda c: c.add_all(A_FLOAT, None), TypeError, "amount for 'jobs' is an int"),
        (lambda c: c.add_all({"jobs": 2**63}, None), ValueError, "is not between"),
        (lambda c: c.add_all({"": 1}, None), ValueError, "name ''"),
        (lambda c: c.add_all({"jobs": 1}, 0), ValueError, "token 0"),
    ],
)
def test_wrong_arguments(
    ask: Callable[[Any], Op[Any]], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        ask(counters())


# -- listing -----------------------------------------------------------------------


def indexed(**buckets: list[bytes]) -> Line:
    found: list[Any] = [[] for _ in range(BUCKETS)]
    for bucket, members in buckets.items():
        found[int(bucket[1:], 16)] = members
    return (Pipeline, found)


def test_listing() -> None:
    stage = Stage()
    lines: list[Line] = [
        indexed(_b0=[b"counter:jobs", b"ring:jobs"], _00=[b"counter:hits"]),
        (Pipeline, [[b"7", b"", b""], [b"5", b"9", b""]]),
    ]
    assert stage.play(counters().listing(), lines) == [
        CounterInfo("hits", 7, 1, 0),
        CounterInfo("jobs", 5, 1, 9),
    ]
    first = trips(stage)[0]
    assert first[0] == Call("index_list", ("ck:1:ns:{00}:lasting",), (), 2.0)


def test_an_empty_listing_asks_nothing_more() -> None:
    assert play(counters().listing(), [indexed()]) == []


def test_what_is_no_counter_hides_no_other() -> None:
    names = [f"counter:{n}".encode() for n in "abcd"]
    lines: list[Line] = [
        indexed(_00=names),
        (
            Pipeline,
            [KeyConflict("list"), [b"x", b"", b""], [b"", b"3", b""], [b"1", b"", b""]],
        ),
    ]
    assert play(counters().listing(), lines) == [CounterInfo("d", 1, 1, 0)]


def test_a_silent_node_is_told() -> None:
    lines: list[Line] = [indexed(_00=[b"counter:a"]), (Pipeline, [no_answer()])]
    with pytest.raises(Unreachable):
        play(counters().listing(), lines)


def test_shards_are_summed() -> None:
    lines: list[Line] = [
        indexed(_b0=[b"counter:jobs"]),
        (Pipeline, [[b"5", b"", b"2"]]),
        (Pipeline, [[b"5", b"", b"2"]]),
        (Pipeline, [[b"5", b"", b"2", b"6", b"", b"2"]]),
    ]
    assert play(counters().listing(), lines) == [CounterInfo("jobs", 11, 2, 0)]
