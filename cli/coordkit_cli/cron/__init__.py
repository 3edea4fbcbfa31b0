"""`coordkit cron`: of all hosts with the same crontab, one runs each tick."""

from __future__ import annotations

import click

from .._options import Lazy

COMMANDS = {
    "run": (".run:run", "Run a command, on one host a tick."),
    "status": (".look:status", "Show what was run last, and what is run now."),
    "history": (".look:history", "List the last runs: tick, host, token, result."),
    "check": (".check:check", "A dead-man check, with the exit codes of Nagios."),
}


@click.group(cls=Lazy, package=__name__, where=COMMANDS)
def cron() -> None:
    """Cron for a fleet: the same crontab on several hosts, and each tick is run once."""
