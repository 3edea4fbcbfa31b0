"""`coordkit counter`: numbers that many add to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._name import Named
from ._number import NEGATIVE_TOO, Whole, token_option
from ._options import common
from ._output import aligned, data, json_line, note, printable
from ._settings import Settings

if TYPE_CHECKING:
    from coordkit import CounterInfo, Session

F = TypeVar("F", bound=Callable[..., Any])


class CounterName(Named):
    """What a counter may be called; known are those that there are."""

    def convert(
        self,
        value: str,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """Return *value* if it can be a name, and does not look like an option."""
        if value.startswith("--"):
            raise click.NoSuchOption(value, ctx=ctx)
        return super().convert(value, param, ctx)

    def known(self, session: Session) -> Iterable[str]:
        """Return the names of the counters."""
        return [info.name for info in session.counters()]


NAME = CounterName()


def _fenced(command: F) -> F:
    unfenced = click.option(
        "--unfenced", is_flag=True, help="Heed no token, not even the environment's."
    )
    token = token_option(
        says="Refuse when a newer one was seen; as lock run hands it to a command."
    )
    return token(unfenced(command))


@click.group()
def counter() -> None:
    """Counters: add to them, read them, list them."""


@counter.command(context_settings=NEGATIVE_TOO, short_help="Add to a counter.")
@common()
@click.option("--at-least", type=Whole(), metavar="N", help="Or it stays as it is.")
@click.option("--at-most", type=Whole(), metavar="N", help="Or it stays as it is.")
@click.option(
    "--rid",
    metavar="ID",
    help="An id of this very request: whoever adds with it again, within a day, gets the "
    "same answer, and nothing is added.",
)
@click.option(
    "--shards",
    type=Whole(1, 256),
    metavar="N",
    help="In how many parts it is, for very many adds; then it is neither fenced nor "
    "bounded.",
)
@_fenced
@click.argument("name", type=NAME, help="The counter.")
@click.argument(
    "n", type=Whole(), default=1, help="What to add; it may be negative.  [default: 1]"
)
@click.pass_obj
def add(
    settings: Settings,
    name: str,
    n: int,
    at_least: int | None,
    at_most: int | None,
    rid: str | None,
    shards: int | None,
    token: int | None,
    unfenced: bool,
) -> None:
    """
    Add N to the counter NAME and print its new value; exit code 1: it was refused.

    A lost answer is asked for again, and the add counted once. When Redis stays silent,
    exit code 69, it may have been counted or not: type it again with the same --rid
    and it is counted once. In a command under lock run the add is fenced: once another
    holder has added, it is refused.
    """
    token = None if unfenced else token
    _check_bounds(at_least, at_most)
    if rid is not None:
        _check_rid(rid)
    if (shards or 1) > 1 and (token, at_least, at_most) != (None, None, None):
        raise click.UsageError(
            "--shards goes with neither a token nor a bound: leave it out, or say "
            "--unfenced"
        )
    with settings.session() as session:
        value = session.counter(name, shards=shards).add(
            n, token=token, at_least=at_least, at_most=at_most, rid=rid
        )
    _say(settings, name, value, added=n)


def _check_bounds(at_least: int | None, at_most: int | None) -> None:
    if at_least is not None and at_most is not None and at_least > at_most:
        raise click.UsageError(f"--at-least {at_least} is higher than {at_most}")


def _check_rid(rid: str) -> None:
    from coordkit._core.keys import check_name

    try:
        check_name(rid, "rid")
    except ValueError as error:
        raise click.UsageError(printable(str(error))) from None


@counter.command(short_help="Print what a counter has.")
@common()
@click.argument("name", type=NAME, help="The counter.")
@click.pass_obj
def get(settings: Settings, name: str) -> None:
    """Print the value of the counter NAME; 0 when there is none."""
    with settings.session() as session:
        value = session.counter(name).value()
    _say(settings, name, value)


@counter.command(
    "set", context_settings=NEGATIVE_TOO, short_help="Give a counter another value."
)
@common()
@_fenced
@click.argument("name", type=NAME, help="The counter.")
@click.argument("n", type=Whole(), help="What it is to be.")
@click.pass_obj
def set_(
    settings: Settings, name: str, n: int, token: int | None, unfenced: bool
) -> None:
    """
    Give the counter NAME the value N, and print the one that it had.

    Every add is in one of the two, whatever is added meanwhile.
    """
    with settings.session() as session:
        before = session.counter(name).set(n, token=None if unfenced else token)
    if settings.as_json:
        data(json_line({"name": name, "value": n, "before": before}))
    else:
        data(str(before))


@counter.command("list", short_help="List the counters.")
@common()
@click.pass_obj
def list_(settings: Settings) -> None:
    """List every counter of the namespace, a line each."""
    with settings.session() as session:
        found = session.counters()
    if settings.as_json:
        for info in found:
            data(json_line(_record(info)))
        return
    heading = [("NAME", "VALUE", "SHARDS", "TOKEN")]
    # The heading is for eyes: what a program reads is one counter a line.
    shown = heading if found and sys.stdout.isatty() else []
    for line in aligned([*shown, *map(_row, found)]):
        data(line)
    if not found and sys.stderr.isatty() and not settings.quiet:
        note(f"there is no counter in the namespace {settings.namespace.value}")


def _say(settings: Settings, name: str, value: int, **more: int) -> None:
    if settings.as_json:
        data(json_line({"name": name, "value": value, **more}))
    else:
        data(str(value))


def _row(info: CounterInfo) -> tuple[str, ...]:
    return info.name, str(info.value), str(info.shards), str(info.seen or "-")


def _record(info: CounterInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "value": info.value,
        "shards": info.shards,
        "token": info.seen or None,
    }
