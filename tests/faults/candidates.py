"""The workers of the torture of elections: they stand, lead, resign or do not, and look on."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from contract import flavours
from contract.flavours import APIS, Api
from coordkit import (
    AsyncElection,
    AsyncSession,
    Elected,
    LeaseLost,
    Paused,
    Unreachable,
    Vacant,
)
from faults.crew import NOT_HAD, TTL, WAITER_TTL, Held
from faults.tellers import Order
from support.history import Recorder, now

NAME = "it"


class Candidate:
    """One thread or task of a worker."""

    def __init__(
        self, api: Api, election: AsyncElection, order: Order, number: int
    ) -> None:
        self.api = api
        self.election = election
        self.who = f"h{number}"
        self.rng = random.Random(f"{order.seed} {order.process} {number}")
        self.stop = Path(order.stop)
        self.history = Recorder(order.history, order.process)

    async def toil(self) -> None:
        """Stand again and again until told to stop."""
        while not self.stop.exists():
            await self._stand()
            await self.api.sleep(self.rng.uniform(0, 0.05))

    async def _stand(self) -> None:
        limit, preempt = self.rng.choice([None, 0.2, 1.5]), self.rng.random() < 0.2
        self.history.asked(NAME, self.who)
        try:
            term = await self.election.campaign(
                limit, self.rng.randint(-1, 1), preempt=preempt
            )
        except NOT_HAD as why:
            self.history.gave_up(NAME, self.who, why=type(why).__name__)
            return
        mine = Held(self.history, self.who, term, 1)
        with suppress(LeaseLost):
            for _ in range(self.rng.choice([0, 1, 5, 60])):
                await self.api.sleep(self.rng.uniform(0, 0.03))
                mine.look()
                term.check()
        mine.over()
        with suppress(LeaseLost, Unreachable):
            await term.resign()


async def look_on(election: AsyncElection, history: Recorder) -> None:
    """Put down all that is told, until the election is paused."""
    async for event in election.observe():
        match event:
            case Elected(leader):
                history.record("saw", NAME, token=leader.token, kind="Elected")
            case Vacant(_, token, _, how):
                history.record("saw", NAME, token=token, kind="Vacant", how=how)
            case _:
                history.record("saw", NAME, kind=type(event).__name__)
        if isinstance(event, Paused):
            return


def work(**order: Any) -> None:
    """Be a worker, until told to stop."""
    told = Order(**order)
    flavours.PATIENCE = 10_000.0  # it is the test that loses patience
    api = APIS[told.flavour]()
    api.run(_work(api, told))


def _election(s: AsyncSession) -> AsyncElection:
    return s.election(NAME, ttl=TTL, waiter_ttl=WAITER_TTL)


async def _work(api: Api, order: Order) -> None:
    s = api.session(
        order.url, namespace=order.namespace, identity=order.process, timeout=0.3
    )
    election = _election(s)
    hands = [Candidate(api, election, order, number) for number in range(order.hands)]
    history = Recorder(order.history, order.process)
    await api.all(look_on(election, history), *(hand.toil() for hand in hands))


# -- one that is killed or frozen --------------------------------------------------------


def lead(flavour: str, url: str, namespace: str, ttl: float, at: str) -> None:
    """Stand, and put down, again and again, whether the term is held; then stand anew."""
    flavours.PATIENCE = 10_000.0
    api = APIS[flavour]()
    api.run(_lead(api, url, namespace, ttl, Path(at)))


async def _lead(api: Api, url: str, namespace: str, ttl: float, path: Path) -> None:
    s = api.session(url, namespace=namespace)
    election = s.election(NAME, ttl=ttl, waiter_ttl=WAITER_TTL)
    for number in count():
        term = await election.campaign()
        history = Recorder(path / f"{number:06}.jsonl", "leader")
        history.granted(NAME, "leader", term.token, term.deadline)
        held = True
        while held:
            await api.sleep(0.002)
            at, deadline = (
                now(),
                term.deadline,
            )  # before it looks: it may be frozen here
            held = term.held
            what = "held" if held else "stepped down"
            history.record(what, NAME, at=at, token=term.token, deadline=deadline)
        with suppress(LeaseLost, Unreachable):
            await term.resign()
