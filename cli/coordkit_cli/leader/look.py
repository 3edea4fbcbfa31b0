"""`coordkit leader status`, `list` and `history`: elections as others see them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .._duration import spoken
from .._exit import Exit
from .._options import common
from .._output import (
    data,
    facts,
    instant,
    json_line,
    json_text,
    note,
    printable,
    table,
)
from .._settings import Settings
from ._name import NAME
from ._told import event_line, event_record, info_record

if TYPE_CHECKING:
    from coordkit import ElectionInfo


@click.command()
@common()
@click.argument("name", type=NAME, help="The election.")
@click.pass_obj
def status(settings: Settings, name: str) -> None:
    """
    Show who leads NAME and who waits; exit code 3 when nobody leads.

    69 when there is no answer, which is not the same: somebody may lead.
    """
    with settings.session() as session:
        info = session.election(name).info()
    if settings.as_json:
        data(json_line(info_record(info)))
    elif not settings.quiet:
        facts(_facts(info))
    if info.leader is None:
        raise click.exceptions.Exit(Exit.VACANT)


def _facts(info: ElectionInfo) -> list[tuple[str, str]]:
    found = [("name", info.name), ("state", info.state)]
    if info.paused_by:
        why = f": {info.reason}" if info.reason else ""
        found.append(("paused by", f"{info.paused_by}{why}"))
    leader = info.leader
    if leader is not None:
        found += [
            ("leader", leader.identity),
            ("term", str(leader.token)),
            ("since", f"{instant(leader.since)} by the server's clock"),
            ("expires in", spoken(leader.expires_in)),
        ]
        if leader.meta:
            found.append(("meta", json_text(leader.meta)))
    found.append(("waiting", str(len(info.candidates))))
    for place, candidate in enumerate(info.candidates, 1):
        priority = f", priority {candidate.priority}" if candidate.priority else ""
        found.append((f"  no. {place}", f"{candidate.identity}{priority}"))
    return found


@click.command("list")
@common()
@click.pass_obj
def list_(settings: Settings) -> None:
    """List every election of the namespace in the last 90 days, a line each."""
    with settings.session() as session:
        found = session.elections()
    if settings.as_json:
        for info in found:
            data(json_line(info_record(info)))
        return
    table(("NAME", "STATE", "LEADER", "TERM", "EXPIRES IN", "WAITING"), _rows(found))
    if not found and sys.stderr.isatty() and not settings.quiet:
        note(f"there is no election in the namespace {settings.namespace.value}")


def _rows(found: list[ElectionInfo]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for info in found:
        leader = info.leader
        led = ("-", "-", "-")
        if leader is not None:
            led = (leader.identity, str(leader.token), spoken(leader.expires_in))
        rows.append((info.name, info.state, *led, str(len(info.candidates))))
    return rows


@click.command()
@common()
@click.argument("name", type=NAME, help="The election.")
@click.option(
    "-n",
    "--last",
    type=click.IntRange(min=1),
    default=20,
    metavar="N",
    help="So many at most; some 120 are kept, for 90 days.  [default: 20]",
)
@click.pass_obj
def history(settings: Settings, name: str, last: int) -> None:
    """
    List the last changes of NAME, newest first; exit code 1 when there was none.

    That a term was lost is noticed some time after it has ended.
    """
    with settings.session() as session:
        changes = session.election(name).history()
    if not changes:
        if settings.as_json:
            data(json_line({"name": name, "event": "none"}))
        elif not settings.quiet:
            data(f"nobody has ever led {printable(name)}")
        raise click.exceptions.Exit(Exit.NO)
    for change in changes[: -last - 1 : -1]:
        if settings.as_json:
            data(json_line({"name": name} | event_record(change)))
        else:
            data(printable(event_line(change)))
