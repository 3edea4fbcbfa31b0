"""`coordkit ring watch`: every change as it happens, and silence too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .._duration import spoken
from .._options import common
from .._output import data, instant, json_line, printable
from .._settings import Settings
from ._name import NAME
from ._told import change_record, info_record, what

if TYPE_CHECKING:
    from coordkit.ring import RingEvent


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.pass_obj
def watch(settings: Settings, name: str) -> None:
    """
    Show what the ring NAME is, then every change, until Ctrl-C.

    It never ends silently: while the server gives no answer, it says so.
    """
    with settings.session() as session:
        for event in session.ring(name).watch():
            if settings.as_json:
                data(json_line({"name": name} | _record(event)))
            else:
                data(printable(_line(event)))


def _line(event: RingEvent) -> str:
    from coordkit import Resumed, RingChange, RingInfo

    if isinstance(event, RingChange):
        return (
            f"{instant(event.at)}  version {event.version}: {what(event)}, "
            f"{event.moved} slots moved, by {event.by}"
        )
    if isinstance(event, RingInfo):
        if not event.version:
            return f"there is no ring {event.name}"
        return (
            f"{event.name} is at version {event.version}: {event.nodes} nodes, "
            f"{event.slots} slots, {event.mode}"
        )
    if isinstance(event, Resumed):
        return f"answers again, after {spoken(event.silent)}"
    return f"no answer: {event.why}"


def _record(event: RingEvent) -> dict[str, Any]:
    from coordkit import Resumed, RingChange, RingInfo

    if isinstance(event, RingChange):
        return {"event": "change"} | change_record(event)
    if isinstance(event, RingInfo):
        return {"event": "ring"} | info_record(event)
    if isinstance(event, Resumed):
        return {"event": "resumed", "silent": event.silent}
    return {"event": "suspended", "why": event.why}
