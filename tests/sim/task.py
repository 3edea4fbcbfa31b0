"""The driver of the simulated world: it obeys what a generator asks for."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from coordkit._core.ops import Call, Defer, Listen, Pipeline, Reply, Request, Rest, Wait
from coordkit.errors import CoordError, Unreachable
from sim.trip import Trip

if TYPE_CHECKING:
    from sim.client import Client

T = TypeVar("T")

Scenario: TypeAlias = Generator[Request | float, Any, T]
"""A story of one client: ``yield from`` an operation, or ``yield`` seconds to sleep."""

MOST_TURNS = 10_000
"""A generator that yields so often at one instant will never let time pass."""


class Crashed(Exception):
    """The client of this task was killed."""


class Mailbox:
    """The wakes of one request id: the task that listens, and what it has not read."""

    __slots__ = ("pending", "task", "waiting")

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.waiting = False
        self.pending: tuple[str | None] | None = None

    def put(self, wake: str | None) -> None:
        """End the wait of the task, now or as soon as it begins."""
        if self.waiting:
            self.task.answer(wake)
        elif self.pending in (None, (None,)):
            self.pending = (wake,)


class Task(Generic[T]):
    """A generator that is driven; `done`, then `result` or `error`."""

    def __init__(
        self,
        client: Client,
        generator: Generator[Any, Any, T],
        name: str,
        daemon: bool,
        interrupt_at: int | None,
    ) -> None:
        self.client = client
        self.world = client.world
        self.name = name
        self.daemon = daemon
        self.done = False
        self.result: T | None = None
        self.error: BaseException | None = None
        self.yields = 0
        self._generator = generator
        self._interrupt_at = interrupt_at
        self._running = False
        self._step = 0
        self._asked_at = 0.0
        self._trip: Trip | None = None
        self._rids: list[str] = []
        self._box: Mailbox | None = None
        self._resting = self._stirred = self._stopped = False
        self._thrown: BaseException | None = None
        self.world.undone += not daemon

    def __repr__(self) -> str:
        state = "running" if not self.done else repr(self.error or self.result)
        return f"<Task {self.name}: {state}>"

    # -- for scenarios --------------------------------------------------------------

    def stop(self) -> None:
        """Tell it to stop: its `Rest`, and each one after, is answered with True."""
        self._stopped = True
        self.stir()

    def stir(self) -> None:
        """End its `Rest` early, or the next one when it is busy."""
        self._stirred = True
        if self._resting:
            self.world.at(0, self.client.tick, self._rested, self._step)

    def interrupt(self, error: BaseException | None = None) -> None:
        """Throw `KeyboardInterrupt`, or *error*, in where it waits; see `World`."""
        if not self.done:
            error = error or KeyboardInterrupt()
            self.world.at(0, self.client.tick, self._interrupt, error)

    # -- the driver -----------------------------------------------------------------

    def answer(self, value: Any) -> None:
        """Go on with a value that comes from nowhere: a start, a wake, a timer."""
        if not self.done:
            heard = self.client.clock()
            reply = Reply(value, self._asked_at, heard) if self.yields else None
            self._go(reply, None)

    def close(self) -> None:
        """Drop it where it stands, never to be resumed."""
        if not self.done and not self._running:
            self._generator.close()
            self._end(None, Crashed(f"{self.client.name} was killed"))

    def _interrupt(self, error: BaseException) -> None:
        if self.done:
            return
        self.world.happened("interrupt", self.name)
        if self._trip is not None:
            self._trip.abandon()
        self._thrown = error
        self._go(None, error)

    def _go(self, reply: Reply | None, error: BaseException | None) -> None:
        self._step += 1
        self._trip = None
        self._resting = False
        if self._box is not None:
            self._box.waiting, self._box = False, None
        for _ in range(MOST_TURNS):
            self._running = True
            try:
                if error is None:
                    request = self._generator.send(reply)
                else:
                    request = self._generator.throw(error)
            except StopIteration as stop:
                self._end(stop.value, None)
                return
            except BaseException as why:
                self._end(None, why)
                if isinstance(why, CoordError) or why is self._thrown:
                    return
                why.add_note(f"in {self.name}")
                raise
            finally:
                self._running = False
            if self.client.crashed_at is not None:  # by itself, just now
                self.close()
                return
            self.yields += 1
            if self._interrupt_at is not None and self.yields >= self._interrupt_at:
                self._interrupt_at = None
                self.interrupt()
            error = None
            reply = self._obey(request)
            if reply is None:
                return
        raise RuntimeError(f"{self.name} asks and asks, and no time passes")

    def _end(self, result: T | None, error: BaseException | None) -> None:
        self.done = True
        self.result = result
        self.error = error
        self.world.undone -= not self.daemon
        for rid in self._rids:
            self.client.mailboxes.pop(rid, None)
        if self.world.trace is not None:
            self.world.note(f"{self!r}")

    def _obey(self, request: Any) -> Reply | None:
        """Start what is asked for; answer at once where that can be."""
        self._asked_at = asked = self.client.clock()
        match request:
            case Call():
                self._trip = Trip(self.client, (request,), request.timeout, self._one)
                self.world.send(self._trip)
            case Pipeline():
                calls, timeout = request
                self._trip = Trip(self.client, calls, timeout, self._all)
                self.world.send(self._trip)
            case float() | int():
                self.client.after(request, self._slept, self._step)
            case Wait():
                return self._wait(request)
            case Listen():
                return self._listen(request)
            case Rest():
                return self._rest(request)
            case Defer():
                self.client.defer(request)
                return Reply(None, asked, asked)
            case _:
                raise TypeError(f"{self.name} yielded {request!r}")
        return None

    def _one(self, trip: Trip, values: Any, error: BaseException | None) -> None:
        if error is None and isinstance(values[0], CoordError):
            error = values[0]
        self._all(trip, None if error else values[0], error)

    def _all(self, trip: Trip, values: Any, error: BaseException | None) -> None:
        heard_at = self.client.clock()
        if isinstance(error, Unreachable):
            error.asked_at, error.heard_at = trip.asked_at, heard_at
        self._go(None if error else Reply(values, trip.asked_at, heard_at), error)

    def _slept(self, step: int) -> None:
        if step == self._step and not self.done:
            self._go(None, None)

    def _listen(self, request: Listen) -> Reply | None:
        self._rids.append(request.rid)
        self.client.mailboxes.setdefault(request.rid, Mailbox(self))
        if request.channel:
            self.client.listen(request.rid, request.channel)
        if self.client.subscribed:
            return Reply(None, self._asked_at, self._asked_at)

        def confirmed(trip: Trip, error: BaseException | None) -> None:
            self._all(trip, None, error)

        self._trip = self.client.subscribe(request.timeout, confirmed)
        return None

    def _wait(self, request: Wait) -> Reply | None:
        box = self.client.mailboxes.get(request.rid)
        if box is None or box.task is not self:
            raise AssertionError(f"{self.name} waits for {request.rid} without Listen")
        if box.pending is not None:
            (wake,), box.pending = box.pending, None
            return Reply(wake, self._asked_at, self._asked_at)
        box.waiting, self._box = True, box
        self.client.after(request.timeout, self._waited, box, self._step)
        return None

    def _waited(self, box: Mailbox, step: int) -> None:
        if step == self._step and box.waiting:
            box.put(None)

    def _rest(self, request: Rest) -> Reply | None:
        left = request.until - self._asked_at
        if self._stopped or self._stirred or left <= 0:
            self._stirred = False
            return Reply(self._stopped, self._asked_at, self._asked_at)
        self._resting = True
        if left < math.inf:
            self.client.after(left, self._rested, self._step)
        return None

    def _rested(self, step: int) -> None:
        if step == self._step and self._resting:
            self._stirred = False
            self.answer(self._stopped)
