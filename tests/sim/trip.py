"""One request on its way through a simulated network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from coordkit._core.ops import Call
from coordkit.errors import Unreachable

if TYPE_CHECKING:
    from sim.client import Client


class Trip:
    """One request on its way, and what becomes of it."""

    __slots__ = (
        "abandoned",
        "asked_at",
        "calls",
        "client",
        "connection",
        "ends",
        "executions",
        "incarnation",
        "on_answer",
        "settled",
        "subscribes",
        "timer",
    )

    def __init__(
        self,
        client: Client,
        calls: tuple[Call, ...],
        timeout: float,
        on_answer: Callable[[Trip, Any, BaseException | None], None],
        *,
        subscribes: bool = False,
    ) -> None:
        world = client.world
        self.client = client
        self.calls = calls
        self.asked_at = client.clock()
        self.ends = world.now + max(timeout, 0.0) / client.rate
        self.on_answer = on_answer
        self.subscribes = subscribes
        self.connection = client.connection
        self.incarnation = world.server.incarnation
        self.executions = 0
        self.settled = False
        self.abandoned = False
        self.timer = False

    def settle(self, values: list[Any] | None, error: BaseException | None) -> None:
        """Hand the caller what it waits for, unless it has stopped waiting."""
        world = self.client.world
        if self.settled:
            world.counts["answer too late"] += error is None
            return
        if error is None and world.now > self.ends and world.chance(0.5):
            # The client was stopped; its own timeout is ready as well as the reply.
            error = Unreachable("no answer in time")
        self.settled = True
        self.abandoned = error is not None
        self.on_answer(self, values, error)

    def time_out(self) -> None:
        """Its caller gives up, unless it has its answer."""
        if not self.settled:
            self.client.world.counts["timeouts"] += 1
            self.settle(None, Unreachable("no answer in time"))

    def abandon(self) -> None:
        """Its caller was interrupted; the request travels on."""
        self.settled = self.abandoned = True
