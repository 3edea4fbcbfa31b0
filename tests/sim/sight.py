"""One who observes something, in a simulated world: what it is told, and that it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from coordkit._core.observe import Resumed, Subject, Suspended, observe
from coordkit._core.ops import Call, Op, Reply, Tell, Wait
from coordkit.errors import CoordError, Unreachable
from sim.story import Violation
from sim.world import Client

EVERY = 1.0
"""So often it asks anyway, in seconds; elsewhere less often, but an episode is short."""


@dataclass
class Sight:
    """What one observer was told, and when."""

    client: Client
    told: list[tuple[float, Any]] = field(default_factory=list)
    #: whether the last question had no answer, and whether that was told
    silent: bool = False
    suspended: bool = False

    def watch(self, subject: Subject) -> None:
        """Have the client watch, to the end of the world."""
        op = observe(subject, self.client.rid(""), every=EVERY)
        name = f"{self.client.name}.observer"
        self.client.spawn(self._watching(op), name=name, daemon=True)

    def _watching(self, op: Op[None]) -> Op[None]:
        """Run an observation; note what it tells."""
        request = next(op)
        answer: Reply | None = None
        problem: BaseException | None = None
        while True:
            answer, problem = None, None
            if isinstance(request, Tell):
                self._told(request.value)
                now = self.client.clock()
                answer = Reply(None, now, now)
            else:
                if isinstance(request, Wait):
                    self._nothing_is_kept_back()
                try:
                    answer = yield request
                except CoordError as error:
                    problem = error
            if isinstance(request, Call):
                self.silent = isinstance(problem, Unreachable)
            request = op.throw(problem) if problem else op.send(answer)  # type: ignore[arg-type]  # one of both

    def _told(self, event: Any) -> None:
        self.told.append((self.client.world.now, event))
        if isinstance(event, Suspended | Resumed):
            self.suspended = isinstance(event, Suspended)

    def _nothing_is_kept_back(self) -> None:
        """Whoever watches knows, before it waits, whether it may have missed something."""
        if self.silent != self.suspended:
            what = "silent" if self.silent else "there again"
            raise Violation(f"{self.client.name} is not told that the server is {what}")

    def check_calm(self) -> None:
        """All is calm: the silence that was told has been told to end."""
        if self.suspended and not self.client.crashed:
            raise Violation("the silence that was told has not been told to end")
