"""When what happens to a lease: every time line that is accepted holds together."""

from __future__ import annotations

import re

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_cli._exit import Failure
from coordkit_cli._timeline import (
    LEAST_MARGIN,
    LONGEST_GRACE,
    MOST_MARGIN,
    USUAL_GRACE,
    time_line,
)

ttls = st.floats(0.05, 7 * 86_400.0)
graces = st.none() | st.floats(0.0, LONGEST_GRACE)


@given(ttls, graces)
def test_what_is_accepted_fits_and_what_is_refused_says_what_would(
    ttl: float, grace: float | None
) -> None:
    try:
        line = time_line(ttl, grace)
    except Failure as refused:
        _check_advice(str(refused), ttl, grace)
        return
    assert 0 <= line.grace == (line.grace if grace is None else grace)
    instants = (line.ttl / 3, line.renew_by, line.stop_at, line.kill_at, line.ends_at)
    assert list(instants) == sorted(instants)
    assert line.ends_at < line.ttl
    assert LEAST_MARGIN <= line.margin <= MOST_MARGIN


def _check_advice(told: str, ttl: float, grace: float | None) -> None:
    """What it says to type is accepted."""
    (longer,) = re.findall(r"--ttl ([0-9]+)s at least", told)
    time_line(float(longer), grace)
    for shorter in re.findall(r"--kill-after ([0-9.]+)s at most", told):
        time_line(ttl, float(shorter))


def test_the_usual() -> None:
    line = time_line(30.0, None)
    assert (line.grace, line.margin) == (USUAL_GRACE, 1.5)
    assert line.stop_at == pytest.approx(18.198)


def test_what_does_not_fit_is_78_and_what_never_fits_is_wrong_usage() -> None:
    with pytest.raises(Failure) as refused:
        time_line(30.0, 20.0)
    assert refused.value.code == 78
    with pytest.raises(click.UsageError, match="--kill-after is 3d at most"):
        time_line(30.0, LONGEST_GRACE + 1)


@pytest.mark.parametrize("ttl", [0.0, 0.049, 7 * 86_400 + 1, float("nan")])
def test_a_ttl_that_is_none_is_wrong_usage(ttl: float) -> None:
    with pytest.raises(click.UsageError, match="is not between"):
        time_line(ttl, None)
