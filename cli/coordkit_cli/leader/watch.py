"""`coordkit leader watch`: every change of leader as it happens, and silence too."""

from __future__ import annotations

import click

from .._options import common
from .._output import data, json_line, printable
from .._settings import Settings
from ._name import NAME
from ._told import event_line, event_record


@click.command()
@common()
@click.argument("name", type=NAME, help="The election.")
@click.pass_obj
def watch(settings: Settings, name: str) -> None:
    """
    Show who leads NAME, then every change, until Ctrl-C.

    It never ends silently: while the server gives no answer, it says so. After a silence
    what is true now follows, and terms that rise show whether something was missed.
    """
    with settings.session() as session:
        for event in session.election(name).observe():
            if settings.as_json:
                data(json_line({"name": name} | event_record(event)))
            else:
                data(printable(event_line(event)))
