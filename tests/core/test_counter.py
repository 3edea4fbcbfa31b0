"""One counter, as operations: what is asked for, once, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coordkit._core.counter import TRIES, CounterInfo, Tally
from coordkit._core.counters import Counters
from coordkit._core.keys import counter_keys
from coordkit._core.lanes import CHOSEN_MS, REMEMBERED_MS, Lanes, chosen
from coordkit._core.ops import Call, Op, Pipeline, Rest
from coordkit._core.whole import LEAST, MOST
from coordkit.errors import (
    KeyConflict,
    OutOfBounds,
    StaleToken,
    Unreachable,
    Unsupported,
)
from core.props import no_answer, not_sent
from core.script import Line, Stage, Took, play

SESSION = "0123456789abcdef"
HOME = "ck:1:ns:{b0}:"
MEMO = f"{HOME}memo:{SESSION}-0"
KEYS = (MEMO, f"{HOME}counter:jobs", f"{HOME}lasting")
ANY = (1 - 2**63, 2**63 - 2)


def counters(*, scatter: bool = False) -> Counters:
    lanes = Lanes()
    lanes.restart(SESSION)
    return Counters("ns", lanes=lanes, timeout=2.0, scatter=scatter)


def tally(shards: int | None = None, *, scatter: bool = False) -> Tally:
    return counters(scatter=scatter).tally("jobs", shards)


def said(verdict: str, number: int | str = 0) -> Line:
    return ("counter_add", [verdict.encode(), str(number).encode()])


def keys_of(call: Any) -> list[str]:
    return [key.split(":", 3)[3] for key in call.keys]


# -- adding ------------------------------------------------------------------------


def test_add() -> None:
    stage = Stage()
    assert stage.play(tally().add(5), [said("added", 12)]) == 12
    args = (1, REMEMBERED_MS, "", 5, -(2**63) - 5, 2**63 - 6, "", "counter:jobs")
    assert stage.asked == [Call("counter_add", KEYS, args, 2.0)]


def test_every_option_stands_in_its_place() -> None:
    stage = Stage()
    op = tally(1).add(-3, token=7, at_least=0, at_most=10, rid="message-7")
    assert stage.play(op, [said("added", -0)]) == 0
    lane = chosen("jobs", "message-7")
    (call,) = stage.calls()
    assert call.keys == (f"{HOME}memo:{lane.id}", *KEYS[1:])
    assert call.args == (1, CHOSEN_MS, 7, -3, 3, 13, "1", "counter:jobs")


@pytest.mark.parametrize("value", [LEAST, -(2**53) - 1, 2**53 + 1, MOST])
def test_values_are_exact(value: int) -> None:
    assert play(tally().add(1), [said("added", value)]) == value


@pytest.mark.parametrize("error", [no_answer, not_sent])
def test_a_retry_is_the_same_request(error: Callable[[], Unreachable]) -> None:
    stage, counter = Stage(), tally()
    lost: list[Line] = [("counter_add", error()), (Rest, None)]
    assert stage.play(counter.add(5), [*lost, *lost, said("added", 5)]) == 5
    first, *retries = stage.calls()
    assert len(retries) == 2
    assert all((r.keys, r.args) == (first.keys, first.args) for r in retries)
    stage.play(counter.add(5), [said("added", 10)])
    following = stage.calls()[-1]
    assert following.keys == first.keys, "its lane is free"
    assert following.args[0] == 2, "and it is another request"


def test_what_was_not_answered_is_told() -> None:
    lines: list[Line] = [
        ("counter_add", Took(2.0, no_answer())),
        (Rest, None),
        ("counter_add", Took(2.0, no_answer())),
    ]
    stage, counter = Stage(), tally()
    with pytest.raises(Unreachable):
        stage.play(counter.add(5), lines)
    # Its lane is used by the next request: a straggler comes too late from then on.
    stage.play(counter.add(5), [said("added", 5)])
    assert stage.calls()[-1].args[0] == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()])
def test_who_is_interrupted_gives_the_lane_back(error: BaseException) -> None:
    stage, counter = Stage(), tally()
    op = counter.add(5)
    stage.upto(op, [])
    with pytest.raises(type(error)):
        op.throw(error)
    stage.play(counter.add(5), [said("added", 5)])
    assert stage.calls()[-1].keys == KEYS


def test_two_at_once_have_two_lanes() -> None:
    counter = tally()
    first, second = counter.add(1), counter.add(1)
    asked = [next(first), next(second)]
    assert [call.keys[0] for call in asked if isinstance(call, Call)] == [
        f"{HOME}memo:{SESSION}-{n}" for n in range(2)
    ]


def test_a_request_that_its_lane_has_left_behind_is_unknown() -> None:
    with pytest.raises(Unreachable, match="a later request was answered before"):
        play(tally().add(1), [("counter_add", [b"gone"])])


def test_refusals() -> None:
    with pytest.raises(StaleToken) as stale:
        play(tally().add(1, token=7), [said("stale", 9)])
    assert (stale.value.name, stale.value.token, stale.value.seen) == ("jobs", 7, 9)
    with pytest.raises(OutOfBounds, match="stands at 8: adding 5 would leave") as out:
        play(tally().add(5, at_most=10), [said("bounds", 8)])
    error = out.value
    assert (error.name, error.amount, error.value) == ("jobs", 5, 8)
    assert (error.at_least, error.at_most) == (LEAST, 10)
    with pytest.raises(KeyConflict, match="'jobs' holds something else"):
        play(tally().add(1), [said("conflict")])
    with pytest.raises(KeyConflict, match="'jobs' holds something else"):
        play(tally().add(1), [said("bounds", "1.5")])


# -- what is refused before anything is asked ------------------------------------------

A_FLOAT: Any = 1.5
A_BOOL: Any = True


@pytest.mark.parametrize(
    ("ask", "error", "told"),
    [
        (lambda t: t.add(2**63), ValueError, "n=9223372036854775808 is not between"),
        (lambda t: t.add(-(2**63) - 1), ValueError, "is not between"),
        (lambda t: t.add(A_FLOAT), TypeError, "n is an int, not float: 1.5"),
        (lambda t: t.add(A_BOOL), TypeError, "n is an int, not bool: True"),
        (
            lambda t: t.add(1, at_least=2**63),
            ValueError,
            "at_least=9223372036854775808",
        ),
        (
            lambda t: t.add(1, at_most=A_FLOAT),
            TypeError,
            "at_most is an int, not float",
        ),
        (
            lambda t: t.add(1, at_least=3, at_most=2),
            ValueError,
            "at_least=3 is higher than at_most=2",
        ),
        (lambda t: t.add(1, token=0), ValueError, "token 0 is not between 1 and"),
        (lambda t: t.add(1, token=A_FLOAT), TypeError, "a token is an int"),
        (lambda t: t.add(1, rid="a\nb"), ValueError, "rid"),
        (lambda t: t.set(2**63), ValueError, "value=9223372036854775808 is not"),
        (lambda t: t.set(1, token=-1), ValueError, "token -1 is not between"),
        (lambda t: t.delete(token=A_BOOL), TypeError, "a token is an int"),
    ],
)
def test_wrong_arguments(
    ask: Callable[[Tally], Op[Any]], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        ask(tally())


@pytest.mark.parametrize("shards", [0, -1, 257])
def test_no_number_of_shards(shards: int) -> None:
    with pytest.raises(ValueError, match=f"shards={shards} is not between 1 and 256"):
        tally(shards)


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: t.add(1, token=7),
        lambda t: t.add(1, at_least=0),
        lambda t: t.add(1, at_most=0),
        lambda t: t.set(1, token=7),
        lambda t: t.delete(token=7),
    ],
)
def test_a_sharded_counter_is_neither_fenced_nor_bounded(
    ask: Callable[[Tally], Op[Any]],
) -> None:
    told = "'jobs' has 16 shards: a token or a bound cannot be checked in all"
    with pytest.raises(ValueError, match=told):
        ask(tally(16))


# -- shards ------------------------------------------------------------------------


def test_the_first_add_goes_where_the_number_of_shards_stands() -> None:
    stage, counter = Stage(), tally(16)
    stage.play(counter.add(1), [said("added", 1)])
    (call,) = stage.calls()
    assert (call.keys, call.args[-2:]) == (KEYS, ("16", "counter:jobs"))
    for _ in range(64):
        stage.play(counter.add(1), [said("added", 1)])
    homes = [keys_of(call)[1] for call in stage.calls()[1:]]
    every = {f"{{{0xB0 + n:02x}}}:counter:jobs" for n in range(16)}
    assert set(homes) == every, "and the next ones to each"
    others = [c for c in stage.calls() if "{b0}" not in c.keys[1]]
    assert {call.args[-1] for call in others} == {""}, "a shard registers nowhere"


def test_who_does_not_know_learns_it() -> None:
    stage, counter = Stage(), tally()
    assert stage.play(counter.add(5), [said("shards", 4), said("added", 5)]) == 5
    assert [call.args[-2] for call in stage.calls()] == ["", "4"]
    assert stage.calls()[0].args[0] == stage.calls()[1].args[0], "one request"
    with pytest.raises(ValueError, match="has 4 shards"):
        counter.add(1, token=7)


def test_who_wants_others_is_told() -> None:
    with pytest.raises(KeyConflict, match="'jobs' has 4 shards, not 16"):
        play(tally(16).add(5), [said("shards", 4)])
    with pytest.raises(KeyConflict, match="'jobs' has 4 shards, not 1"):
        play(tally(1).add(5), [said("shards", 4)])


def test_a_token_meets_shards_that_nobody_knew_of() -> None:
    with pytest.raises(Unsupported, match="has 4 shards"):
        play(tally().add(5, token=7), [said("shards", 4)])


def test_a_shard_is_made_once_the_first_says_how_many_there_are() -> None:
    stage, counter = Stage(), tally(16)
    stage.play(counter.add(1), [said("added", 1)])
    lines = [said("absent"), said("added", 1), said("added", 5)]
    assert stage.play(counter.add(5), lines) == 5
    _, absent, claim, made = stage.calls()
    assert claim.keys[1] == f"{HOME}counter:jobs"
    assert (claim.args[3], claim.args[-1]) == (0, "counter:jobs"), "it adds nothing"
    assert claim.keys[0] != absent.keys[0], "on a lane of its own"
    assert (made.keys, made.args[:-1]) == (absent.keys, absent.args[:-1])
    assert (absent.args[-1], made.args[-1]) == ("", "+")


def test_shards_that_do_not_agree() -> None:
    lines = [said("shards", 4 + n) for n in range(TRIES)]
    with pytest.raises(KeyConflict, match="do not agree how many they are"):
        play(tally().add(1), lines)


def test_a_request_that_may_come_back_finds_its_shard() -> None:
    """Whoever asks: so it is known how many there are before it is asked."""
    lane = chosen("jobs", "message-7")
    shard = (lane.spread + 1) % 16
    wanted = f"ck:1:ns:{{{(0xB0 + shard) % 256:02x}}}:memo:{lane.id}"
    fresh, knowing = tally(16), tally(16)
    play(knowing.add(1), [said("added", 1)])
    stage = Stage()
    stage.play(fresh.add(1, rid="message-7"), [said("added"), said("added", 1)])
    stage.play(knowing.add(1, rid="message-7"), [said("added", 1)])
    claim, first, second = stage.calls()
    assert claim.args[3] == 0
    assert first.keys[0] == second.keys[0] == wanted


# -- reading -----------------------------------------------------------------------


def got(*told: bytes) -> Line:
    return (Pipeline, [list(told)])


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ((b"", b"", b""), 0),
        ((b"-7", b"", b""), -7),
        ((str(MOST).encode(), b"", b""), MOST),
    ],
)
def test_value(told: tuple[bytes, ...], value: int) -> None:
    stage = Stage()
    assert stage.play(tally().value(), [got(*told)]) == value
    call = Call("counter_get", (KEYS[1],), (), 2.0)
    assert stage.asked == [Pipeline((call,), 2.0)]


def test_the_value_of_shards_is_their_sum_at_one_instant() -> None:
    stage = Stage()
    lines = [
        got(b"5", b"", b"3"),
        got(b"5", b"", b"3", b"", b"", b"", b"-7", b"", b"3"),
    ]
    assert stage.play(tally().value(), lines) == -2
    (call,) = stage.asked[-1].calls  # type: ignore[union-attr]  # a trip
    assert [key[9:11] for key in call.keys] == ["b0", "b1", "b2"]


def test_of_a_cluster_each_shard_is_a_call() -> None:
    stage = Stage()
    answer = [[b"5", b"", b"2"], [b"6", b"", b"2"]]
    assert stage.play(tally(2, scatter=True).value(), [(Pipeline, answer)]) == 11
    assert len(stage.asked[0].calls) == 2  # type: ignore[union-attr]  # a trip
    with pytest.raises(Unreachable):
        play(tally(2, scatter=True).value(), [(Pipeline, [answer[0], no_answer()])])


def test_reading_a_counter_with_other_shards() -> None:
    with pytest.raises(KeyConflict, match="has 3 shards, not 2"):
        play(tally(2).value(), [got(b"5", b"", b"3", b"", b"", b"")])
    with pytest.raises(KeyConflict, match="has 1 shards, not 2"):
        play(tally(2).value(), [got(b"5", b"", b"", b"", b"", b"")])


def test_of_a_deleted_counter_only_its_memory_is_left() -> None:
    told = CounterInfo("jobs", 0, 2, 9)
    lines = [got(b"", b"9", b"3", b"", b"", b"")]
    assert play(tally(2).info(), lines) == told, "it may have other shards now"


@pytest.mark.parametrize("told", [b"1.5", b"x", b"9" * 5000])
def test_a_value_that_is_no_number(told: bytes) -> None:
    with pytest.raises(KeyConflict, match="'jobs' holds something else"):
        play(tally().value(), [got(told, b"", b"")])


# -- replacing ---------------------------------------------------------------------


def test_set_and_delete() -> None:
    stage, counter = Stage(), tally()
    line: Line = (Pipeline, [[b"set", b"-5"]])
    assert stage.play(counter.set(7, token=3), [line]) == -5
    assert stage.play(counter.delete(), [line]) == -5
    calls = [
        request.calls[0] for request in stage.asked if isinstance(request, Pipeline)
    ]
    assert [call.script for call in calls] == ["counter_set"] * 2
    keys = (MEMO, f"{HOME}lasting", f"{HOME}counter:jobs")
    assert [call.keys for call in calls] == [keys] * 2
    week = 7 * 86_400_000
    assert calls[0].args == (1, REMEMBERED_MS, 3, "7", "", "counter:jobs", week)
    assert calls[1].args == (2, REMEMBERED_MS, "", "", "", "counter:jobs", week)


def test_a_lost_answer_to_set_is_asked_for_again() -> None:
    stage = Stage()
    lines: list[Line] = [
        (Pipeline, no_answer()),
        (Rest, None),
        (Pipeline, [[b"set", b"0"]]),
    ]
    assert stage.play(tally().set(7), lines) == 0
    first, _, second = stage.asked
    assert first == second


def test_refusals_to_set() -> None:
    with pytest.raises(StaleToken):
        play(tally().set(1, token=7), [(Pipeline, [[b"stale", b"9"]])])
    with pytest.raises(KeyConflict):
        play(tally().set(1), [(Pipeline, [[b"conflict"]])])
    with pytest.raises(Unreachable, match="a later request"):
        play(tally().set(1), [(Pipeline, [[b"gone"]])])


def test_set_learns_of_shards_and_takes_them_all() -> None:
    stage = Stage()
    lines: list[Line] = [
        (Pipeline, [[b"shards", b"3"]]),
        (Pipeline, [[b"set", b"1", b"2", b"3"]]),
    ]
    assert stage.play(tally().set(7), lines) == 6
    (call,) = stage.asked[-1].calls  # type: ignore[union-attr]  # a trip
    assert [key.split(":")[4] for key in call.keys] == [
        "memo",
        "lasting",
        *["counter"] * 3,
    ]
    assert call.args[4] == "3"


def test_in_a_cluster_each_shard_has_a_call_and_a_memo() -> None:
    stage = Stage()
    answers = [[b"set", b"1"], [b"set", b"2"]]
    assert stage.play(tally(2, scatter=True).set(7), [(Pipeline, answers)]) == 3
    first, second = stage.asked[0].calls  # type: ignore[union-attr]  # a trip
    assert (first.args[3], second.args[3]) == ("7", ""), "the first has it all"
    assert [keys_of(call)[0][:10] for call in (first, second)] == [
        "{b0}:memo:",
        "{b1}:memo:",
    ]


def test_repr_shows_shards_that_were_asked_for() -> None:
    assert tally().shown() == "'jobs'"
    assert tally(16).shown() == "'jobs' shards=16"
    assert counter_keys("ns", "jobs", 80).counter == "ck:1:ns:{00}:counter:jobs"
