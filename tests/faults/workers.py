"""What the processes do that tests kill, freeze and thaw."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from contract import flavours
from contract.flavours import APIS, Api
from coordkit import (
    AsyncLease,
    AsyncLock,
    AsyncSession,
    LeaseLost,
    Session,
    StaleToken,
)
from support.processes import Child


def say(what: str, **more: Any) -> None:
    """Tell the test process."""
    sys.stdout.write(json.dumps({"what": what, **more}) + "\n")
    sys.stdout.flush()


def told(child: Child) -> dict[str, dict[str, Any]]:
    """Return what a worker has said so far, by what it was about."""
    lines = child.output().splitlines()
    said = [json.loads(line) for line in lines if line.startswith('{"what"')]
    return {each["what"]: each for each in said}


async def hear(api: Api, child: Child, what: str) -> dict[str, Any]:
    """Wait until the worker has spoken about *what*; return what it said."""

    def heard() -> dict[str, Any] | None:
        assert child.alive or what in told(child), child.output()
        return told(child).get(what)

    said: dict[str, Any] = await api.until(heard, timeout=10)
    return said


# -- who holds -------------------------------------------------------------------------


def hold(flavour: str, url: str, namespace: str, ttl: float, go: str) -> None:
    """Take the lock "it"; once the file *go* is there, work as if nothing had happened."""
    api = APIS[flavour]()
    api.run(_hold(api, url, namespace, ttl, go))


async def _hold(api: Api, url: str, namespace: str, ttl: float, go: str) -> None:
    s = api.session(url, namespace=namespace)
    lease = await s.lock("it", ttl=ttl).acquire()
    say("holds", token=lease.token)
    while not os.path.exists(go):  # noqa: ASYNC240, PTH110 -- a look that takes microseconds
        await api.sleep(0.01)
    try:
        lease.check()
        say("checked", reason=None)
    except LeaseLost as lost:
        say("checked", reason=lost.reason)
    try:
        await s.fence("it").set("by", "the old one", token=lease.token)
        say("wrote", seen=None)
    except StaleToken as stale:
        say("wrote", seen=stale.seen)
    try:
        await lease.release()
        say("released", reason=None)
    except LeaseLost as lost:
        say("released", reason=lost.reason)


def hold_in_a_body(url: str, namespace: str, ttl: float) -> None:
    """Take the lock "it" and work, step by step, in an ``async with``."""
    asyncio.run(_hold_in_a_body(url, namespace, ttl))


async def _hold_in_a_body(url: str, namespace: str, ttl: float) -> None:
    async with AsyncSession(url, namespace=namespace) as s:
        try:
            async with s.lock("it", ttl=ttl).acquire() as lease:
                say("holds", token=lease.token)
                for step in range(10**6):
                    await asyncio.sleep(0.005)
                    if not lease.held:
                        say("worked on", step=step)
        except LeaseLost as lost:
            say("stopped", reason=lost.reason)


# -- who waits -------------------------------------------------------------------------


def wait(flavour: str, url: str, namespace: str, waiter_ttl: float) -> None:
    """Wait for the lock "it", without a limit."""
    api = APIS[flavour]()
    api.run(_wait(api, url, namespace, waiter_ttl))


async def _wait(api: Api, url: str, namespace: str, waiter_ttl: float) -> None:
    s = api.session(url, namespace=namespace)
    say("waits")
    lease = await s.lock("it", waiter_ttl=waiter_ttl).acquire()
    say("holds", token=lease.token)
    await api.sleep(60)


# -- who leaves ------------------------------------------------------------------------

#: what is referred to from here lives until the interpreter dies
KEPT: list[Session | AsyncSession | AsyncLease | Any] = []


class Broken(Exception):
    """The worker's own failure."""


def _leave(how: str) -> None:
    if how == "exit":
        sys.exit(3)
    if how == "raise":
        raise Broken("the worker's own failure")


def leave(url: str, namespace: str, ttl: float, how: str) -> None:
    """End the interpreter while the lock "it" is held."""
    s = Session(url, namespace=namespace)
    lease = s.lock("it", ttl=ttl).acquire()
    KEPT.extend((s, lease))
    say("holds", token=lease.token)
    _leave(how)


async def leave_async(url: str, namespace: str, ttl: float, how: str) -> None:
    """End the event loop, and the interpreter, while the lock "it" is held."""
    s = AsyncSession(url, namespace=namespace)
    lease = await s.lock("it", ttl=ttl).acquire()
    KEPT.extend((s, lease))
    say("holds", token=lease.token)
    _leave(how)


def unwind(url: str, namespace: str, ttl: float, how: str) -> None:
    """Leave the blocks of session and lease by the end of the interpreter."""
    with Session(url, namespace=namespace) as s, s.lock("it", ttl=ttl) as lease:
        say("holds", token=lease.token)
        _leave(how)


async def unwind_async(url: str, namespace: str, ttl: float, how: str) -> None:
    """Leave the blocks of session and lease by the end of the event loop."""
    async with (
        AsyncSession(url, namespace=namespace) as s,
        s.lock("it", ttl=ttl).acquire() as lease,
    ):
        say("holds", token=lease.token)
        _leave(how)


async def leave_waiting(url: str, namespace: str) -> None:
    """End the event loop, and the interpreter, while three wait for the lock "it"."""
    s = AsyncSession(url, namespace=namespace)
    lock = s.lock("it", waiter_ttl=30)
    KEPT.append(s)
    KEPT.extend(asyncio.create_task(_ask(lock)) for _ in range(3))
    await asyncio.sleep(0.2)
    say("waits")


async def _ask(lock: AsyncLock) -> AsyncLease:
    return await lock.acquire()


# -- who is a member -------------------------------------------------------------------


def belong(
    flavour: str, url: str, namespace: str, ttl: float, identities: list[str]
) -> None:
    """Join the group "it" under each identity; say so again whenever one came back."""
    flavours.PATIENCE = 10_000.0
    api = APIS[flavour]()
    api.run(_belong(api, url, namespace, ttl, identities))


async def _belong(
    api: Api, url: str, namespace: str, ttl: float, identities: list[str]
) -> None:
    s = api.session(url, namespace=namespace)
    group = s.group("it", ttl=ttl)
    members = [await group.join(identity) for identity in identities]
    tokens = {member.identity: member.token for member in members}
    say("belongs", tokens=tokens)
    while True:
        await api.sleep(0.005)
        now = {member.identity: member.token for member in members if member.held}
        if len(now) == len(members) and not now.items() & tokens.items():
            say("came back", tokens=now)
            tokens = now
