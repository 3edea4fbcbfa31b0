"""`coordkit lock`: who holds what, and how to take it away."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ._duration import spoken
from ._exit import Exit, Failure
from ._options import common
from ._output import aligned, data, json_line, json_text, note, printable
from ._question import agreed
from ._settings import Settings

if TYPE_CHECKING:
    from coordkit import Holder, LockInfo


class LockName(click.ParamType[str]):
    """What a lock may be called."""

    name = "name"

    def convert(
        self,
        value: str,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """Return *value* if it can be a name."""
        from coordkit._core.keys import check_name

        try:
            return check_name(value)
        except ValueError as error:
            self.fail(printable(str(error)), param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the held locks whose names begin with *incomplete*."""
        try:
            with ctx.ensure_object(Settings).session() as session:
                found = session.locks()
        except Exception:  # noqa: BLE001 - a key press is no place for an error
            return []
        return [
            CompletionItem(info.name)
            for info in found
            if info.name.startswith(incomplete) and info.name.isprintable()
        ]


NAME = LockName()


@click.group()
def lock() -> None:
    """Locks: who holds them, and how to take one away."""


@lock.command("list", short_help="List the locks that are held.")
@common()
@click.pass_obj
def list_(settings: Settings) -> None:
    """List every lock of the namespace that is held, a line each."""
    with settings.session() as session:
        found = session.locks()
    if settings.as_json:
        for info in found:
            data(json_line(record(info)))
        return
    heading = [("NAME", "HELD BY", "TOKEN", "EXPIRES IN", "WAITING")]
    # The heading is for eyes: what a program reads is one lock a line.
    shown = heading if found and sys.stdout.isatty() else []
    for line in aligned([*shown, *map(_row, found)]):
        data(line)
    if not found and sys.stderr.isatty() and not settings.quiet:
        note(f"no lock is held in the namespace {settings.namespace.value}")


def _row(info: LockInfo) -> tuple[str, ...]:
    others = len(info.holders) - 1
    return (
        info.name,
        _who(info, info.holders[0]) + (f" +{others}" if others else ""),
        str(info.token),
        spoken(info.expires_in),
        str(info.waiters),
    )


@lock.command(short_help="Show who holds a lock; exit code 1 when it is free.")
@common()
@click.argument("name", type=NAME, help="The lock.")
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show who holds the lock NAME and how many wait; exit code 1 when it is free."""
    with settings.session() as session:
        info = session.lock(name).info()
    if info is None:
        _say_free(settings, name)
    elif settings.as_json:
        data(json_line(record(info)))
    else:
        for line in aligned(_facts(info)):
            data(line)


def _say_free(settings: Settings, name: str) -> None:
    """Answer *no*."""
    if settings.as_json:
        data(json_line({"name": name, "held": False}))
    elif not settings.quiet:
        data(f"{printable(name)} is free")
    raise click.exceptions.Exit(Exit.NO)


def _facts(info: LockInfo) -> list[tuple[str, str]]:
    mode = "released, but kept taken" if info.mode == "cooling" else info.mode
    facts = [("name", info.name), ("mode", mode)]
    if info.mode == "slots":
        facts.append(("slots", str(info.limit)))
    for held in info.holders:
        facts += _of_holder(info, held)
    return [*facts, ("waiting", str(info.waiters))]


def _of_holder(info: LockInfo, held: Holder) -> list[tuple[str, str]]:
    facts = [
        ("held by", _who(info, held)),
        ("token", str(held.token)),
        ("since", _instant(held.since) + " by the server's clock"),
        ("expires in", spoken(held.expires_in)),
    ]
    if held.meta:
        facts.append(("meta", _meta(held)))
    return facts


def _who(info: LockInfo, held: Holder) -> str:
    who = held.identity or "unknown"
    return f"({who}, released)" if info.mode == "cooling" else who


def _instant(seconds: float) -> str:
    try:
        local = datetime.fromtimestamp(seconds).astimezone()
    except (OverflowError, ValueError, OSError):  # not written by us
        return str(seconds)
    return local.isoformat(" ", "seconds")


def _meta(held: Holder) -> str:
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json_text(value)}"
        for key, value in held.meta.items()
    )


@lock.command("break", short_help="Take a lock from whoever holds it.")
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
                    f"meanwhile {_told(now)}: nothing was done; type it again if that "
                    "one is meant, too",
                    Exit.NOT_ACQUIRED,
                )
        broken = its.break_(reason=reason)
    if broken is None:
        _say_free(settings, name)
    elif settings.as_json:
        data(json_line(record(broken) | {"held": False, "broken": True}))
    else:
        data(printable(_told(broken, "was")))


def _ask(seen: LockInfo) -> None:
    if not agreed(f"{printable(_told(seen))}; take it away?"):
        raise Failure("nothing was done", Exit.NO)


def _holders(info: LockInfo) -> set[str]:
    return {held.holder for held in info.holders}


def _told(info: LockInfo, verb: str = "is") -> str:
    """Say in one line who holds a lock."""
    who = " and ".join(
        f"{_who(info, held)} (token {held.token})" for held in info.holders
    )
    ends = "would have expired" if verb == "was" else "expires"
    return f"{info.name} {verb} held by {who}, {ends} in {spoken(info.expires_in)}"


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


def record(info: LockInfo) -> dict[str, Any]:
    """Return a held lock as it is written in JSON; times in seconds."""
    return {
        "name": info.name,
        "held": True,
        "mode": info.mode,
        "limit": info.limit,
        **_holder(info.holders[0]),
        "waiters": info.waiters,
        "holders": [_holder(held) for held in info.holders],
    }


def _holder(held: Holder) -> dict[str, Any]:
    return {
        "holder": held.holder,
        "identity": held.identity,
        "token": held.token,
        "expires_in": held.expires_in,
        "since": held.since,
        "meta": held.meta,
    }
