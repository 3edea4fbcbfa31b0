"""`coordkit doctor`: what this Redis guarantees, and what could be better."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from ._exit import Exit
from ._options import common
from ._output import aligned, data, json_line, printable
from ._settings import Settings

if TYPE_CHECKING:
    from ._doctor.facts import Way
    from ._doctor.findings import Finding, State
    from ._doctor.verdict import Column

_WIDTH = 79
_STYLES: dict[State, str] = {
    "ok": "green",
    "warning": "yellow",
    "unsafe": "red",
    "unknown": "cyan",
}


@click.command()
@common()
@click.pass_obj
def doctor(settings: Settings) -> None:
    """
    Say what this Redis guarantees, and what could be better.

    It reads the server's settings and health, compares clocks, measures round trips, and
    takes a lock of its own and gives it back. What the server does not tell is "unknown".
    Exit code 78 when locks are not safe there, 77 when this user may not use them.
    """
    from coordkit import NotPermitted, Unreachable

    from ._doctor import facts, findings, verdict

    with settings.session() as session:
        way = facts.way(session)
        if isinstance(way.trial, Unreachable):
            raise way.trial
        servers = facts.servers(session)
        address = session.address
    found = [
        (one.address, finding) for one in servers for finding in findings.judge(one)
    ]
    found += [("", finding) for finding in findings.reached(way, servers[0])]
    unsafe = verdict.unsafe([finding for _, finding in found])
    columns = [] if unsafe else verdict.columns(way, servers)
    if settings.as_json:
        _tell_programs(settings, address, found, columns)
    else:
        several = len(servers) > 1
        _tell_people(settings, address, way, found, columns, several=several)
    if isinstance(way.trial, NotPermitted):
        raise click.exceptions.Exit(Exit.NOT_PERMITTED)
    if unsafe:
        raise click.exceptions.Exit(Exit.CONFIG)


def _tell_programs(
    settings: Settings,
    address: str,
    found: list[tuple[str, Finding]],
    columns: list[Column],
) -> None:
    url, namespace = settings.url, settings.namespace
    sources = {"url_from": url.source, "namespace_from": namespace.source}
    where = {"address": address, "namespace": namespace.value}
    data(json_line({"check": "settings", "state": "ok", **where, **sources}))
    for server, finding in found:
        record = {"check": finding.check, "state": finding.state, "text": finding.text}
        node = {"address": server} if server else {}
        data(json_line(record | node | finding.values))
    gives = [{"column": each.name, "text": each.text} for each in columns]
    state = "ok" if columns else "unsafe"
    data(json_line({"check": "verdict", "state": state, "guarantees": gives}))


def _tell_people(
    settings: Settings,
    address: str,
    way: Way,
    found: list[tuple[str, Finding]],
    columns: list[Column],
    *,
    several: bool,
) -> None:
    url, namespace = settings.url, settings.namespace
    kind = {"sentinel": ", through Sentinels", "cluster": ", a cluster"}.get(
        way.kind, ""
    )
    heading = [
        ("server", f"{address}{kind} (from {url.source})"),
        ("namespace", f"{namespace.value} (from {namespace.source})"),
    ]
    for line in aligned(heading):
        data(line)
    server = ""
    for node, finding in found:
        if node != server:
            server = node
            data("")
            if several and node:
                data(printable(f"at {node}:"))
        _tell(finding)
    data("")
    if not columns:
        data(
            _filled(
                "So: locks are not safe here, until what is marked unsafe is mended."
            )
        )
        return
    data("So, of the table of guarantees (README, Guarantees), these columns count:")
    for column in columns:
        data(_filled(f"“{column.name}”: {column.text}.", hang=2))


def _tell(finding: Finding) -> None:
    mark = click.style(f"{finding.state:8}", fg=_STYLES[finding.state], bold=True)
    first, *rest = textwrap.wrap(
        printable(f"{finding.check}: {finding.text}"), _WIDTH - 9
    )
    data(f"{mark} {first}")
    for line in rest:
        data(f"{'':9}{line}")


def _filled(text: str, hang: int = 0) -> str:
    return textwrap.fill(printable(text), _WIDTH, subsequent_indent=" " * hang)
