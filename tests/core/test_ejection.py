"""Passive health: who fails again and again is left alone for a while, and comes back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from coordkit._core.ejection import MOST_TIMES, Ejection, ejection


def failing(
    health: Ejection, holder: str, times: int, now: float, of: int = 10
) -> bool:
    """Have it fail so often; return whether it was ejected, and not before the last."""
    said = [health.failed(holder, now, of) for _ in range(times)]
    assert not any(said[:-1])
    return said[-1]


def test_so_many_failures_in_a_row_eject() -> None:
    health = ejection(3, 30.0, 0.5)
    assert not failing(health, "a", 2, 100.0)
    health.succeeded("a")
    assert not failing(health, "a", 2, 100.0), "they were not in a row"
    assert failing(health, "a", 1, 100.0)
    assert health.ejected(100.0) == {"a": 130.0}
    assert health.ejected(129.9) == {"a": 130.0}
    assert health.ejected(130.0) == {}


def test_failures_of_who_is_ejected_are_of_questions_asked_before() -> None:
    health = ejection(2, 30.0, 0.5)
    assert failing(health, "a", 2, 100.0)
    assert not failing(health, "a", 20, 110.0)
    assert not failing(health, "a", 1, 131.0)
    assert failing(health, "a", 1, 131.0), "the second of two since it is back"


def test_each_time_is_longer_and_doing_well_takes_it_back() -> None:
    health = ejection(1, 10.0, 0.5)
    now, spans = 100.0, list[float]()
    for _ in range(MOST_TIMES + 2):
        assert failing(health, "a", 1, now)
        spans.append(health.ejected(now)["a"] - now)
        now = health.ejected(now)["a"]
    assert spans == [10.0 * min(n, MOST_TIMES) for n in range(1, MOST_TIMES + 3)]
    now += 35.0  # well for three base times: three of ten are taken back
    assert failing(health, "a", 1, now)
    assert health.ejected(now)["a"] == now + 80.0
    now += 80.0 + 10_000.0
    assert failing(health, "a", 1, now)
    assert health.ejected(now)["a"] == now + 10.0


@pytest.mark.parametrize(
    ("most", "of", "expected"),
    [(0.5, 10, 5), (0.5, 3, 1), (0.5, 1, 1), (0.1, 10, 1), (1.0, 4, 4), (0.0, 10, 0)],
)
def test_at_most_a_part_is_ejected_at_once(most: float, of: int, expected: int) -> None:
    health = ejection(1, 30.0, most)
    said = [health.failed(f"m{n}", 100.0, of) for n in range(of)]
    assert said.count(True) == expected
    assert len(health.ejected(100.0)) == expected


def test_who_could_not_be_ejected_is_when_another_is_back() -> None:
    health = ejection(3, 30.0, 0.5)
    assert failing(health, "a", 3, 100.0, of=2)
    assert not failing(health, "b", 3, 120.0, of=2)
    assert failing(health, "b", 1, 130.0, of=2)


def test_who_is_a_member_no_more_is_forgotten() -> None:
    health = ejection(1, 30.0, 1.0)
    for holder in ("a", "b"):
        assert failing(health, holder, 1, 100.0)
    health.keep({"b"})
    assert list(health.ejected(100.0)) == ["b"]
    health.succeeded("nobody")


NO_NUMBER: Any = "x"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((0, 30.0, 0.5), ValueError, "max_failures=0 is not between 1 and"),
        ((True, 30.0, 0.5), TypeError, "max_failures is an int, not bool: True"),
        ((1.5, 30.0, 0.5), TypeError, "max_failures is an int, not float: 1.5"),
        ((5, 0.0, 0.5), ValueError, r"ejection=0.0 is not between 0.01 and 86400 s"),
        ((5, float("nan"), 0.5), ValueError, "ejection=nan"),
        ((5, NO_NUMBER, 0.5), TypeError, "ejection is a number of seconds"),
        ((5, 30.0, 1.1), ValueError, "max_ejected=1.1 is not between 0 and 1"),
        ((5, 30.0, -0.1), ValueError, "max_ejected=-0.1"),
        ((5, 30.0, NO_NUMBER), TypeError, "max_ejected is a number, not str: 'x'"),
    ],
)
def test_wrong_arguments(
    given: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ejection(*given)


def test_a_span_may_be_a_timedelta() -> None:
    health = ejection(1, timedelta(minutes=1), 0.5)
    assert failing(health, "a", 1, 100.0)
    assert health.ejected(100.0) == {"a": 160.0}
