"""`coordkit ring owner`: the nodes of keys, at some hundred thousand a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from .._exit import Exit, Failure, sensible
from .._options import common
from .._output import data, json_line, printable
from .._settings import Settings
from ._name import NAME

if TYPE_CHECKING:
    from coordkit import Ring

#: What is read at once, if so much is there already: a trip costs no key.
CHUNK = 1 << 16


@click.command()
@common()
@click.argument("name", type=NAME, help="The ring.")
@click.argument(
    "keys", metavar="[KEY]...", nargs=-1, help="Whose nodes; stdin's lines if left out."
)
@click.option(
    "-n",
    "number",
    type=int,
    metavar="N",
    help="The first N nodes, in distinct zones while there are enough.  [default: the "
    "owner]",
)
@click.pass_obj
def owner(
    settings: Settings, name: str, keys: tuple[str, ...], number: int | None
) -> None:
    """
    Show the node of each KEY on the ring NAME.

    Of one KEY only its nodes are shown, of several, or of the lines of stdin, first the
    key: all separated by tabs. Lines are taken byte by byte, without their newline.
    """
    if not keys and sys.stdin.isatty():
        raise Failure("no key: name one, or give a key a line on stdin", Exit.USAGE)
    with settings.session() as session, sensible():
        ring = session.ring(name)
        ring.refresh()
        asked = [key.encode("utf-8", "surrogateescape") for key in keys]
        told = _teller(ring, number, settings, alone=len(asked) == 1)
        for some in [asked] if asked else _lines():
            told(some)


def _lines() -> Iterator[list[bytes]]:
    """Yield the lines of stdin, as many as have come."""
    rest = b""
    stdin = sys.stdin.fileno()
    while chunk := os.read(stdin, CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]


def _teller(
    ring: Ring, number: int | None, settings: Settings, *, alone: bool
) -> Callable[[list[bytes]], None]:
    """Return what tells the nodes of some keys."""

    def nodes_of(keys: list[bytes]) -> list[tuple[str, ...]]:
        if number is None:
            return [(node,) for node in ring.owner_many(keys)]
        return [ring.owners(key, number) for key in keys]

    def line(key: bytes, nodes: tuple[str, ...]) -> str:
        if settings.as_json:
            return json_line(_record(ring, key, nodes))
        shown = [printable(node) for node in nodes]
        return "\t".join(shown if alone else [printable(_text(key)), *shown])

    def tell(keys: list[bytes]) -> None:
        data("\n".join(map(line, keys, nodes_of(keys))))

    if settings.as_json or alone or number is not None or sys.stdout.isatty():
        return tell
    return _Fast(ring).tell


def _record(ring: Ring, key: bytes, nodes: tuple[str, ...]) -> dict[str, Any]:
    return {"key": _text(key), "slot": ring.locate(key).slot, "nodes": nodes}


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


class _Fast:
    """Tells owners to a program: keys as they came, in one write for all of a chunk."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._shown: dict[str, bytes] = {}

    def tell(self, keys: list[bytes]) -> None:
        """Write a line for each key."""
        owners = self._ring.owner_many(keys)
        shown = self._shown
        for node in set(owners) - shown.keys():
            shown[node] = b"\t" + printable(node).encode() + b"\n"
        ends = map(shown.__getitem__, owners)
        sys.stdout.buffer.write(b"".join(map(bytes.__add__, keys, ends)))
        sys.stdout.buffer.flush()
