"""
When something is due: ticks, by the server's clock.

A tick is an instant, in whole milliseconds since 1970.  Who asks asks for the tick that
belongs to that instant: the last one, or the next if it is no more than *early* away, so
that a host whose clock is fast asks for the tick it means.

`Schedule`: the ticks are the instants of a cron expression, the same for everybody.
`Every`: the ticks are so far apart, counted from the first that was ever asked for.  One
may be asked for early by a good third of the span, so that a crontab may be moved, and
the days of a local clock may have 23 hours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .span import milliseconds, seconds

if TYPE_CHECKING:
    from cronsim import CronSim

SHORTEST_EVERY = 1.0
LONGEST_EVERY = 366 * 86_400.0
#: Clocks of hosts, and the start of a process, differ by less.
EARLY = 30.0
#: More than a third, for "every 3 h" on a day of 23 hours, and no round part of a day: an
#: instant at which nobody's crontab asks, and hosts could disagree whose turn it is.
EARLY_SHARE = 0.35
#: No change of a local clock is as large, and no tick is missed for it.
_PAST_ANY_CHANGE = timedelta(hours=4)
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = 5


class Turn(NamedTuple):
    """A tick, and the instant from which on the next one is asked for."""

    tick: int
    until: float


class Ticks(Protocol):
    """What is due when."""

    #: what says so, for people and to see whether it was changed
    spec: str
    #: how long before a tick it may be asked for, in ms
    early: int

    def turn(self, at: int, last: int | None) -> Turn:
        """Return whose turn it is at that instant; *last*: the tick that was run last."""
        ...


class Every:
    """Ticks that are a span apart."""

    def __init__(self, span: float, early: float | None = None) -> None:
        span = seconds(span, "every", least=SHORTEST_EVERY, most=LONGEST_EVERY)
        self._span = milliseconds(span)
        most = span / 2
        given = (
            EARLY_SHARE * span if early is None else seconds(early, "early", most=most)
        )
        self.early = milliseconds(given)
        self.spec = f"every {span:g} s"

    def turn(self, at: int, last: int | None) -> Turn:
        """Return whose turn it is: that of *last* still, or of a later one."""
        tick = at - at % 1000  # whole seconds are easier to read
        if last is not None:
            tick = last + max(0, (at - last + self.early) // self._span) * self._span
        return Turn(tick, tick + self._span - self.early)


class Schedule:
    """
    Ticks of a cron expression of five fields, or ``@daily`` and its like, in a time zone.

    As Debian's cron has it: at a change of the local clock, a job of a certain time that
    falls into the hour that is left out is due right after it, one of the hour that
    comes twice is due once, and one of each hour or minute goes on as time does.
    """

    def __init__(
        self, text: str, zone: str = "UTC", early: float | None = None
    ) -> None:
        from cronsim import CronSim, CronSimError  # noqa: PLC0415 - an extra, [cron]

        expression = _NICKNAMES.get(text.strip().lower(), text)
        given = EARLY if early is None else seconds(early, "early", most=LONGEST_EVERY)
        self.early = milliseconds(given)
        self.spec = f"{text} {zone}"
        self._zone = _zone(zone)
        self._expression = expression
        self._sim: type[CronSim] = CronSim
        if len(expression.split()) != _FIELDS:
            raise ValueError(
                f"{text!r} is no schedule: it takes minute, hour, day, month and day of "
                "the week, as in '*/15 * * * *', or @daily"
            )
        try:
            next(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise ValueError(f"{text!r} is no schedule: {error}") from None
        except StopIteration:
            raise ValueError(
                f"{text!r} is no schedule: there is no such day in fifty years"
            ) from None

    def turn(self, at: int, last: int | None) -> Turn:  # noqa: ARG002 - each tick is where it is
        """Return whose turn it is."""
        instants = iter(self._around(at))
        before, after = next(instants), next(instants, math.inf)
        early = self._early(before, after)
        if after - at > early:
            return Turn(int(before), after - early)
        following = next(instants, math.inf)
        return Turn(int(after), following - self._early(after, following))

    def _early(self, before: float, after: float) -> float:
        return min(self.early, (after - before) / 2)

    def _around(self, at: int) -> Iterator[int]:
        """Yield the last tick that is not after *at*, and those that follow it."""
        start = datetime.fromtimestamp(at / 1000, self._zone) - _PAST_ANY_CHANGE
        first = next(self._sim(self._expression, start, reverse=True))
        ticks = pairwise(self._from(first))
        for before, after in ticks:
            if after > at:
                yield before
                yield after
                break
        for _, after in ticks:
            yield after

    def _from(self, first: datetime) -> Iterator[int]:
        yield _ms(first)
        for tick in self._sim(self._expression, first):
            yield _ms(tick)


def _ms(instant: datetime) -> int:
    return int(instant.timestamp()) * 1000


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # known without tzdata, which small containers lack
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is no time zone that is known here: write for example "
            "Europe/Berlin, or install tzdata"
        ) from None


def shown(tick: int) -> str:
    """Return a tick as RFC 3339 writes it, in UTC."""
    whole, ms = divmod(tick, 1000)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms:03d}Z" if ms else f"{text}Z"
