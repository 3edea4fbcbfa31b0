"""The fence, as operations: what is checked before anything is sent, and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coordkit._core.fence import (
    LARGEST_TOKEN,
    LARGEST_VALUE,
    Guard,
    stored_value,
    token_number,
)
from coordkit._core.ops import Call, Op
from coordkit.errors import StaleToken
from core.script import Line, Stage, play

A_NUMBER: Any = 1
KEY = "ck:1:ns:{b0}:guard:jobs"
FENCE = Guard("jobs", KEY, 2.0)


@pytest.mark.parametrize("token", [1, 1_700_000_000_000_000, LARGEST_TOKEN])
def test_a_token(token: int) -> None:
    assert token_number(token) == token


@pytest.mark.parametrize("token", [0, -1, LARGEST_TOKEN + 1])
def test_no_token(token: int) -> None:
    with pytest.raises(ValueError, match=f"token {token} is not between 1 and 9007199"):
        token_number(token)


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


def test_admit() -> None:
    stage = Stage()
    stage.play(FENCE.check(7), [("fence_check", [b"admitted", b"7"])])
    assert stage.asked == [Call("fence_check", (KEY,), (7, "", b""), 2.0)]


def test_write() -> None:
    stage = Stage()
    stage.play(FENCE.set("total", "å", 7), [("fence_check", [b"admitted", b"7"])])
    assert stage.asked == [Call("fence_check", (KEY,), (7, "total", b"\xc3\xa5"), 2.0)]


@pytest.mark.parametrize(
    "op",
    [lambda: FENCE.check(7), lambda: FENCE.set("total", b"", 7)],
)
def test_who_is_older_is_told_by_whom(op: Callable[[], Op[None]]) -> None:
    with pytest.raises(StaleToken) as stale:
        play(op(), [("fence_check", [b"stale", b"9"])])
    assert (stale.value.name, stale.value.token, stale.value.seen) == ("jobs", 7, 9)
    assert str(stale.value) == "token 7 for 'jobs' is stale: 9 was seen already"


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: FENCE.set("total", "", 0), ValueError),
        (lambda: FENCE.set("", "", 7), ValueError),
        (lambda: FENCE.set("a\nb", "", 7), ValueError),
        (lambda: FENCE.set(A_NUMBER, "", 7), TypeError),
        (lambda: FENCE.set("total", A_NUMBER, 7), TypeError),
        (lambda: FENCE.set("total", "", True), TypeError),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(
    ask: Callable[[], Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        ask()


@pytest.mark.parametrize("value", [b"what was written", b"", None])
def test_get(value: bytes | None) -> None:
    stage = Stage()
    line: Line = ("fence_get", [b"7", value])
    assert stage.play(FENCE.get("total"), [line]) == value
    assert stage.asked == [Call("fence_get", (KEY,), ("total",), 2.0)]


@pytest.mark.parametrize(
    ("answer", "expected"), [(b"0", 0), (b"9007199254740992", 2**53)]
)
def test_seen(answer: bytes, expected: int) -> None:
    stage = Stage()
    assert stage.play(FENCE.seen(), [("fence_get", [answer, None])]) == expected
    assert stage.asked == [Call("fence_get", (KEY,), ("",), 2.0)]
