"""
One record: a line of aligned text, or an object of JSON.

Names, identities and meta are written by others.  Whatever in them a terminal could
take for a command, or what would reorder a line, is shown as an escape: never raw.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import click

#: The version of every object that is written; fields are only ever added.
VERSION = 1
#: Nobody writes anything deeper but to make its reader fail.
DEEPEST = 100


def printable(text: str) -> str:
    """Return *text* in one line, with an escape for all that is not a visible character."""
    if text.isprintable():  # nearly always
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def json_line(record: Mapping[str, Any]) -> str:
    """Return *record* as one line of JSON that is safe to show."""
    return json_text({"v": VERSION, **record})


def json_text(value: Any) -> str:
    """Return *value* as JSON; what JSON has no word for is null, what is too deep a "…"."""
    import json

    text = json.dumps(_sound(value), ensure_ascii=False, separators=(",", ":"))
    if text.isprintable():  # nearly always
        return text
    return "".join(c if c.isprintable() else _in_json(c) for c in text)


def _in_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _sound(value: Any, depth: int = 0) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth == DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, Any]", value).items()
        return {str(key): _sound(inner, depth + 1) for key, inner in pairs}
    return [_sound(inner, depth + 1) for inner in cast("Sequence[Any]", value)]


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a line for each row, the cells in columns."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(_padded, row, widths)).rstrip() for row in cells]


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))


def _width(text: str) -> int:
    """Return how many columns of a terminal *text* takes."""
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text
    )


def data(line: str) -> None:
    """Write one line of what was asked for."""
    click.echo(line)


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a line for each row; the heading is for eyes, a program reads rows."""
    shown = [heading] if rows and sys.stdout.isatty() else []
    for line in aligned([*shown, *rows]):
        data(line)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Write a line for each fact."""
    for line in aligned(list(pairs)):
        data(line)


def instant(seconds: float) -> str:
    """Return an instant of the server's clock, in our time zone."""
    from datetime import datetime

    try:
        local = datetime.fromtimestamp(seconds).astimezone()
    except (OverflowError, ValueError, OSError):  # not written by us
        return str(seconds)
    return local.isoformat(" ", "seconds")


def note(message: str) -> None:
    """Say something beside the data, on stderr."""
    with suppress(OSError):  # nobody listens
        click.echo(f"coordkit: {printable(' '.join(message.split()))}", err=True)
