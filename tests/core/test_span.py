"""Spans of time: what a caller may give, and what the server is told."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit._core.span import (
    call_timeout,
    limit_seconds,
    milliseconds,
    seconds,
    ttl_seconds,
)

WEEK = 7 * 86_400
YEAR = 366 * 86_400


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.05, 0.05),
        (1, 1.0),
        (2.5, 2.5),
        (WEEK, float(WEEK)),
        (timedelta(milliseconds=50), 0.05),
        (timedelta(days=7), float(WEEK)),
    ],
)
def test_a_ttl(given: float | timedelta, expected: float) -> None:
    ttl = ttl_seconds(given)
    assert (ttl, type(ttl)) == (expected, float)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (0, "ttl=0 is not between 0.05 and 604800 s"),
        (-1, "ttl=-1 is"),
        (0.0004, "ttl=0.0004 is"),
        (0.0499, "ttl=0.0499 is"),
        (WEEK + 0.001, "ttl=604800.001 is"),
        (math.nan, "ttl=nan is"),
        (math.inf, "ttl=inf is"),
        (-math.inf, "ttl=-inf is"),
        (timedelta(0), "ttl=0.0 is"),
        (timedelta(days=8), "ttl=691200.0 is"),
        (timedelta(seconds=-1), "ttl=-1.0 is"),
    ],
)
def test_no_ttl(given: float | timedelta, shown: str) -> None:
    with pytest.raises(ValueError) as refused:
        ttl_seconds(given)
    assert str(refused.value).startswith(shown)
    assert "between 0.05 and 604800 s" in str(refused.value)


@pytest.mark.parametrize("given", [10**400, -(10**400)], ids=["huge", "-huge"])
def test_a_number_beyond_all_floats_is_out_of_range_too(given: int) -> None:
    with pytest.raises(ValueError, match="is not between"):
        ttl_seconds(given)


@pytest.mark.parametrize(
    "given", [None, True, False, "10", b"10", Decimal(10), [10], object()]
)
def test_a_span_is_a_number_or_a_timedelta(given: Any) -> None:
    with pytest.raises(TypeError) as refused:
        ttl_seconds(given)
    kind = type(given).__name__
    assert f"ttl is a number of seconds or a timedelta, not {kind}: " in str(
        refused.value
    )
    assert repr(given) in str(refused.value)


def test_a_limit() -> None:
    assert limit_seconds(None, "timeout") is None
    assert limit_seconds(0, "timeout") == 0.0
    assert limit_seconds(timedelta(minutes=1), "timeout") == 60.0
    assert limit_seconds(YEAR, "timeout") == YEAR, "longer than any ttl"


@pytest.mark.parametrize("given", [-0.001, math.nan, math.inf, YEAR + 1.0])
def test_no_limit(given: float) -> None:
    with pytest.raises(ValueError) as refused:
        limit_seconds(given, "timeout")
    assert str(refused.value).startswith(f"timeout={given!r} is not between 0 and ")


@pytest.mark.parametrize("given", [True, "1"])
def test_a_limit_is_a_number(given: Any) -> None:
    with pytest.raises(TypeError, match="timeout is a number of seconds"):
        limit_seconds(given, "timeout")


def test_bounds_are_part_of_the_range() -> None:
    assert seconds(3, "x", least=3, most=5) == 3.0
    assert seconds(5, "x", least=3, most=5) == 5.0
    with pytest.raises(ValueError, match=r"x=5\.1 is not between 3 and 5 s"):
        seconds(5.1, "x", least=3, most=5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.0, 0),
        (0.05, 50),
        (0.0501, 51),
        (1.001, 1001),  # 1000.9999999999999 by multiplication
        (0.29, 290),
        (1.1, 1100),
        (0.0000001, 1),
        (2.0004, 2001),
        (float(WEEK), 604_800_000),
    ],
)
def test_milliseconds_are_rounded_up(given: float, expected: int) -> None:
    ms = milliseconds(given)
    assert (ms, type(ms)) == (expected, int)


@given(st.floats(0.05, WEEK))
def test_the_server_never_keeps_less_than_was_asked(given: float) -> None:
    ms = milliseconds(given)
    assert given * 1000 - 1e-6 <= ms <= given * 1000 + 1


@given(st.integers(0, WEEK * 1000))
def test_whole_milliseconds_stay_as_they_are(given: int) -> None:
    assert milliseconds(given / 1000) == given


@pytest.mark.parametrize(
    ("ttl", "ceiling", "expected"),
    [
        (0.05, 2.0, 0.01),
        (5.0, 2.0, 1.0),
        (30.0, 2.0, 2.0),
        (30.0, 0.5, 0.5),
        (1.0, 0.5, 0.2),
        (604_800.0, 60.0, 2.0),
    ],
)
def test_a_call_takes_a_fifth_of_the_ttl_at_most(
    ttl: float, ceiling: float, expected: float
) -> None:
    assert call_timeout(ttl, ceiling) == pytest.approx(expected)
