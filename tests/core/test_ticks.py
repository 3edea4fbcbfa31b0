"""When something is due: which tick an instant belongs to, and when the next one's turn is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit._core.ticks import Every, Schedule, Ticks, shown

BERLIN = ZoneInfo("Europe/Berlin")
S, M, H, D = 1000, 60_000, 3_600_000, 86_400_000
T0 = 1_795_694_400_000  # 2026-11-26 12:00 UTC


def ms(text: str, zone: Any = UTC) -> int:
    instant = datetime.fromisoformat(text)
    instant = instant if instant.tzinfo else instant.replace(tzinfo=zone)
    return int(instant.timestamp() * 1000)


def tick(schedule: Ticks, text: str, zone: Any = UTC) -> str:
    """Return the tick that is asked for at that instant, in the zone."""
    at = schedule.turn(ms(text, zone), None).tick
    return datetime.fromtimestamp(at / 1000, zone).isoformat(" ", "minutes")[:16]


# -- a schedule ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-26 12:00:00", "2026-11-26 12:00"),
        ("2026-11-26 11:59:40", "2026-11-26 12:00"),  # early by 20 s
        ("2026-11-26 11:59:29", "2026-11-26 11:45"),
        ("2026-11-26 12:00:20", "2026-11-26 12:00"),
        ("2026-11-26 12:14:29", "2026-11-26 12:00"),
    ],
)
def test_an_instant_belongs_to_the_last_tick_or_to_one_that_is_near(
    at: str, expected: str
) -> None:
    assert tick(Schedule("*/15 * * * *"), at) == expected


def test_late_by_hours_is_still_that_tick() -> None:
    """Who was switched off at night asks in the evening: not for the next night's."""
    nightly = Schedule("0 0 * * *")
    assert tick(nightly, "2026-11-26 18:00") == "2026-11-26 00:00"
    assert tick(nightly, "2026-11-26 23:59:31") == "2026-11-27 00:00"


def test_early_is_never_more_than_half_way() -> None:
    each_minute = Schedule("* * * * *", early=600)
    assert tick(each_minute, "2026-11-26 11:59:31") == "2026-11-26 12:00"
    assert tick(each_minute, "2026-11-26 11:59:29") == "2026-11-26 11:59"


def test_a_turn_ends_where_the_next_begins() -> None:
    schedule = Schedule("*/15 * * * *")
    for at in (T0, T0 + 5 * M, T0 - 20 * S):
        turn = schedule.turn(at, None)
        assert turn.tick == T0
        assert turn.until == T0 + 15 * M - 30 * S
        assert schedule.turn(int(turn.until) - 1, None).tick == T0
        assert schedule.turn(int(turn.until), None).tick == T0 + 15 * M


