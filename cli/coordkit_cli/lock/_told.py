"""A lock as it is told: in a line, and in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .._duration import spoken
from .._exit import Exit
from .._output import data, json_line, printable
from .._settings import Settings

if TYPE_CHECKING:
    from coordkit import Holder, LockInfo


def say_free(settings: Settings, name: str) -> None:
    """Answer *no*."""
    if settings.as_json:
        data(json_line({"name": name, "held": False}))
    elif not settings.quiet:
        data(f"{printable(name)} is free")
    raise click.exceptions.Exit(Exit.NO)


def told(info: LockInfo, verb: str = "is") -> str:
    """Say in one line who holds a lock."""
    holders = " and ".join(
        f"{who(info, held)} (token {held.token})" for held in info.holders
    )
    ends = "would have expired" if verb == "was" else "expires"
    return f"{info.name} {verb} held by {holders}, {ends} in {spoken(info.expires_in)}"


def who(info: LockInfo, held: Holder) -> str:
    """Return the identity of one holder of a lock."""
    identity = held.identity or "unknown"
    return f"({identity}, released)" if info.mode == "cooling" else identity


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
