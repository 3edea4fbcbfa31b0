"""
The workers of a ring: each is a live node, and puts down what it believes to own.

They look at every key again and again.  Between two looks at which a key was its own by
the same token nobody else had it, for every hand-over raises that: so what is put down is
the span from the first such look to the last.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import flavours
from contract.flavours import APIS, Api
from coordkit import (
    AsyncLiveNode,
    AsyncSession,
    CoordError,
    Revoked,
    StaleToken,
    Unreachable,
)
from support.history import Recorder, now

TTL, GRACE = 1.0, 5.0
RING = "jobs"
KEYS = [f"job:{n}" for n in range(24)]
#: A span is put down so often, for who is killed puts down nothing more.
OFTEN = 0.05
#: A write comes so late that the next owner has written, most likely.
LATE = 0.3


@dataclass(frozen=True)
class Order:
    """What a worker is told; it travels as JSON."""

    flavour: str
    process: str
    node: str
    seed: int
    url: str
    namespace: str
    history: str
    stop: str
    settle: str


class Owner:
    """One process, as one node after another of the same name."""

    def __init__(self, api: Api, s: AsyncSession, order: Order) -> None:
        self.api = api
        self.s = s
        self.node = order.node
        self.rng = random.Random(f"{order.seed} {order.process}")
        self.stop, self.settle = Path(order.stop), Path(order.settle)
        self.history = Recorder(order.history, order.process)
        #: of each key: its token, the first look and the last, and when it was put down
        self.spans: dict[str, tuple[int, float, float, float]] = {}
        #: keys that it has had, with the token, and when it saw that it has them no more
        self.past: list[tuple[float, str, int]] = []

    async def toil(self) -> None:
        """Join, own, leave; until told to stop."""
        while not self.stop.exists():
            try:
                me = await self.s.ring(RING).join(self.node, ttl=TTL, grace=GRACE)
            except CoordError as exc:
                self.history.record("not joined", self.node, why=type(exc).__name__)
                continue
            self.history.record("joined", self.node, token=me.token)
            listening = self.rng.random() < 0.5
            listener = self.api.start(self._listen(me)) if listening else None
            await self._own(me, self.rng.uniform(0.5, 5))
            self._over()
            with suppress(CoordError):
                await me.leave()
            if listener is not None:
                with suppress(CoordError):
                    await listener
            self.history.record("left", self.node)

    async def _own(self, me: AsyncLiveNode, seconds: float) -> None:
        """Look at every key, and write for some, until it is time to leave."""
        until = now() + seconds
        while not self.stop.exists() and (now() < until or self.settle.exists()):
            self._look(me)
            if self.rng.random() < 0.2 and self.spans:
                key = self.rng.choice([*self.spans])
                await self._write(key, self.spans[key][0])
            if self.past and now() > self.past[0][0] + LATE:
                _, key, token = self.past.pop(0)
                await self._write(
                    key, token
                )  # as if it had been frozen before it wrote
            await self.api.sleep(self.rng.uniform(0.001, 0.006))

    def _look(self, me: AsyncLiveNode) -> None:
        for key in KEYS:
            before = now()
            token = me.token_of(key)
            span = self.spans.get(key)
            if span is not None and span[0] != token:
                self._put_down(key)
                self.past.append((before, key, self.spans.pop(key)[0]))
                span = None
            if token is None:
                continue
            if span is None:
                self.history.record("owns", key, token=token)
                # Since it had the answer, which is not before it asked: from now on.
                self.spans[key] = (token, now(), now(), now())
            else:
                self.spans[key] = (token, span[1], before, span[3])
                if before - span[3] > OFTEN:
                    self._put_down(key)

    def _put_down(self, key: str) -> None:
        token, first, last, _ = self.spans[key]
        self.spans[key] = (token, first, last, now())
        self.history.record("owned", key, token=token, since=first, until=last)

    def _over(self) -> None:
        for key in [*self.spans]:
            self._put_down(key)
        self.spans.clear()

    async def _write(self, key: str, token: int) -> None:
        """Write under the token that it had when it looked."""
        began = now()
        try:
            await self.s.fence(key).set("by", self.node, token=token)
        except StaleToken as stale:
            self.history.refused(key, token, seen=stale.seen)
        except Unreachable:
            pass  # it may or may not have been taken
        else:
            self.history.record("fenced", key, token=token, began=began)

    async def _listen(self, me: AsyncLiveNode) -> None:
        async for change in me.changes():
            what = "revoked" if isinstance(change, Revoked) else "assigned"
            self.history.record(what, self.node)
            if what == "revoked":
                await self.api.sleep(self.rng.uniform(0, 0.05))


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
    await Owner(api, s, order).toil()
