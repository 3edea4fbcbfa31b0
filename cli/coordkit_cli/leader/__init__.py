"""`coordkit leader`: of several processes one leads; the others wait, and follow it."""

from __future__ import annotations

import click

from .._options import Lazy

COMMANDS = {
    "run": (".run:run", "Run a command while leading, and again after each election."),
    "status": (".look:status", "Show who leads and who waits; exit code 3: nobody."),
    "watch": (".watch:watch", "Show every change of leader as it happens."),
    "list": (".look:list_", "List the elections."),
    "resign": (".ask:resign", "Ask the leader to resign."),
    "transfer": (".ask:transfer", "Ask the leader to resign in favour of another."),
    "history": (".look:history", "List the last changes: who, when, why."),
    "pause": (".ask:pause", "Have nobody lead, for maintenance."),
    "resume": (".ask:resume", "Let somebody lead again."),
}


@click.group(cls=Lazy, package=__name__, where=COMMANDS)
def leader() -> None:
    """Elections: run commands where one leads, see who does, hand it over."""
