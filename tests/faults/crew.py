"""The workers of the torture: they take locks, write under them, and let go, or do not."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import flavours
from contract.flavours import APIS, Api
from coordkit import (
    AsyncLease,
    AsyncLock,
    AsyncSession,
    LeaseLost,
    LockTimeout,
    StaleToken,
    Unreachable,
)
from support.history import Recorder, now

TTL = 0.8
WAITER_TTL = 0.8
#: how one question may end without a lease
NOT_HAD = (LockTimeout, Unreachable, LeaseLost, TimeoutError)


@dataclass(frozen=True)
class Kind:
    """One lock that all of them want, and how many may have it at once."""

    name: str
    options: dict[str, Any]
    limit: int
    weight: int


#: the names of locks that nobody ever shares
ALONE = ("till", "door", "desk", "gate")
#: "books" has readers, any number, and writers, who want it alone
KINDS = (
    *(Kind(name, {}, 1, 2) for name in ALONE),
    Kind("seats", {"slots": 2}, 2, 2),
    Kind("books", {"shared": True}, 1000, 2),
    Kind("books", {}, 1, 1),
)


@dataclass(frozen=True)
class Order:
    """What a worker is told; it travels as JSON."""

    flavour: str
    process: str
    seed: int
    url: str
    namespace: str
    history: str
    resource: int
    stop: str
    hands: int


class Client:
    """Speaks to the resource, which checks tokens by itself."""

    def __init__(self, port: int) -> None:
        self._lines = socket.create_connection(("127.0.0.1", port)).makefile("rw")

    def write(self, name: str, token: int) -> None:
        """Write once; whether it was taken, the resource notes."""
        self._lines.write(json.dumps({"name": name, "token": token}) + "\n")
        self._lines.flush()
        self._lines.readline()


class Hand:
    """One thread or task of a worker."""

    def __init__(self, api: Api, s: AsyncSession, order: Order, number: int) -> None:
        self.api = api
        self.s = s
        self.who = f"h{number}"
        self.rng = random.Random(f"{order.seed} {order.process} {number}")
        self.stop = Path(order.stop)
        self.history = Recorder(order.history, order.process)
        self.resource = Client(order.resource)

    async def toil(self) -> None:
        """Take one lock after another until told to stop."""
        weights = [kind.weight for kind in KINDS]
        while not self.stop.exists():
            (kind,) = self.rng.choices(KINDS, weights)
            wedged = kind.limit == 1 and self.rng.random() < 0.04
            options = dict(kind.options)
            if wedged:  # it is not renewed, and its holder does not look at the time
                options["max_hold"] = 0.15
            lock = self.s.lock(kind.name, ttl=TTL, waiter_ttl=WAITER_TTL, **options)
            await self._take(kind, lock, wedged=wedged)
            await self.api.sleep(self.rng.uniform(0, 0.02))

    async def _take(self, kind: Kind, lock: AsyncLock, *, wedged: bool) -> None:
        self.history.asked(kind.name, self.who)
        try:
            lease = await self._ask(lock)
        except NOT_HAD as why:
            self.history.gave_up(kind.name, self.who, why=type(why).__name__)
            return
        if lease is None:
            self.history.gave_up(kind.name, self.who, why="busy")
            return
        mine = Held(self.history, self.who, lease, kind.limit)
        if wedged:
            await self._wedged(mine)
        elif self.rng.random() < 0.5:
            await self._in_a_body(mine)
        else:
            await self._by_hand(mine)

    async def _ask(self, lock: AsyncLock) -> AsyncLease | None:
        choice = self.rng.random()
        if choice < 0.15:
            return await lock.try_acquire()
        if choice < 0.6:
            return await lock.acquire()
        limit = self.rng.choice([0.0, 0.02, 0.2, 1.5])
        if self.api.name == "async" and choice > 0.8:
            async with asyncio.timeout(limit):  # cancelled, whatever it is at
                return await lock.acquire()
        return await lock.acquire(timeout=limit)

    async def _by_hand(self, mine: Held) -> None:
        with suppress(LeaseLost):
            await self._work(mine)
        mine.over()
        with suppress(LeaseLost, Unreachable):
            await mine.lease.release()

    async def _in_a_body(self, mine: Held) -> None:
        with suppress(LeaseLost, Unreachable):
            async with mine.lease:
                try:
                    await self._work(mine)
                finally:
                    mine.over()

    async def _wedged(self, mine: Held) -> None:
        """Sleep past the end of the lease, then write as if nothing had happened."""
        await mine.lease.lost.wait(5)
        mine.over()
        await self.api.sleep(self.rng.uniform(0, 0.2))
        await self._write(mine)
        with suppress(LeaseLost, Unreachable):
            await mine.lease.release()

    async def _work(self, mine: Held) -> None:
        long = self.rng.random() < 0.02  # it has to be renewed
        for _ in range(30 if long else self.rng.choice([0, 1, 1, 2, 3])):
            await self.api.sleep(self.rng.uniform(0, 0.03 if long else 0.005))
            mine.look()
            mine.lease.check()
            if mine.limit == 1:
                await self._write(mine)

    async def _write(self, mine: Held) -> None:
        """Write to both; a freeze between the look and the write makes it a late one."""
        name, token = mine.lease.name, mine.lease.token
        self.resource.write(f"resource {name}", token)
        began = now()
        fence = self.s.fence(name)
        try:
            await fence.set("by", f"{self.who} {token}", token=token)
        except StaleToken as stale:
            self.history.refused(f"fence {name}", token, seen=stale.seen)
        except Unreachable:
            pass  # it may or may not have been taken
        else:
            self.history.record("fenced", f"fence {name}", token=token, began=began)


class Held:
    """A lease, and what its holder has put down about it."""

    def __init__(
        self, history: Recorder, who: str, lease: AsyncLease, limit: int
    ) -> None:
        self.lease = lease
        self.limit = limit
        self._history = history
        self._id = (lease.name, who, lease.token)
        self._until = lease.deadline
        history.granted(*self._id, self._until, limit=limit)

    def look(self) -> None:
        """Put down what the keeper has done meanwhile."""
        until = self.lease.deadline
        if until > self._until and self.lease.held:
            self._until = until
            self._history.renewed(*self._id, until, limit=self.limit)

    def over(self) -> None:
        """Put down that its holder acts no more."""
        if self.lease.held:
            self._history.released(*self._id)
        else:
            self._history.lost(*self._id, reason=self.lease.reason)


def work(**order: Any) -> None:
    """Be a worker, until told to stop."""
    told = Order(**order)
    flavours.PATIENCE = 10_000.0  # it is the test that loses patience
    api = APIS[told.flavour]()
    api.run(_work(api, told))


async def _work(api: Api, order: Order) -> None:
    s = api.session(
        order.url, namespace=order.namespace, identity=order.process, timeout=0.3
    )
    hands = [Hand(api, s, order, number) for number in range(order.hands)]
    await api.all(*(hand.toil() for hand in hands))
