"""What `--explain` shows: the time line of a lease and its keys.  Nothing is run or asked."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._exit import Exit, Failure
from ._output import aligned, data, json_line, printable
from ._settings import Settings

if TYPE_CHECKING:
    from ._run import How
    from ._timeline import TimeLine


def explain(
    settings: Settings,
    how: How,
    name: str,
    keys: Mapping[str, str],
    free: str = "the server gives it to the next",
) -> None:
    """
    Show the time line of the lease on *name*, and its *keys* by what they hold.

    *free*: what happens when it has run out.
    """
    line, where = how.time_line(), settings.url
    _checked(settings)
    facts = {
        "name": name,
        "namespace": settings.namespace.value,
        "server": _address(where.value, where.source),
    }
    if settings.as_json:
        record = {"ttl": line.ttl, "grace": line.grace, "margin": line.margin}
        at = {step: round(instant, 3) for step, instant, _ in _steps(how, line, free)}
        data(json_line({**facts, **record, "at": at, "keys": dict(keys)}))
        return
    words = how.words if how.script is None else ("/bin/sh", "-c", how.script)
    shown = {**facts, "server": f"{facts['server']} (from {where.source})"}
    for told in aligned([*shown.items(), ("command", shlex.join(words) or "none")]):
        data(told)
    data(
        "\nSeconds from the last renewal that succeeded, from before it was asked for:"
    )
    for told in aligned(
        (f"{instant:8.3f}", what) for _, instant, what in _steps(how, line, free)
    ):
        data(told)
    data("\nKeys:")
    for told in aligned((f"  {kind}", key) for kind, key in keys.items()):
        data(told)


def _steps(how: How, line: TimeLine, free: str) -> list[tuple[str, float, str]]:
    """Return what happens, by name, instant and words."""
    signum, kills = how.on_lost
    stop = _name(how.stop_signal if signum < 0 else signum)
    steps = [
        ("renew", line.ttl / 3, "it is renewed; without an answer, asked again"),
        ("renew_by", line.renew_by, "so late may a renewal come without any harm"),
        ("stop", line.stop_at, f"none came: {stop} to the command's process group"),
        ("kill", line.kill_at, "SIGKILL to what is left of it"),
        ("end", line.ends_at, "nothing may act on the lease any more"),
        ("free", line.ttl, free),
    ]
    if kills:
        return steps
    return [step for step in steps if step[0] not in ("kill", "" if signum else "stop")]


def _name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"


def _checked(settings: Settings) -> None:
    from coordkit._core.keys import check_namespace

    namespace = settings.namespace
    try:
        check_namespace(namespace.value)
    except ValueError as error:
        raise Failure(f"{namespace.source}: {error}", Exit.CONFIG) from None


def _address(url: str, source: str) -> str:
    from coordkit._io.urls import parse

    try:
        return str(parse(url))
    except ValueError as error:
        raise Failure(f"{source}: {printable(str(error))}", Exit.CONFIG) from None
