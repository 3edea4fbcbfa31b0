"""
`coordkit lock acquire`, `renew`, `release` and `check`: a lock that no process keeps.

It lasts for its ttl, from one command of a script to the next, and is known by its
handle: the holder's id and the token.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

import click

from .._duration import DURATION
from .._exit import Exit
from .._options import common
from .._output import data, json_line
from .._settings import Settings
from .._signals import interrupting
from ._name import NAME
from ._told import record
from ._want import Want, want_options

if TYPE_CHECKING:
    from coordkit import Holder, Lease, LockInfo, Session

HOLDER = "COORDKIT_HOLDER"
_HANDLE = re.compile(r"([0-9a-f]{32}[xs])(?::([0-9]{1,16}))?")


class Handle(NamedTuple):
    """Whose lock it is; *token* is 0 where only the holder's id was given."""

    holder: str
    token: int

    def __str__(self) -> str:
        return f"{self.holder}:{self.token}"

    def adopt(self, session: Session, name: str, ttl: float) -> Lease:
        """Return the lease that this handle is one of, as long as it is."""
        shared = self.holder.endswith("s")
        try:
            lock = session.lock(name, ttl=ttl, shared=shared)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        return lock._adopted(self.holder, self.token)


class HandleType(click.ParamType[Handle]):
    """What `lock acquire` prints, or a holder's id alone."""

    name = "handle"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Handle:
        """Return it in its parts."""
        found = _HANDLE.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not what `lock acquire` prints", param, ctx)
        return Handle(found[1], int(found[2] or 0))


_ttl = click.option(
    "--ttl",
    type=DURATION,
    required=True,
    metavar="DUR",
    help="How long it lasts: nobody renews it for you.",
)
_name = click.argument("name", type=NAME, help="The lock.")
_holder = click.option(
    "--holder",
    type=HandleType(),
    envvar=HOLDER,
    required=True,
    metavar="HANDLE",
    help=f"What `lock acquire` printed.  [env: {HOLDER}]",
)


@click.command()
@common()
@want_options
@_ttl
@_name
@click.pass_obj
def acquire(settings: Settings, name: str, want: Want, ttl: float) -> None:
    """
    Take the lock NAME for a while, and print its handle: HOLDER:TOKEN.

    No process keeps it: it ends after --ttl, unless `lock renew` is typed in time. For
    a command that is to hold a lock while it runs, there is `lock run`.
    """
    with settings.session() as session:
        lock = want.lock(session, name, ttl)
        with interrupting():
            lease = want.take(lock)
        if lease is None:
            want.busy(lock)
        # One that was handed over lasts only as long as its waiter's place would have.
        lease.renew()
        facts = {
            "name": name,
            "held": True,
            "holder": lease.holder,
            "token": lease.token,
            "identity": session.identity,
            "expires_in": lease.remaining(),
        }
        handle = Handle(lease.holder, lease.token)
        data(json_line(facts) if settings.as_json else str(handle))
        lease._leave()  # it was told: if that had failed, it would be released now


@click.command()
@common()
@_ttl
@_holder
@_name
@click.pass_obj
def renew(settings: Settings, name: str, holder: Handle, ttl: float) -> None:
    """
    Let the lock NAME last for --ttl from now on.

    Exit code 76 when it is no longer the lock that HANDLE was given for.
    """
    with settings.session() as session:
        lease = holder.adopt(session, name, ttl)
        lease.renew()
        left = lease.remaining()
        lease._leave()
    if settings.as_json:
        data(json_line({"name": name, "held": True, "expires_in": left}))


@click.command()
@common()
@_holder
@_name
@click.pass_obj
def release(settings: Settings, name: str, holder: Handle) -> None:
    """
    Give the lock NAME back; the next who waits for it has it at once.

    Exit code 76 when it is no longer the lock that HANDLE was given for.
    """
    with settings.session() as session:
        holder.adopt(session, name, 1.0).release()
    if settings.as_json:
        data(json_line({"name": name, "held": False}))


@click.command()
@common()
@click.option(
    "--holder",
    type=HandleType(),
    envvar=HOLDER,
    metavar="HANDLE",
    help=f"By whom: what `lock acquire` printed.  [env: {HOLDER}]",
)
@_name
@click.pass_obj
def check(settings: Settings, name: str, holder: Handle | None) -> None:
    """
    Ask whether the lock NAME is still held; exit code 1: no.

    By HANDLE, if that is given; else, in a command that `lock run NAME` has started, by
    that one; else by anybody. The answer may be old when you read it: a fence that
    checks the token is what keeps a late one out.
    """
    token = 0
    if holder is None and os.environ.get("COORDKIT_LOCK") == name:
        given = os.environ.get("COORDKIT_FENCING_TOKEN", "")
        token = int(given) if given.isdecimal() else 0
    with settings.session() as session:
        info = session.lock(name).info()
    if info is None or not _is_held(info, holder, token):
        if settings.as_json:
            data(json_line({"name": name, "held": False}))
        raise click.exceptions.Exit(Exit.NO)
    if settings.as_json:
        data(json_line(record(info)))


def _is_held(info: LockInfo, holder: Handle | None, token: int) -> bool:
    if holder is not None:
        return any(_is(held, holder) for held in info.holders)
    return not token or any(held.token == token for held in info.holders)


def _is(held: Holder, handle: Handle) -> bool:
    return held.holder == handle.holder and handle.token in (0, held.token)
