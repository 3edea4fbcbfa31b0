"""`coordkit lock list`, `show` and `wait`: the locks as others hold them."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING

import click

from .._duration import DURATION, spoken
from .._exit import Exit, Failure
from .._options import common
from .._output import aligned, data, instant, json_line, json_text, note, printable
from .._settings import Settings
from ._name import NAME
from ._told import record, say_free, told, who

if TYPE_CHECKING:
    from coordkit import Holder, LockInfo


@click.command("list")
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
        who(info, info.holders[0]) + (f" +{others}" if others else ""),
        str(info.token),
        spoken(info.expires_in),
        str(info.waiters),
    )


@click.command()
@common()
@click.argument("name", type=NAME, help="The lock.")
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show who holds the lock NAME and how many wait; exit code 1 when it is free."""
    with settings.session() as session:
        info = session.lock(name).info()
    if info is None:
        say_free(settings, name)
    elif settings.as_json:
        data(json_line(record(info)))
    else:
        for line in aligned(_facts(info)):
            data(line)


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
        ("held by", who(info, held)),
        ("token", str(held.token)),
        ("since", instant(held.since) + " by the server's clock"),
        ("expires in", spoken(held.expires_in)),
    ]
    if held.meta:
        facts.append(("meta", _meta(held)))
    return facts


def _meta(held: Holder) -> str:
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json_text(value)}"
        for key, value in held.meta.items()
    )


#: How often it is looked whether a lock is free: nobody tells those who do not want it.
LOOK = 0.25
#: How long no answer is taken for one that comes later.
SILENCE = 10.0


@click.command()
@common()
@click.option(
    "-w", "--wait", "limit", type=DURATION, metavar="DUR", help="Give up after so long."
)
@click.argument("name", type=NAME, help="The lock.")
@click.pass_obj
def wait(settings: Settings, name: str, limit: float | None) -> None:
    """
    Wait until nobody holds the lock NAME; exit code 75 when --wait is over before.

    It takes nothing: somebody else may have it when this ends. It looks four times a
    second; who wants the lock itself is woken at once by `lock run` or `lock acquire`.
    """
    from coordkit import Unreachable

    give_up = math.inf if limit is None else time.monotonic() + limit
    with settings.session() as session:
        lock, heard_at = session.lock(name), time.monotonic()
        while True:
            try:
                info = lock.info()
                heard_at = time.monotonic()
            except Unreachable:
                if time.monotonic() >= min(heard_at + SILENCE, give_up):
                    raise
            else:
                if info is None:
                    break
                if time.monotonic() >= give_up:
                    raise Failure(printable(told(info)), Exit.NOT_ACQUIRED)
            time.sleep(max(0.0, min(LOOK, give_up - time.monotonic())))
    if settings.as_json:
        data(json_line({"name": name, "held": False}))
