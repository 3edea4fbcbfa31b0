"""`coordkit leader resign`, `transfer`, `pause` and `resume`: what an operator asks for."""

from __future__ import annotations

import os
from typing import NoReturn

import click

from .._duration import DURATION
from .._exit import Exit, Failure, sensible
from .._name import IDENTITY
from .._options import common
from .._output import data, json_line, printable
from .._settings import Settings
from ._name import CANDIDATE, NAME
from ._told import leader_record, who

_reason = click.option(
    "--reason", default="", metavar="TEXT", help="Why, for those who read the history."
)


def _vacant(settings: Settings, name: str) -> NoReturn:
    """Answer *no*."""
    if settings.as_json:
        data(json_line({"name": name, "leader": None, "asked": False}))
    elif not settings.quiet:
        data(f"nobody leads {printable(name)}")
    raise click.exceptions.Exit(Exit.NO)


@click.command()
@common()
@click.option(
    "--identity",
    type=IDENTITY,
    metavar="ID",
    help="Ask nobody but this one; exit code 1 if it does not lead.",
)
@_reason
@click.argument("name", type=NAME, help="The election.")
@click.pass_obj
def resign(settings: Settings, name: str, identity: str | None, reason: str) -> None:
    """
    Ask whoever leads NAME to resign; exit code 1 when nobody does.

    It hears so with its next renewal, a third of its ttl later at most: then its command
    is ended, and the next candidate follows. In a command that `leader run NAME` has
    started, that one is meant and nobody else.
    """
    from coordkit import NotHeld

    if identity is None and os.environ.get("COORDKIT_ELECTION") == name:
        identity = os.environ.get("COORDKIT_IDENTITY") or None
    with settings.session() as session, sensible():
        try:
            leader = session.election(name).revoke(identity=identity, reason=reason)
        except NotHeld as other:
            raise Failure(f"{other}; nobody was asked", Exit.NO) from None
    if leader is None:
        _vacant(settings, name)
    if settings.as_json:
        record = {"leader": leader_record(leader), "asked": True}
        data(json_line({"name": name} | record))
    elif not settings.quiet:
        data(printable(f"{name} is led by {who(leader)}; asked to resign"))


@click.command()
@common()
@_reason
@click.argument("name", type=NAME, help="The election.")
@click.argument("identity", type=CANDIDATE, help="The candidate that is to lead next.")
@click.pass_obj
def transfer(settings: Settings, name: str, identity: str, reason: str) -> None:
    """
    Ask the leader of NAME to resign in favour of IDENTITY.

    That one must be waiting, and goes before every priority. Exit code 1 when nobody
    leads, or nobody of that identity waits.
    """
    with settings.session() as session, sensible():
        leader = session.election(name).transfer(identity, reason=reason)
    leads = leader.identity == identity
    if settings.as_json:
        record = {"leader": leader_record(leader), "to": identity, "asked": not leads}
        data(json_line({"name": name} | record))
    elif not settings.quiet:
        asked = "already" if leads else f"asked to resign in favour of {identity}"
        data(
            printable(f"{name} is led by {who(leader)}{' ' if leads else '; '}{asked}")
        )


@click.command()
@common()
@click.option(
    "--for",
    "lasting",
    type=DURATION,
    metavar="DUR",
    help="Until so long from now at most.  [default: until it is resumed]",
)
@_reason
@click.argument("name", type=NAME, help="The election.")
@click.pass_obj
def pause(settings: Settings, name: str, lasting: float | None, reason: str) -> None:
    """
    Have nobody lead NAME until `coordkit leader resume`.

    Who leads is asked to resign, and hears so with its next renewal. Candidates keep
    their places.
    """
    with settings.session() as session, sensible():
        leader = session.election(name).pause(lasting, reason=reason)
    if settings.as_json:
        led = None if leader is None else leader_record(leader)
        data(json_line({"name": name, "state": "paused", "leader": led}))
    elif not settings.quiet:
        asked = "" if leader is None else f"; {who(leader)} is asked to resign"
        data(printable(f"{name} is paused{asked}"))


@click.command()
@common()
@click.argument("name", type=NAME, help="The election.")
@click.pass_obj
def resume(settings: Settings, name: str) -> None:
    """Let somebody lead NAME again; nothing happens if it is not paused."""
    with settings.session() as session:
        session.election(name).resume()
    if settings.as_json:
        data(json_line({"name": name, "paused": False}))
