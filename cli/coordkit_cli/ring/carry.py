"""`coordkit ring export` and `import`: a ring as a document."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

import click

from .._exit import Exit, Failure, sensible
from .._options import common
from .._output import data, json_text
from .._settings import Settings
from ._name import NAME
from ._told import say


@click.command()
@common(json=False)
@click.argument("name", type=NAME, help="The ring.")
@click.pass_obj
def export(settings: Settings, name: str) -> None:
    """
    Write the ring NAME as a document of JSON: nodes, and who has which slots.

    `coordkit ring import` makes the very same ring of it.
    """
    with settings.session() as session:
        document = session.ring(name).export()
    data(json_text(document))


@click.command("import")
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.argument(
    "file", metavar="[FILE]", required=False, help="The document; stdin if left out."
)
@click.option("--over", is_flag=True, help="Write over a ring that is there.")
@click.pass_obj
def import_(settings: Settings, name: str, file: str | None, over: bool) -> None:
    """
    Make the ring NAME from a document of `coordkit ring export`, slot by slot.

    Written over another ring it is a change like any other: readers see one version or
    the next.
    """
    document = _read(file)
    with settings.session() as session:
        ring = session.ring(name)
        with sensible():
            made = ring.import_(document, over=over)
        slots = int(document["slots"])
    say(made, slots, as_json=settings.as_json, quiet=settings.quiet)


def _read(file: str | None) -> dict[str, Any]:
    where = "stdin" if file is None else file
    try:
        text = sys.stdin.read() if file is None else Path(file).read_text("utf-8")
        document: Any = json.loads(text)
    except OSError as error:
        raise Failure(f"cannot read {where}: {error.strerror}", Exit.USAGE) from None
    except ValueError:
        raise Failure(f"{where} holds no JSON", Exit.USAGE) from None
    if not isinstance(document, dict):
        raise Failure(f"{where} holds no ring", Exit.USAGE)
    return cast("dict[str, Any]", document)
