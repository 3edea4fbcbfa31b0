"""`coordkit group`: who is there, each for as long as it is heard of."""

from __future__ import annotations

import click

from .._options import Lazy

COMMANDS = {
    "join": (".join:join", "Be a member while a command runs."),
    "list": (".look:list_", "List the members of a group, or the groups."),
    "watch": (".look:watch", "Show every change of a group as it happens."),
}


@click.group(cls=Lazy, package=__name__, where=COMMANDS)
def group() -> None:
    """Who is there: join a group while a command runs, see who else did."""