EXPRESSIONS = st.sampled_from(
    [
        *("* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "0 3 * * 1-5"),
        *("0 */5 * * *", "15,45 1-3 * * *", "0 12 1 * *", "30 2 29 2 *", "@weekly"),
    ]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
AROUND_CHANGES = st.integers(0, 370 * 24 * 60).map(lambda m: T0 + m * M)


@given(EXPRESSIONS, ZONES, AROUND_CHANGES)
def test_turns_follow_each_other_without_a_gap_or_a_step_back(
    text: str, zone: str, at: int
) -> None:
    schedule = Schedule(text, zone)
    turn = schedule.turn(at, None)
    assert turn.tick - schedule.early <= at < turn.until
    following = schedule.turn(int(turn.until), None)
    assert following.tick > turn.tick
    assert following.tick <= turn.until + schedule.early
    assert schedule.turn(turn.tick, None).tick == turn.tick, "it is its own"


# In Berlin 2026 the clock goes from 2:00 to 3:00 on 29 March, and on 25 October from 3:00
# to 2:00.


def test_what_falls_into_the_hour_left_out_is_due_right_after_it() -> None:
    nightly = Schedule("30 2 * * *", "Europe/Berlin")
    assert tick(nightly, "2026-03-28 23:00", BERLIN) == "2026-03-28 02:30"
    assert tick(nightly, "2026-03-29 01:00+00:00", BERLIN) == "2026-03-29 03:00"
    assert tick(nightly, "2026-03-30 02:30", BERLIN) == "2026-03-30 02:30"


def test_what_falls_into_the_hour_that_comes_twice_is_due_once() -> None:
    nightly = Schedule("30 2 * * *", "Europe/Berlin")
    first = ms("2026-10-25 00:30+00:00")  # 2:30 for the first time
    for minutes in (0, 10, 45, 60, 90, 300):
        assert nightly.turn(first + minutes * M, None).tick == first
    assert nightly.turn(first + D + H, None).tick == first + D + H


def test_what_is_due_each_hour_goes_on_as_time_does() -> None:
    hourly = Schedule("0 * * * *", "Europe/Berlin")
    for begin in ("2026-10-24 22:00+00:00", "2026-03-28 22:00+00:00"):
        at = ms(begin)
        ticks = [hourly.turn(at + n * H, None).tick for n in range(8)]
        assert {b - a for a, b in pairwise(ticks)} == {H}


def test_days_of_local_time_are_as_long_as_they_are() -> None:
    nightly = Schedule("0 3 * * *", "Europe/Berlin")
    noon = datetime(2026, 3, 27, 12, tzinfo=BERLIN)
    ticks = [
        nightly.turn(int((noon + timedelta(days=n)).timestamp()) * 1000, None).tick
        for n in range(4)
    ]
    assert [b - a for a, b in pairwise(ticks)] == [D, D - H, D]


@pytest.mark.parametrize(
    ("text", "zone", "says"),
    [
        ("", "UTC", "minute, hour, day, month and day of the week"),
        ("* * * *", "UTC", "it takes minute, hour"),
        ("* * * * * *", "UTC", "it takes minute, hour"),
        ("@reboot", "UTC", "it takes minute, hour"),
        ("61 * * * *", "UTC", "'61 * * * *' is no schedule: Bad minute"),
        ("0 0 31 2 *", "UTC", "Bad day-of-month"),
        ("0 0 1 * *", "Mars/Olympus", "'Mars/Olympus' is no time zone"),
        ("0 0 1 * *", "../etc/passwd", "is no time zone"),
        ("0 0 1 * *", "", "is no time zone"),
    ],
)
def test_what_is_no_schedule_is_told(text: str, zone: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"no (schedule|time zone)") as refused:
        Schedule(text, zone)
    assert says in str(refused.value)


def test_nicknames_are_cron_s() -> None:
    assert tick(Schedule("@daily"), "2026-11-26 12:00") == "2026-11-26 00:00"
    assert tick(Schedule("@HOURLY"), "2026-11-26 12:10") == "2026-11-26 12:00"


# -- every so often --------------------------------------------------------------------------


def run(every: Every, asks: list[int]) -> list[int]:
    """Return the instants at which a tick was run, of all at which somebody asked."""
    last: int | None = None
    ran: list[int] = []
    for at in sorted(asks):
        turn = every.turn(at, last)
        if turn.tick != last:
            assert last is None or turn.tick > last
            ran.append(at)
            last = turn.tick
        assert turn.until > at
    return ran


def test_the_first_ask_ever_is_due() -> None:
    assert Every(3600).turn(T0 + 5017, None) == (T0 + 5000, T0 + 5000 + 0.65 * H)


def test_clocks_that_differ_ask_for_the_same_tick() -> None:
    asks = [T0 + n * D + skew * S for n in range(50) for skew in (-20, -7, 0, 11, 20)]
    ran = run(Every(86_400), asks)
    assert [round((at - T0) / D) for at in ran] == list(range(50))


@pytest.mark.parametrize("hour", range(24))
def test_whatever_the_hour_of_the_crontab(hour: int) -> None:
    """Noon is no worse than midnight: ticks are counted from the first ask."""
    asks = [T0 + n * D + hour * H + skew * S for n in range(9) for skew in (-20, 20)]
    assert len(run(Every(86_400), asks)) == 9


@pytest.mark.parametrize("hours", range(1, 24))
def test_a_crontab_that_is_moved_is_followed(hours: int) -> None:
    """To a later hour: by the next day at the latest, whoever of the hosts is up."""
    asks = [T0 + n * D for n in range(3)]
    for skew in (-20 * S, 20 * S):
        moved = [T0 + 2 * D + hours * H + n * D + skew for n in range(4)]
        ran = run(Every(86_400), [*asks, *moved])
        assert set(asks + moved[1:]) <= set(ran)


def test_a_tick_that_was_late_by_half_costs_no_other() -> None:
    asks = [T0 + n * D for n in range(9)]
    asks[4] += D // 2  # nobody was up in time
    assert run(Every(86_400), asks) == asks


def test_days_of_23_and_25_hours_are_days() -> None:
    days = [D, D, D - H, D, D, D + H, D]
    asks = [T0]
    for length in days:
        asks.append(asks[-1] + length)
    assert len(run(Every(86_400), asks)) == len(asks)


def test_who_asks_all_the_time_gets_no_more_than_that() -> None:
    ran = run(Every(3600), [T0 + n * M for n in range(24 * 60)])
    assert len(ran) in (24, 25)


@given(
    st.integers(120, 100_000),
    st.integers(-20_000, 20_000),
    st.lists(st.integers(-20_000, 20_000), min_size=1, max_size=5),
)
def test_each_tick_once_and_none_left_out(
    span: int, off: int, skews: list[int]
) -> None:
    asks = [T0 + off + n * span * S + skew for n in range(30) for skew in skews]
    ran = run(Every(span), asks)
    assert [round((at - T0 - off) / (span * S)) for at in ran] == list(range(30))


def test_a_clock_that_was_set_back_a_little_asks_for_the_same() -> None:
    every = Every(3600)
    assert every.turn(T0 - 5, T0).tick == T0


@pytest.mark.parametrize(
    ("span", "early", "says"),
    [
        (0.5, None, "every=0.5 is not between 1 and"),
        (float("nan"), None, "every=nan"),
        (1e9, None, "is not between"),
        (60, 31, "early=31 is not between 0 and 30"),
        (60, -1, "early=-1"),
    ],
)
def test_what_is_no_span_is_told(span: float, early: float | None, says: str) -> None:
    with pytest.raises(ValueError, match="is not between") as refused:
        Every(span, early)
    assert says in str(refused.value)


# -- how it is shown -------------------------------------------------------------------------


def test_a_tick_is_shown_in_utc() -> None:
    assert shown(T0) == "2026-11-26T12:00:00Z"
    assert shown(T0 + 7) == "2026-11-26T12:00:00.007Z"
