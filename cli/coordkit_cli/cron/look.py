"""`coordkit cron status` and `history`: what was run, by whom, and how it ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .._exit import Exit
from .._options import common
from .._output import aligned, data, json_line, note, printable
from .._settings import Settings
from ._name import NAME, of
from ._told import lasted, record, result

if TYPE_CHECKING:
    from coordkit._core.runs import Run, Seen


@click.command()
@common()
@click.argument("name", type=NAME, required=False, help="Which one; all if left out.")
@click.pass_obj
def status(settings: Settings, name: str | None) -> None:
    """Show the last run of NAME, or of all names; exit code 1 when it was never run."""
    from coordkit._core.cron import listing

    with settings.session() as session:
        engine = session._engine
        if name is None:
            found = engine.run(listing(session.namespace, engine.timeout))
        else:
            found = [(name, engine.run(of(session, name).look()))]
    if name is not None and not found[0][1].runs:
        _never(settings, name)
    shown = [(each, seen) for each, seen in found if seen.runs]
    if settings.as_json:
        for each, seen in shown:
            data(json_line(record(each, seen.runs[0])))
        return
    heading = [("NAME", "TICK", "RESULT", "LASTED", "HOST", "TOKEN")]
    rows = [(each, *_row(seen.runs[0], seen)) for each, seen in shown]
    for line in aligned([*(heading if _wanted(rows) else []), *rows]):
        data(line)
    if not rows and sys.stderr.isatty() and not settings.quiet:
        note(f"nothing was ever run in the namespace {settings.namespace.value}")


@click.command()
@common()
@click.argument("name", type=NAME, help="Which one.")
@click.option(
    "-n",
    "--last",
    type=click.IntRange(min=1),
    default=20,
    metavar="N",
    help="So many at most; no more than 64 are kept.  [default: 20]",
)
@click.pass_obj
def history(settings: Settings, name: str, last: int) -> None:
    """List the last runs of NAME, newest first; exit code 1 when there was none."""
    with settings.session() as session:
        seen = session._engine.run(of(session, name).look())
    if not seen.runs:
        _never(settings, name)
    runs = seen.runs[:last]
    if settings.as_json:
        for run in runs:
            data(json_line(record(name, run)))
        return
    heading = [("TICK", "RESULT", "LASTED", "HOST", "TOKEN")]
    rows = [_row(run, seen) for run in runs]
    for line in aligned([*(heading if _wanted(rows) else []), *rows]):
        data(line)


def _row(run: Run, seen: Seen) -> tuple[str, ...]:
    from coordkit._core.ticks import shown

    told = result(run) + (f" (try {run.attempt})" if run.attempt > 1 else "")
    return shown(run.tick), told, lasted(run, seen.now), run.identity, str(run.token)


def _wanted(rows: list[tuple[str, ...]]) -> bool:
    """Whether a heading helps: it is for eyes, what a program reads is one run a line."""
    return bool(rows) and sys.stdout.isatty()


def _never(settings: Settings, name: str) -> None:
    """Answer *no*."""
    if settings.as_json:
        data(json_line({"name": name, "state": "never"}))
    elif not settings.quiet:
        data(f"{printable(name)} was never run")
    raise click.exceptions.Exit(Exit.NO)
