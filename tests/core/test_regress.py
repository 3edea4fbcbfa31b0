"""A store that goes back in time is noticed before its lease is used."""

from __future__ import annotations

import pytest

from coordkit._core.regress import Highest
from coordkit.errors import FenceRegression


def test_tokens_rise() -> None:
    highest = Highest()
    assert highest.so_far(7) == 0
    highest.check("jobs", 7, 10, 0)
    assert highest.so_far(7) == 10
    highest.check("jobs", 7, 11, 10)
    assert highest.so_far(7) == 11


@pytest.mark.parametrize("token", [9, 10])
def test_one_that_does_not_exceed_the_floor_is_refused(token: int) -> None:
    highest = Highest()
    highest.check("jobs", 7, 10, 0)
    with pytest.raises(FenceRegression) as back:
        highest.check("jobs", 7, token, highest.so_far(7))
    assert (back.value.name, back.value.token, back.value.seen) == ("jobs", token, 10)
    assert highest.so_far(7) == 10


def test_of_two_that_asked_at_once_the_lower_may_come_last() -> None:
    highest = Highest()
    floor = highest.so_far(7)
    highest.check("jobs", 7, 12, floor)
    highest.check("jobs", 7, 11, floor)
    assert highest.so_far(7) == 12


def test_each_bucket_has_a_sequence_of_its_own() -> None:
    highest = Highest()
    highest.check("jobs", 7, 1000, 0)
    highest.check("others", 8, 10, highest.so_far(8))
    assert [highest.so_far(bucket) for bucket in (6, 7, 8)] == [0, 1000, 10]
