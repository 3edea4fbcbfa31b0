"""`coordkit ring list`, `nodes`, `stats`, `verify` and `diff`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from .._exit import Exit, sensible
from .._options import common
from .._output import data, facts, json_line, note, printable, table
from .._settings import Settings
from ._name import NAME
from ._told import (
    change_line,
    change_record,
    flow_rows,
    info_record,
    percent,
    share_record,
    stats_record,
)

if TYPE_CHECKING:
    from coordkit import Node, NodeShare, RingStats


@click.command("list")
@common()
@click.pass_obj
def list_(settings: Settings) -> None:
    """List every ring of the namespace, a line each."""
    with settings.session() as session:
        found = session.rings()
    if settings.as_json:
        for info in found:
            data(json_line(info_record(info)))
        return
    rows = [(i.name, str(i.version), str(i.nodes), str(i.slots), i.mode) for i in found]
    table(("NAME", "VERSION", "NODES", "SLOTS", "MODE"), rows)
    if not found and sys.stderr.isatty() and not settings.quiet:
        note(f"there is no ring in the namespace {settings.namespace.value}")


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.pass_obj
def nodes(settings: Settings, name: str) -> None:
    """
    List the nodes of the ring NAME, a line each.

    LOAD is its share to what its weight asks for; ASSIGNED, how many keys it has by
    bounded load.
    """
    with settings.session() as session:
        ring = session.ring(name)
        stats, loads = ring.stats(), ring.loads()
        known = {node.name: node for node in ring.nodes()}
    if settings.as_json:
        for share in stats.nodes:
            data(json_line(_node_record(share, known[share.name], loads)))
        return
    heading = ("NODE", "WEIGHT", "ZONE", "STATE", "SLOTS", "SHARE", "LOAD", "ASSIGNED")
    rows = [
        (
            share.name,
            f"{share.weight:g}",
            share.zone or "-",
            share.state,
            str(share.slots),
            percent(share.share),
            f"{share.load:.4f}",
            str(loads.get(share.name, 0)),
        )
        for share in stats.nodes
    ]
    table(heading, rows)


def _node_record(share: NodeShare, node: Node, loads: dict[str, int]) -> dict[str, Any]:
    more: dict[str, Any] = {
        "capacity": node.capacity,
        "meta": node.meta,
        "assigned": loads.get(node.name, 0),
    }
    return share_record(share) | more


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.pass_obj
def stats(settings: Settings, name: str) -> None:
    """Show how even the ring NAME is: exact, counted from its slots."""
    with settings.session() as session:
        ring = session.ring(name)
        found = ring.stats()
        info = ring.info()
    mode = info.mode if info is not None else ""
    if settings.as_json:
        data(json_line({"name": name, "mode": mode} | stats_record(found)))
        return
    facts(_facts(name, mode, found))


def _facts(name: str, mode: str, found: RingStats) -> list[tuple[str, str]]:
    zones = ", ".join(
        f"{zone or '(none)'} {count}" for zone, count in sorted(found.zones.items())
    )
    return [
        ("name", name),
        ("version", str(found.version)),
        ("mode", mode),
        ("nodes", str(len(found.nodes))),
        ("slots", f"{found.slots}, in {found.arcs} arcs"),
        ("max/mean", f"{found.max_over_mean:.4f}"),
        ("min/mean", f"{found.min_over_mean:.4f}"),
        ("cv", percent(found.cv)),
        ("replicas", str(found.replicas)),
        ("zones", zones or "-"),
        *(("warning", warning) for warning in found.warnings),
    ]


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.pass_obj
def verify(settings: Settings, name: str) -> None:
    """Check whether what is stored of the ring NAME fits together; exit code 1 if not."""
    with settings.session() as session:
        problems = session.ring(name).verify()
    if settings.as_json:
        data(json_line({"name": name, "sound": not problems, "problems": problems}))
    else:
        for problem in problems:
            data(printable(problem))
        if not problems and not settings.quiet:
            data(f"{printable(name)} is sound")
    if problems:
        raise click.exceptions.Exit(Exit.NO)


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.argument("since", type=int, help="The version to begin with.")
@click.argument(
    "until", type=int, required=False, help="The version to end with; now if left out."
)
@click.pass_obj
def diff(settings: Settings, name: str, since: int, until: int | None) -> None:
    """
    Show what has changed on the ring NAME from version SINCE to UNTIL.

    The last 128 changes are known.
    """
    with settings.session() as session, sensible():
        ring = session.ring(name)
        found = ring.diff(since, until)
        slots = ring.stats().slots
    if settings.as_json:
        record = {
            "name": name,
            "since": found.since,
            "until": found.until,
            "moved": found.moved,
            "moves": [list(move) for move in found.moves],
            "changes": [change_record(change) for change in found.changes],
        }
        data(json_line(record))
        return
    for change in found.changes:
        data(printable(change_line(change, slots)))
    facts([("moved", percent(found.moved))])
    table(("FROM", "", "TO", "SLOTS", "SHARE"), flow_rows(found.moves, slots))
