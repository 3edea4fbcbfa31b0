"""`coordkit cron check`: whether a cron still succeeds, for a monitoring system."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import click

from .._duration import DURATION, spoken
from .._options import common
from .._output import data, json_line, printable
from .._settings import Settings
from ._name import NAME, of
from ._told import result

if TYPE_CHECKING:
    from coordkit._core.runs import Seen


class Health(IntEnum):
    """The exit codes of the Monitoring Plugins, known from Nagios."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Checked(NamedTuple):
    """How it is, why, and how many seconds ago it succeeded, if that is known."""

    health: Health
    text: str
    age: float | None = None


@click.command()
@common()
@click.argument("name", type=NAME, help="Which one.")
@click.option(
    "--max-age",
    type=DURATION,
    required=True,
    metavar="DUR",
    help="The last success may be so old: a day's job that takes an hour, 26h.",
)
@click.pass_obj
def check(settings: Settings, name: str, max_age: float) -> None:
    """
    Say whether NAME has succeeded in the last --max-age: a dead-man check.

    Exit codes as for Nagios: 0 it has; 1 it has, but the last run failed or was lost;
    2 it has not; 3 not known, for it was never run, or Redis gave no answer. Ages are by
    the server's clock.
    """
    checked = _checked(settings, name, max_age)
    if settings.as_json:
        record = {"name": name, "health": checked.health.name, "text": checked.text}
        data(json_line({**record, "age": checked.age, "max_age": max_age}))
    else:
        age = "" if checked.age is None else f"{checked.age:.0f}s"
        perfdata = f" | age={age or 'U'};;{max_age:.0f}"
        data(f"{checked.health.name}: {printable(f'{name}: {checked.text}')}{perfdata}")
    raise click.exceptions.Exit(checked.health)


def _checked(settings: Settings, name: str, max_age: float) -> Checked:
    from coordkit import CoordError

    try:
        with settings.session() as session:
            seen = session._engine.run(of(session, name).look())
    except CoordError as error:
        return Checked(Health.UNKNOWN, " ".join(str(error).split()))
    return judged(seen, max_age)


def judged(seen: Seen, max_age: float) -> Checked:
    """Return how a cron is that has these runs."""
    from coordkit._core.runs import State

    if not seen.runs:
        return Checked(Health.UNKNOWN, "it was never run, or its runs were lost")
    last = seen.runs[0]
    told = f"the last run: {result(last)}, by {last.identity}"
    good = next((run for run in seen.runs if run.state is State.OK), None)
    if good is None or good.ended is None:
        return Checked(Health.CRITICAL, f"no success is known; {told}")
    age = max(0, seen.now - good.ended) / 1000
    ago = f"succeeded {spoken(age)} ago"
    if age > max_age:
        return Checked(Health.CRITICAL, f"{ago}, {told}", age)
    if last.state in (State.FAILED, State.LOST):
        return Checked(Health.WARNING, f"{ago}, but {told}", age)
    return Checked(Health.OK, f"{ago}, by {good.identity}", age)
