"""`coordkit group list` and `watch`: groups as others see them."""

from __future__ import annotations

import sys

import click

from .._options import common
from .._output import data, json_line, note, printable, table
from .._settings import Settings
from ._name import NAME
from ._told import HEADING, event_line, event_record, record, row


@click.command("list")
@common()
@click.argument(
    "name", type=NAME, required=False, help="Whose members; all if left out."
)
@click.pass_obj
def list_(settings: Settings, name: str | None) -> None:
    """
    List the members of NAME, a line each; or every group that has members.

    Suspicion says how improbable so long a silence of a member is, as a power of ten: 3
    is one in a thousand. Who is a member, its ttl alone decides.
    """
    with settings.session() as session:
        if name is None:
            groups = session.groups()
            if settings.as_json:
                for each in groups:
                    facts = {"version": each.version, "members": len(each)}
                    data(json_line({"name": each.name} | facts))
                return
            table(
                ("NAME", "MEMBERS", "VERSION"),
                [(each.name, str(len(each)), str(each.version)) for each in groups],
            )
            empty = f"no group of the namespace {session.namespace} has members"
        else:
            groups = [session.group(name).members()]
            if settings.as_json:
                for member in groups[0]:
                    data(json_line({"name": name} | record(member)))
                return
            table(HEADING, [row(member) for member in groups[0]])
            empty = f"nobody is a member of {name}"
    if not any(groups) and sys.stderr.isatty() and not settings.quiet:
        note(empty)


@click.command()
@common()
@click.argument("name", type=NAME, help="The group.")
@click.pass_obj
def watch(settings: Settings, name: str) -> None:
    """
    Show who is a member of NAME, then every change, until Ctrl-C.

    It never ends silently: while the server gives no answer, it says so. When changes
    cannot be told one by one, all members come again.
    """
    with settings.session() as session:
        for event in session.group(name).watch():
            if settings.as_json:
                data(json_line({"name": name} | event_record(event)))
            else:
                data(printable(event_line(event)))
