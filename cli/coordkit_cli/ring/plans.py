"""`coordkit ring plan` and `apply`: what a change would move, and moving it in steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .._duration import DURATION
from .._exit import sensible
from .._options import common
from .._output import data, facts, json_line, table
from .._settings import Settings
from ._name import NAME, SHARE, WEIGHED
from ._told import balance, flow_rows, percent, plan_record, say

if TYPE_CHECKING:
    from coordkit import Plan, Ring

F = TypeVar("F", bound=Callable[..., Any])


def changes(command: F) -> F:
    """Add the options that make up a change."""
    for option in (
        click.option(
            "--reweight",
            type=WEIGHED,
            multiple=True,
            metavar="NODE=W",
            help="Whose weight changes; may be repeated.",
        ),
        click.option(
            "--remove",
            multiple=True,
            metavar="NODE",
            help="Who goes; may be repeated.",
        ),
        click.option(
            "--add",
            type=WEIGHED,
            multiple=True,
            metavar="NODE[=W]",
            help="Who comes, with a weight of 1 or W; may be repeated.",
        ),
    ):
        command = option(command)
    return command


def made_up(
    ring: Ring,
    add: tuple[tuple[str, float], ...],
    remove: tuple[str, ...],
    reweight: tuple[tuple[str, float], ...],
) -> Plan:
    """Return the plan that the options ask for."""
    from coordkit import Node

    with sensible():
        nodes = [Node(name, weight) for name, weight in add]
        return ring.plan(add=nodes, remove=remove, reweight=dict(reweight))


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@changes
@click.pass_obj
def plan(settings: Settings, /, name: str, **change: Any) -> None:
    """
    Show what a change of the ring NAME would move; nothing is changed.

    Without a change: what an interrupted `coordkit ring apply` has left open.
    """
    with settings.session() as session:
        found = made_up(session.ring(name), **change)
    if settings.as_json:
        data(json_line({"name": name} | plan_record(found)))
        return
    slots = found.before.slots
    facts(
        [
            ("for version", str(found.version)),
            ("moved", f"{percent(found.moved)}, at least {percent(found.ideal)}"),
            ("before", balance(found.before)),
            ("after", balance(found.after)),
            *(("warning", warning) for warning in found.after.warnings),
        ]
    )
    table(("FROM", "", "TO", "SLOTS", "SHARE"), flow_rows(found.moves, slots))


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@changes
@click.option(
    "--max-move",
    type=SHARE,
    default=1.0,
    metavar="SHARE",
    help="Move no more than that in one step: 5% or 0.05.  [default: all at once]",
)
@click.option(
    "--every",
    type=DURATION,
    default=0.0,
    metavar="DUR",
    help="Rest so long between two steps.",
)
@click.pass_obj
def apply(
    settings: Settings, /, name: str, max_move: float, every: float, **change: Any
) -> None:
    """
    Make a change of the ring NAME, at once or in steps; each is told as it is made.

    It stops when somebody else changes the ring. What was interrupted goes on with the
    same command without a change.
    """
    with settings.session() as session:
        found = made_up(session.ring(name), **change)
        slots = found.before.slots
        with sensible():
            made = found.apply(
                max_move=max_move,
                every=every,
                told=lambda change: say(
                    change, slots, as_json=settings.as_json, quiet=settings.quiet
                ),
            )
    if not made and not settings.as_json and not settings.quiet:
        data("nothing is left to be moved")
