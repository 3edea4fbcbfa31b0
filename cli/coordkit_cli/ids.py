"""`coordkit ids`: numbers that nobody else gets."""

from __future__ import annotations

import click

from ._name import NAMED
from ._number import Whole
from ._options import common
from ._output import data, json_line
from ._settings import Settings

#: A line each: who wants more has another use for them than a shell.
MOST = 1_000_000


@click.group()
def ids() -> None:
    """Ids: numbers that nobody else gets."""


@ids.command("next", short_help="Print ids that nobody had before.")
@common()
@click.option(
    "-n",
    "--number",
    type=Whole(1, MOST),
    default=1,
    metavar="N",
    help="So many, a line each; together they are one question.  [default: 1]",
)
@click.option(
    "--start",
    type=Whole(1, 2**53 - 1),
    default=1,
    metavar="N",
    help="None below it.  [default: 1]",
)
@click.argument("name", type=NAMED, help="What they are for.")
@click.pass_obj
def next_(settings: Settings, name: str, number: int, start: int) -> None:
    """
    Print the next ids of NAME: nobody else gets them, nor did before.

    Gaps are possible: an answer that is lost wastes the ids in it, and programs that
    take them by the block waste what is left of it when they end.
    """
    with settings.session() as session:
        taken = session.ids(name, block=number, start=start)
        numbers = [next(taken) for _ in range(number)]
    for each in numbers:
        data(json_line({"name": name, "id": each}) if settings.as_json else str(each))
