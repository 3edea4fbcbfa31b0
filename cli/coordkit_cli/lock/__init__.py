"""`coordkit lock`: take locks, run commands under them, and see who holds what."""

from __future__ import annotations

import click

from .._options import Lazy

COMMANDS = {
    "run": (".run:run", "Run a command while holding a lock."),
    "acquire": (".hold:acquire", "Take a lock that nobody keeps, for scripts."),
    "renew": (".hold:renew", "Push away the end of a lock that was acquired."),
    "release": (".hold:release", "Give back a lock that was acquired."),
    "check": (".hold:check", "Ask whether a lock is still held; exit code 1: no."),
    "list": (".look:list_", "List the locks that are held."),
    "show": (".look:show", "Show who holds a lock; exit code 1 when it is free."),
    "wait": (".look:wait", "Wait until a lock is free."),
    "revoke": (".away:revoke", "Ask whoever holds a lock to let go."),
    "break": (".away:break_", "Take a lock from whoever holds it."),
}


@click.group(cls=Lazy, package=__name__, where=COMMANDS)
def lock() -> None:
    """Locks: run commands under them, see who holds them, take one away."""
