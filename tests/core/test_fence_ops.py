"""The fence, as operations: what is checked before anything is sent, and after."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from coordkit._core.fence import (
    LARGEST_TOKEN,
    LARGEST_VALUE,
    MOST_KEPT,
    MOST_READ,
    Entry,
    Guard,
    stored_value,
    token_number,
)
from coordkit._core.keys import fence_keys
from coordkit._core.lanes import REMEMBERED_MS, Lanes
from coordkit._core.ops import Call, Op, Rest
from coordkit.errors import Overtaken, StaleToken, Unreachable
from core.props import no_answer
from core.script import Line, Stage, play

A_NUMBER: Any = 1
SESSION = "0123456789abcdef"
AT = "ck:1:ns:{b0}:"
GUARD, VALUE, MEMO = f"{AT}guard:jobs", f"{AT}value:jobs:total", f"{AT}memo:{SESSION}-0"


def a_fence() -> Guard:
    lanes = Lanes()
    lanes.restart(SESSION)
    return Guard("jobs", fence_keys("ns", "jobs"), lanes, 2.0)


FENCE = a_fence()


@pytest.mark.parametrize("token", [1, 1_700_000_000_000_000, LARGEST_TOKEN])
def test_a_token(token: int) -> None:
    assert token_number(token) == token


@pytest.mark.parametrize("token", [0, -1, LARGEST_TOKEN + 1])
def test_no_token(token: int) -> None:
    with pytest.raises(ValueError, match=f"token {token} is not between 1 and 9007199"):
        token_number(token)
    with pytest.raises(ValueError, match="token <an int of 16610 bits> is not between"):
        token_number(10**5000)


@pytest.mark.parametrize("token", [None, True, 1.0, "1", b"1"])
def test_a_token_is_an_int(token: Any) -> None:
    kind = type(token).__name__
    with pytest.raises(TypeError, match=f"a token is an int, not {kind}: "):
        token_number(token)


def test_the_largest_token_is_exact_as_a_float() -> None:
    assert int(float(LARGEST_TOKEN)) == LARGEST_TOKEN == 2**53
    assert int(float(LARGEST_TOKEN + 1)) != LARGEST_TOKEN + 1


@pytest.mark.parametrize(
    ("value", "stored"),
    [("", b""), ("å", b"\xc3\xa5"), (b"\0\xff", b"\0\xff"), ("x" * 65_536,) * 2],
)
def test_a_value_is_stored_as_bytes(value: str | bytes, stored: bytes | str) -> None:
    assert stored_value(value) == (
        stored if isinstance(stored, bytes) else b"x" * 65_536
    )


@pytest.mark.parametrize("value", ["x" * 65_537, "å" * 40_000, b"x" * 65_537])
def test_a_value_that_is_too_large(value: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"is \d+ bytes long; allowed are 65536"):
        stored_value(value)
    assert LARGEST_VALUE == 65_536


@pytest.mark.parametrize("value", [None, 1, bytearray(b"x"), ["x"] * 1000])
def test_a_value_is_text_or_bytes(value: Any) -> None:
    with pytest.raises(TypeError, match="a value is a str or bytes, not") as refused:
        stored_value(value)
    assert len(str(refused.value)) < 200


# -- tokens ------------------------------------------------------------------------


def test_admit() -> None:
    stage = Stage()
    stage.play(FENCE.check(7), [("fence_check", [b"admitted", b"7"])])
    assert stage.asked == [Call("fence_check", (GUARD,), (7,), 2.0)]


@pytest.mark.parametrize(
    ("answer", "expected"), [(b"0", 0), (b"9007199254740992", 2**53)]
)
def test_seen(answer: bytes, expected: int) -> None:
    line: Line = ("fence_get", [answer, b"0", None])
    assert play(FENCE.seen(), [line]) == expected


@pytest.mark.parametrize(
    ("op", "script"),
    [
        (lambda: FENCE.check(7), "fence_check"),
        (lambda: FENCE.set("total", b"", 7), "fence_write"),
        (lambda: FENCE.delete("total", 7), "fence_write"),
        (lambda: FENCE.cas("total", b"", None, 7), "fence_write"),
        (lambda: FENCE.append(b"", 7, None, 9), "fence_append"),
    ],
)
def test_who_is_older_is_told_by_whom(op: Callable[[], Op[Any]], script: str) -> None:
    with pytest.raises(StaleToken) as stale:
        play(op(), [(script, [b"stale", b"9"])])
    assert (stale.value.name, stale.value.token, stale.value.seen) == ("jobs", 7, 9)
    assert str(stale.value) == "token 7 for 'jobs' is stale: 9 was seen already"


# -- values ------------------------------------------------------------------------


def written(*args: Any) -> Call:
    """The first write of a fence."""
    return Call("fence_write", (GUARD, VALUE, MEMO), (1, REMEMBERED_MS, *args), 2.0)


@pytest.mark.parametrize(
    ("write", "call"),
    [
        (lambda f: f.set("total", "å", 7), (7, "set", b"\xc3\xa5", 0, "any", b"")),
        (
            lambda f: f.set("total", b"", 7, timedelta(seconds=1.5)),
            (7, "set", b"", 1500, "any", b""),
        ),
        (lambda f: f.delete("total", 7), (7, "delete", b"", 0, "any", b"")),
        (
            lambda f: f.cas("total", "1", None, 7, 0.001),
            (7, "set", b"1", 1, "absent", b""),
        ),
        (lambda f: f.cas("total", "1", "0", 7), (7, "set", b"1", 0, "equal", b"0")),
    ],
)
def test_write(write: Callable[[Guard], Op[bool]], call: tuple[Any, ...]) -> None:
    stage = Stage()
    assert stage.play(write(a_fence()), [("fence_write", [b"done", b"7"])]) is True
    assert stage.asked == [written(*call)]


def test_what_is_not_as_expected_stays_as_it_was() -> None:
    line: Line = ("fence_write", [b"differs", b"7"])
    assert play(FENCE.cas("total", "1", "0", 7), [line]) is False


def test_a_retry_is_the_same_request_and_the_next_write_another() -> None:
    fence, stage = a_fence(), Stage()
    lost: list[Line] = [("fence_write", no_answer()), (Rest, None)]
    stage.play(fence.delete("total", 7), [*lost, ("fence_write", [b"done", b"7"])])
    stage.play(fence.delete("total", 7), [("fence_write", [b"done", b"7"])])
    calls = stage.calls()
    assert [call.args[0] for call in calls] == [1, 1, 2]
    assert {call.keys for call in calls} == {(GUARD, VALUE, MEMO)}


@pytest.mark.parametrize("script", ["fence_write", "fence_append"])
def test_what_comes_too_late_is_unknown(script: str) -> None:
    append = script == "fence_append"
    op = FENCE.append(b"", 7, None, 9) if append else FENCE.delete("total", 7)
    with pytest.raises(Unreachable, match="a later request was answered before"):
        play(op, [(script, [b"gone", b"0"])])


@pytest.mark.parametrize("value", [b"what was written", b"", None])
def test_get(value: bytes | None) -> None:
    stage = Stage()
    line: Line = ("fence_get", [b"7", b"0", value])
    assert stage.play(FENCE.get("total"), [line]) == value
    assert stage.asked == [Call("fence_get", (GUARD, VALUE), (), 2.0)]


# -- the journal -------------------------------------------------------------------


def test_append() -> None:
    stage = Stage()
    line: Line = ("fence_append", [b"appended", b"9007199254740993"])
    assert stage.play(a_fence().append("å", 7, None, 10), [line]) == 2**53 + 1
    args = (1, REMEMBERED_MS, 7, b"\xc3\xa5", "", 10)
    keys = (GUARD, f"{AT}journal:jobs", MEMO)
    assert stage.asked == [Call("fence_append", keys, args, 2.0)]


def test_somebody_was_faster() -> None:
    stage = Stage()
    with pytest.raises(Overtaken, match=r"last entry .* is 9, not 8") as overtaken:
        stage.play(
            a_fence().append(b"", 7, 8, 10), [("fence_append", [b"overtaken", b"9"])]
        )
    assert stage.calls()[0].args[4] == 8
    error = overtaken.value
    assert (error.name, error.expected, error.last) == ("jobs", 8, 9)


def test_journal() -> None:
    stage = Stage()
    answer = [b"9-7", b"one", b"10-9007199254740992", b""]
    assert stage.play(FENCE.journal(8, 2), [("fence_read", answer)]) == [
        Entry(9, 7, b"one"),
        Entry(10, 2**53, b""),
    ]
    assert stage.asked == [Call("fence_read", (f"{AT}journal:jobs",), (9, 2), 2.0)]


def test_the_last_entry() -> None:
    assert play(FENCE.last(), [("fence_get", [b"7", b"12", None])]) == 12


# -- what is refused before anything is sent -------------------------------------------


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: FENCE.set("total", "", 0), ValueError),
        (lambda: FENCE.set("", "", 7), ValueError),
        (lambda: FENCE.set("a\nb", "", 7), ValueError),
        (lambda: FENCE.set(A_NUMBER, "", 7), TypeError),
        (lambda: FENCE.set("total", A_NUMBER, 7), TypeError),
        (lambda: FENCE.set("total", "", True), TypeError),
        (lambda: FENCE.set("total", "", 7, 0), ValueError),
        (lambda: FENCE.set("total", "", 7, float("nan")), ValueError),
        (lambda: FENCE.delete("", 7), ValueError),
        (lambda: FENCE.delete("total", 2**64), ValueError),
        (lambda: FENCE.cas("total", "", "x" * 65_537, 7), ValueError),
        (lambda: FENCE.cas("total", "x" * 65_537, None, 7), ValueError),
        (lambda: FENCE.cas("total", "", A_NUMBER, 7), TypeError),
        (lambda: FENCE.get(""), ValueError),
        (lambda: FENCE.append("x" * 65_537, 7, None, 9), ValueError),
        (lambda: FENCE.append("", 0, None, 9), ValueError),
        (lambda: FENCE.append("", 7, -1, 9), ValueError),
        (lambda: FENCE.append("", 7, None, 0), ValueError),
        (lambda: FENCE.append("", 7, None, MOST_KEPT + 1), ValueError),
        (lambda: FENCE.append(A_NUMBER, 7, None, 9), TypeError),
        (lambda: FENCE.journal(-1, 9), ValueError),
        (lambda: FENCE.journal(0, 0), ValueError),
        (lambda: FENCE.journal(0, MOST_READ + 1), ValueError),
    ],
)
def test_wrong_arguments(ask: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        ask()
