"""A simulated process: its clock, its tasks, its session's channel."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from coordkit._core.ops import Call, Defer
from coordkit.errors import Unreachable
from sim.task import Mailbox, Task
from sim.trip import Trip

if TYPE_CHECKING:
    from sim.world import World

T = TypeVar("T")

RETRY = (0.05, 0.2)
"""A deferred call, and a lost subscription, is tried again after so many seconds."""


class Client:
    """A process with a clock of its own, a session's channel, and tasks."""

    def __init__(self, world: World, name: str) -> None:
        rng, drift = world.rng, world.faults.drift
        self.world = world
        self.name = name
        self.rate = 1 + rng.uniform(-drift, drift)
        self._offset = rng.uniform(0, 1_000_000)
        self.channel = f"{rng.getrandbits(64):016x}"
        self.tasks: list[Task[Any]] = []
        self.mailboxes: dict[str, Mailbox] = {}
        self.listeners: dict[str, set[str]] = {}  # channel: rids
        self.deferred: list[Defer] = []
        self.deferral: Callable[[Call, float], None] | None = None
        self.crashed_at: float | None = None
        self.subscribed = False
        self.connection = 0
        self._gap = False
        self._paused_until = self._apart_until = 0.0
        self._backlog: list[tuple[bool, Callable[..., None], tuple[Any, ...]]] = []

    # -- for scenarios --------------------------------------------------------------

    def clock(self) -> float:
        """What this client's clock shows."""
        return self._offset + self.world.now * self.rate

    def world_time(self, instant: float) -> float:
        """The world time at which this client's clock shows *instant*."""
        return (instant - self._offset) / self.rate

    def rid(self, mode: str = "x") -> str:
        """A new request id: the channel, 16 random characters, the mode."""
        return f"{self.channel}{self.world.rng.getrandbits(64):016x}{mode}"

    def spawn(
        self,
        generator: Generator[Any, Any, T],
        *,
        name: str = "",
        daemon: bool = False,
        interrupt_at: int | None = None,
    ) -> Task[T]:
        """
        Run an operation or a scenario from now on.

        `World.finish` does not wait for a *daemon*.  *interrupt_at* n interrupts it as
        soon as it waits at its n-th yield or later, while its request travels on.
        """
        name = name or f"{self.name}.{len(self.tasks)}"
        task = Task(self, generator, name, daemon, interrupt_at)
        self.tasks.append(task)
        if self.crashed:
            task.close()
        else:
            self.world.at(0, self.tick, task.answer, None)
        return task

    def stir(self) -> None:
        """End the `Rest` of each daemon (the keeper) early, or its next if it is busy."""
        for task in self.tasks:
            if task.daemon and not task.done:
                task.stir()

    def pause(self, seconds: float) -> None:
        """Stop it (SIGSTOP): nothing of it runs, its clock goes on."""
        self.world.happened("client pause", f"{self.name} {seconds:.3f}")
        self._paused_until = max(self._paused_until, self.world.now + seconds)
        self.world.at(seconds, self._thaw)

    def partition(self, seconds: float) -> None:
        """Cut it off: whatever it sends or is sent is lost."""
        self.world.happened("partition", f"{self.name} {seconds:.3f}")
        self._apart_until = max(self._apart_until, self.world.now + seconds)

    def crash(self) -> None:
        """Kill it (SIGKILL); what it has sent goes on."""
        if self.crashed:
            return
        self.world.happened("crash", self.name)
        self.crashed_at = self.world.now
        self._silence()
        self._backlog.clear()
        for task in self.tasks:
            task.close()

    @property
    def crashed(self) -> bool:
        """Whether it was killed."""
        return self.crashed_at is not None

    @property
    def paused(self) -> bool:
        """Whether it is stopped at present."""
        return self.world.now < self._paused_until

    @property
    def cut_off(self) -> bool:
        """Whether nothing comes through at present."""
        return self.world.now < self._apart_until

    # -- what reaches it ------------------------------------------------------------

    def hear(self, act: Callable[..., None], *args: Any) -> None:
        """Something has come from the network: act on it as soon as the client runs."""
        if self.crashed_at is None:
            if self._paused_until > self.world.now:
                self._backlog.append((False, act, args))
            else:
                act(*args)

    def tick(self, act: Callable[..., None], *args: Any) -> None:
        """A timer of the client has run out: act on it as soon as the client runs."""
        if self.crashed_at is None:
            if self._paused_until > self.world.now:
                self._backlog.append((True, act, args))
            else:
                act(*args)

    def after(self, seconds: float, act: Callable[..., None], *args: Any) -> None:
        """Set a timer that runs at the rate of this client's clock."""
        self.world.at(max(seconds, 0.0) / self.rate, self.tick, act, *args)

    def _thaw(self) -> None:
        if self.paused:
            return
        backlog, self._backlog = self._backlog, []
        if self.world.chance(0.5):  # sockets and timers are ready at once: either first
            backlog.sort(key=lambda entry: entry[0])
        for timer, act, args in backlog:
            (self.tick if timer else self.hear)(act, *args)

    # -- wakes ----------------------------------------------------------------------

    def tune(self) -> None:
        """From now on the server sends what is published on our channels."""
        channels = self.world.server.channels
        for channel in (self.channel, *self.listeners):
            channels.setdefault(channel, set()).add(self)

    def _silence(self) -> None:
        for listening in self.world.server.channels.values():
            listening.discard(self)

    def listen(self, rid: str, channel: str) -> None:
        """Hear what is published there, for this request, too."""
        self.listeners.setdefault(channel, set()).add(rid)
        if self.subscribed:  # asked on the line that stands; it is heard a little later
            self.world.at(self.world.latency(), self._tuned, rid, self.connection)

    def _tuned(self, rid: str, connection: int) -> None:
        if connection == self.connection and not self.crashed:
            self.tune()
            self.world.at(self.world.latency(), self.hear, self._wake_for, rid)

    def _wake_for(self, rid: str) -> None:
        """It may have missed something before its channel was heard."""
        if (box := self.mailboxes.get(rid)) is not None:
            box.put(None)

    def news(self, channel: str, message: str, connection: int) -> None:
        """Something was published on a channel that is listened to."""
        if connection != self.connection or not self.subscribed:
            self.world.happened("news lost", self.name)
            return
        for rid in sorted(self.listeners.get(channel, ())):
            if (box := self.mailboxes.get(rid)) is not None:
                self.world.counts["told"] += 1
                box.put(message)

    def wake(self, rid: str, rest: str, connection: int) -> None:
        """A message has come in."""
        box = self.mailboxes.get(rid)
        if connection != self.connection or not self.subscribed:
            self.world.happened("wake lost", self.name)
        elif box is None:
            self.world.counts["wake for nobody"] += 1
        else:
            self.world.counts["woken"] += 1
            box.put(rest)

    def disconnect(self, least: float = 0.0) -> None:
        """Lose the subscription; subscribe again *least* seconds later or more."""
        world = self.world
        self._silence()
        self.connection += 1
        if self.subscribed and not self.crashed:
            world.happened("disconnect", self.name)
            self.subscribed = False
            self._gap = True
            again = least + world.rng.uniform(0, world.faults.reconnect)
            self.after(again, self._reconnect)

    def subscribe(
        self,
        timeout: float,
        then: Callable[[Trip, BaseException | None], None],
    ) -> Trip:
        """Ask for the channel; *then* hears of it once that is confirmed or failed."""

        def answered(trip: Trip, _: Any, error: BaseException | None) -> None:
            if error is None and trip.connection != self.connection:
                error = Unreachable("the connection was closed")
            if error is None:
                self._confirmed()
            elif not self.subscribed and not self._gap:
                self._gap = True  # as the drivers do: those who wait try again
                self.after(self.world.rng.uniform(*RETRY), self._reconnect)
            then(trip, error)

        trip = Trip(self, (), timeout, answered, subscribes=True)
        self.world.send(trip)
        return trip

    def _confirmed(self) -> None:
        self.subscribed = True
        if self._gap:
            self._gap = False
            if self.world.reconnect_wakes:
                for box in list(self.mailboxes.values()):
                    box.put(None)

    def _reconnect(self) -> None:
        def retry(_: Trip, error: BaseException | None) -> None:
            if error is not None:
                self.after(self.world.rng.uniform(*RETRY), self._reconnect)

        if not self.subscribed:
            self.subscribe(1.0, retry)

    # -- deferred calls -------------------------------------------------------------

    def defer(self, wish: Defer) -> None:
        """
        Make this call, again and again, until it is answered or its time is over.

        With `deferral` set, hand it to that (a keeper's ``defer``) and stir instead.
        """
        if self.deferral is not None:
            self.deferral(wish.call, wish.until)
            self.stir()
            return
        self.deferred.append(wish)
        self.after(self.world.rng.uniform(*RETRY), self._try, wish)

    def _try(self, wish: Defer) -> None:
        left = wish.until - self.clock()
        if left <= 0:
            self.world.happened("deferred in vain", self.name)
            self.deferred.remove(wish)
            return

        def answered(_: Trip, values: Any, error: BaseException | None) -> None:
            if isinstance(error, Unreachable):
                self.after(self.world.rng.uniform(*RETRY), self._try, wish)
            else:
                self.world.counts["deferred done"] += 1
                self.deferred.remove(wish)

        timeout = min(wish.call.timeout, left)
        self.world.send(Trip(self, (wish.call,), timeout, answered))
