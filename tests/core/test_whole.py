"""Whole numbers: what a caller may give."""

from __future__ import annotations

from typing import Any

import pytest

from coordkit._core.whole import LEAST, MOST, shown, whole


@pytest.mark.parametrize("value", [LEAST, -1, 0, 1, MOST])
def test_an_int_of_64_bits(value: int) -> None:
    assert whole(value, "n") == value


@pytest.mark.parametrize("value", [LEAST - 1, MOST + 1, 2**127])
def test_no_int_of_64_bits(value: int) -> None:
    told = f"n={value} is not between {-(2**63)} and {2**63 - 1}"
    with pytest.raises(ValueError, match=told):
        whole(value, "n")


@pytest.mark.parametrize(
    "value", [None, True, 1.0, float("nan"), "1", b"1", "x" * 1000]
)
def test_nothing_else(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^n is an int, not ") as refused:
        whole(value, "n")
    assert len(str(refused.value)) < 120


def test_limits_of_ones_own() -> None:
    assert whole(3, "shards", least=1, most=3) == 3
    with pytest.raises(ValueError, match=r"^shards=0 is not between 1 and 3$"):
        whole(0, "shards", least=1, most=3)


def test_a_number_that_python_refuses_to_write() -> None:
    assert shown(10**5000) == "<an int of 16610 bits>"
    with pytest.raises(ValueError, match=r"^n=<an int of 16610 bits> is not between"):
        whole(10**5000, "n")
