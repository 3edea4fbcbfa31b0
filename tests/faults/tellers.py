"""The workers that count: they add, write through a fence, take ids; and put down all of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contract import flavours
from contract.flavours import APIS, Api
from coordkit import AsyncLease, AsyncSession, CoordError, StaleToken, Unreachable
from support.history import Recorder, now

TTL = 0.5
#: How long one question may take: the caller gives up after two of it.
TIMEOUT = 0.25
SHARDS = 8


@dataclass(frozen=True)
class Order:
    """What a worker is told; it travels as JSON."""

    flavour: str
    process: str
    seed: int
    url: str
    namespace: str
    history: str
    stop: str
    hands: int


def orders(
    at: Path, proxied: str, direct: str, seed: int, namespace: str, size: int
) -> Callable[[int, str], dict[str, Any]]:
    """Return what says what the worker of a name is told, in each of *size* places."""

    def order(place: int, name: str) -> dict[str, Any]:
        told = Order(
            flavour="sync" if place % 2 else "async",
            process=name,
            seed=seed,
            # two are out of the network's reach, not the server's
            url=proxied if place < size - 2 else direct,
            namespace=namespace,
            history=str(at / f"{name}.jsonl"),
            stop=str(at / "stop"),
            hands=2 if place % 2 else 4,
        )
        return asdict(told)

    return order


class Teller:
    """
    One thread or task of a worker.

    Each amount is a random number of 36 bits: a sum tells what it is made of.  Before
    each question it puts down that it asks, after it what it was told.
    """

    def __init__(self, api: Api, s: AsyncSession, order: Order, number: int) -> None:
        self.api = api
        self.s = s
        self.rng = random.Random(f"{order.seed} {order.process} {number}")
        self.stop = Path(order.stop)
        self.history = Recorder(order.history, order.process)
        self.ids = s.ids("ids", block=self.rng.choice([1, 7, 50]))

    async def toil(self) -> None:
        """Do one thing after another until told to stop."""
        work = [self.plain, self.plain, self.several, self.chosen, self.wide]
        work += [self.fenced, self.fenced, self.numbers]
        while not self.stop.exists():
            await self.rng.choice(work)()
            await self.api.sleep(self.rng.uniform(0, 0.01))

    def amount(self) -> int:
        return self.rng.getrandbits(36) | 1 << 36

    async def _deed(
        self,
        name: str,
        amount: int,
        ask: Callable[[], Coroutine[Any, Any, int]],
        token: int = 0,
    ) -> None:
        """Make one change, and put down what came of it, if that is known."""
        self.history.record("asks", name, amount=amount, token=token)
        began = now()
        with suppress(Unreachable):
            await self._told(name, amount, ask(), token, began)

    async def _insist(
        self, name: str, amount: int, ask: Callable[[], Coroutine[Any, Any, int]]
    ) -> None:
        """Ask until it is known; whichever question it was that did it."""
        self.history.record("asks", name, amount=amount)
        began, known = now(), False
        while not known:
            with suppress(Unreachable):
                await self._told(name, amount, ask(), 0, began)
                known = True
            await self.api.sleep(0 if known else 0.05)

    async def _told(
        self,
        name: str,
        amount: int,
        asked: Coroutine[Any, Any, int],
        token: int,
        began: float,
    ) -> None:
        try:
            value = await asked
        except StaleToken as stale:
            self.history.refused(name, token, amount=amount, seen=stale.seen)
        else:
            more = {"amount": amount, "value": value, "began": began, "token": token}
            self.history.record("did", name, **more)

    # -- what it does ----------------------------------------------------------------

    async def plain(self) -> None:
        amount = self.amount()
        await self._deed("plain", amount, lambda: self.s.counter("plain").add(amount))

    async def chosen(self) -> None:
        """With an id of one's own it is known in the end."""
        amount, counter = self.amount(), self.s.counter("chosen")
        rid = f"message {amount}"
        await self._insist("chosen", amount, lambda: counter.add(amount, rid=rid))

    async def wide(self) -> None:
        amount, wide = self.amount(), self.s.counter("wide", shards=SHARDS)
        rid = f"message {amount}"
        await self._insist("wide", amount, lambda: wide.add(amount, rid=rid))

    async def several(self) -> None:
        amounts = {f"many {n}": self.amount() for n in range(3)}
        for name, amount in amounts.items():
            self.history.record("asks", name, amount=amount)
        began = now()
        with suppress(CoordError):
            for name, value in (await self.s.add_all(amounts)).items():
                more = {"amount": amounts[name], "value": value, "began": began}
                self.history.record("did", name, **more)

    async def fenced(self) -> None:
        """Take the lock, write under it, and now and then go on when it is another's."""
        with suppress(CoordError):
            lock = self.s.lock("it", ttl=TTL, max_hold=TTL)
            lease = await lock.try_acquire()
            if lease is None:
                return
            for _ in range(self.rng.randrange(1, 6)):
                await self._write(lease)
                await self.api.sleep(self.rng.uniform(0, 0.02))
            if self.rng.random() < 0.2:
                await lease.lost.wait(2)
                await self.api.sleep(self.rng.uniform(0, 0.2))
                await self._write(lease)
            await lease.release()

    async def _write(self, lease: AsyncLease) -> None:
        token, amount, ledger = lease.token, self.amount(), self.s.fence("ledger")
        row = self.s.counter("row")
        await self._deed("row", amount, lambda: row.add(amount, token=token), token)
        await self._deed(
            "journal",
            amount,
            lambda: ledger.append(str(amount), token=token, keep=1_000_000),
            token,
        )

    async def numbers(self) -> None:
        taken: list[int] = []
        with suppress(Unreachable):
            for _ in range(self.rng.randrange(1, 60)):
                taken.append(await anext(self.ids))  # noqa: PERF401 -- it may break off
        self.history.record("took", "ids", numbers=taken)


def work(**order: Any) -> None:
    """Be a worker, until told to stop."""
    told = Order(**order)
    flavours.PATIENCE = 10_000.0  # it is the test that loses patience
    api = APIS[told.flavour]()
    api.run(_work(api, told))


async def _work(api: Api, order: Order) -> None:
    s = api.session(
        order.url, namespace=order.namespace, identity=order.process, timeout=TIMEOUT
    )
    tellers = [Teller(api, s, order, number) for number in range(order.hands)]
    await api.all(*(teller.toil() for teller in tellers))
