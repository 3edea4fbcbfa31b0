"""`coordkit lock break` and `revoke`: taking a lock away from whoever holds it."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from .._exit import Exit, Failure
from .._options import common
from .._output import data, json_line, printable
from .._question import agreed
from .._settings import Settings
from ._name import NAME
from ._told import record, say_free, told

if TYPE_CHECKING:
    from coordkit import LockInfo


@click.command("break")
@common()
@click.argument("name", type=NAME, help="The lock.")
@click.option(
    "--reason", required=True, metavar="TEXT", help="Why, for those who ask later."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def break_(settings: Settings, name: str, reason: str, yes: bool) -> None:
    """
    Take the lock NAME from whoever holds it; exit code 1 when nobody did.

    The holder learns it at its next renewal and may act until then: only a fence that
    checks tokens keeps it out. Asks first; where there is no terminal it needs --yes.
    """
    if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Failure(
            f"nobody is here to be asked; type: {_typed(settings, name, reason)}",
            Exit.USAGE,
        )
    with settings.session() as session:
        its = session.lock(name)
        seen = its.info()
        if seen is not None and not yes:
            _ask(seen)
            if (now := its.info()) is not None and _holders(now) != _holders(seen):
                raise Failure(
                    f"meanwhile {told(now)}: nothing was done; type it again if that "
                    "one is meant, too",
                    Exit.NOT_ACQUIRED,
                )
        broken = its.break_(reason=reason)
    if broken is None:
        say_free(settings, name)
    elif settings.as_json:
        data(json_line(record(broken) | {"held": False, "broken": True}))
    else:
        data(printable(told(broken, "was")))


def _ask(seen: LockInfo) -> None:
    if not agreed(f"{printable(told(seen))}; take it away?"):
        raise Failure("nothing was done", Exit.NO)


def _holders(info: LockInfo) -> set[str]:
    return {held.holder for held in info.holders}


def _typed(settings: Settings, name: str, reason: str) -> str:
    """Return the command that does not ask; never a URL, which may hold a password."""
    words = ["coordkit"]
    for key in ("url_file", "namespace"):
        if value := settings.options.get(key):
            words += ["--" + key.replace("_", "-"), value]
    if "url" in settings.options:
        words += ["--url", "…"]
    words += ["lock", "break", "--reason", reason, "--yes"]
    return shlex.join([*words, "--", name] if name.startswith("-") else [*words, name])


@click.command()
@common()
@click.argument("name", type=NAME, help="The lock.")
@click.pass_obj
def revoke(settings: Settings, name: str) -> None:
    """
    Ask whoever holds the lock NAME to let go; exit code 1 when nobody does.

    It learns it at its next renewal, a third of its ttl later at most: then its lease is
    lost, and a command of `lock run` is ended. `lock break` does not ask.
    """
    with settings.session() as session:
        asked = session.lock(name).revoke()
    if asked is None:
        say_free(settings, name)
    elif settings.as_json:
        data(json_line(record(asked) | {"asked": True}))
    else:
        data(printable(f"{told(asked)}; asked to let go"))
