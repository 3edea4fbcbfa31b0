"""`coordkit fence`: what refuses the writes of holders that are no longer."""

from __future__ import annotations

import base64
import sys
from typing import Any

import click

from ._duration import DURATION
from ._exit import Exit, Failure
from ._name import NAMED, Named
from ._number import token_option
from ._options import common
from ._output import data, json_line, note, printable
from ._settings import Settings

LARGEST_VALUE = 65_536
TOKEN = token_option(
    says="The token of the lease; lock run hands it to its command.", required=True
)


class Field(Named):
    """What a field of a fence may be called."""

    name = "field"
    what = "field"


@click.group()
def fence() -> None:
    """Fences: check tokens, and write only for the newest holder."""


@fence.command(short_help="Ask whether a token is still good; exit code 1: no.")
@common()
@TOKEN
@click.argument("name", type=NAMED, help="The fence: what is guarded.")
@click.pass_obj
def check(settings: Settings, name: str, token: int) -> None:
    """
    Admit the token at the fence NAME; exit code 1 when a newer one was seen.

    From then on every older one is refused. It says nothing about what happens after
    it: whatever is written must be refused where it is written, as fence set does it.
    """
    from coordkit import StaleToken

    with settings.session() as session:
        try:
            session.fence(name).check(token)
        except StaleToken as stale:
            if not settings.as_json:
                raise
            told = {"name": name, "token": token, "admitted": False, "seen": stale.seen}
            data(json_line(told))
            raise click.exceptions.Exit(Exit.NO) from None
    if settings.as_json:
        data(json_line({"name": name, "token": token, "admitted": True, "seen": token}))


@fence.command(
    "set", short_help="Write a value, if the token is good; exit code 1: no."
)
@common()
@TOKEN
@click.option("--ttl", type=DURATION, metavar="DUR", help="It is gone after so long.")
@click.argument("name", type=NAMED, help="The fence: what is guarded.")
@click.argument("field", type=Field(), help="What the value is called.")
@click.argument("value", help="At most 64 KiB; - reads the standard input.")
@click.pass_obj
def set_(
    settings: Settings,
    name: str,
    field: str,
    value: str,
    token: int,
    ttl: float | None,
) -> None:
    """
    Write VALUE to FIELD at the fence NAME, unless a newer token was seen there.

    Check and write are one step. It answers nothing; exit code 1 when it was refused.
    """
    written = _read() if value == "-" else value.encode(errors="surrogateescape")
    if len(written) > LARGEST_VALUE:
        raise Failure(
            f"the value is {len(written)} bytes long; allowed are {LARGEST_VALUE}",
            Exit.USAGE,
        )
    _check_ttl(ttl)
    with settings.session() as session:
        session.fence(name).set(field, written, token=token, ttl=ttl)
    if settings.as_json:
        data(json_line({"name": name, "field": field, "token": token, "written": True}))


def _read() -> bytes:
    return sys.stdin.buffer.read(LARGEST_VALUE + 1)


def _check_ttl(ttl: float | None) -> None:
    from coordkit._core.fence import lasting

    try:
        lasting(ttl)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None


@fence.command(short_help="Print a value; exit code 1 when there is none.")
@common()
@click.argument("name", type=NAMED, help="The fence: what is guarded.")
@click.argument("field", type=Field(), help="What the value is called.")
@click.pass_obj
def get(settings: Settings, name: str, field: str) -> None:
    """
    Print what was written to FIELD at the fence NAME, and a newline.

    As it is, unless the output is a terminal. With --json a value that is no UTF-8 is
    "base64". Exit code 1 when there is none.
    """
    with settings.session() as session:
        value = session.fence(name).get(field)
    if settings.as_json:
        data(json_line({"name": name, "field": field, **_shown(value)}))
    elif value is not None and sys.stdout.isatty():
        data(printable(value.decode(errors="backslashreplace")))
    elif value is not None:
        sys.stdout.buffer.write(value + b"\n")
    elif not settings.quiet:
        note(f"nothing was written to {field} of {name}")
    if value is None:
        raise click.exceptions.Exit(Exit.NO)


def _shown(value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"value": None}
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value": None, "base64": base64.b64encode(value).decode()}
