"""
A world of N clients and one server: one virtual clock, one seeded source of chance.

It drives the shipped generators and runs the shipped Lua, so what is proved here is
what runs elsewhere.  Everything that happens follows from the seed::

    def story(client: Client) -> Scenario[None]:
        rid = client.rid()
        lease = yield from acquire(claim, rid, make, now=client.clock(), …)
        yield 0.3                                # sleep, in seconds of this client's clock
        yield from release(lease, now=client.clock())

    world = World(seed=7, faults=Faults.rough())
    tasks = [world.client(name).spawn(story(…)) for name in "abcde"]
    assert world.finish(limit=600)               # every task ended before 600 s
    world.run(world.now + 60)                    # let stragglers and leases run out

Tampering, at any instant, from a scenario or through `World.at`: ``world.server.pause``,
``.restart``, ``.flush``, ``.step_clock``; ``client.pause``, ``.partition``, ``.crash``,
``.disconnect``; ``task.interrupt``; ``world.calm`` ends all faults.  ``world.server.store``
is the data, ``world.counts`` says how often what happened, ``world.losses`` when data was
lost.

A `Defer` is kept by the client and made again every 50 to 200 ms; with
``client.deferral = keeper.defer`` it goes to the shipped keeper instead, which runs as
``client.spawn(keeper.keep(), daemon=True)`` and is stirred by ``client.stir``.

How a task ends.  ``result`` is what it returned.  ``error`` is a `CoordError` it let out,
the interruption thrown into it, or `Crashed`.  Anything else it raises, such as a failed
assertion, comes out of `run` at once, with the seed and the instant in its notes, and so
does a `ScriptBug`.

Time.  ``world.now`` is the one true clock, for checkers only.  Each client has a clock
with an offset and a rate of its own, and its timers run at that rate; the server's wall
clock has another.

What is simplified.  A message takes a random time, independently of the one before it,
so two requests of a client may overtake each other; the drivers use several connections,
so theirs may, too.  A connection lives as long as the server: requests on their way die
with it at a restart.  Computing takes no time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from math import log
from random import Random
from typing import Any

from coordkit.errors import Unreachable
from sim.client import Client
from sim.faults import Faults
from sim.server import Server
from sim.task import Crashed, Scenario, Task
from sim.trip import Trip

__all__ = ["Client", "Crashed", "Faults", "Scenario", "Task", "World"]


class World:
    """
    One run of everything.

    *sources* replaces or adds Lua scripts by name.  *trace*: keep a line for all that
    happens, in `trace`, to read after a failure.  *reconnect_wakes* False makes a wrong
    driver, one that leaves its waiters waiting after a reconnection.
    """

    def __init__(
        self,
        seed: int,
        faults: Faults | None = None,
        sources: Mapping[str, str] | None = None,
        *,
        trace: bool = False,
        reconnect_wakes: bool = True,
    ) -> None:
        self.seed = seed
        self.faults = faults or Faults()
        self.rng = Random(seed)
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self.losses: list[float] = []
        self.trace: list[str] | None = [] if trace else None
        self.reconnect_wakes = reconnect_wakes
        self.undone = 0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._pushed = 0
        self._clients: dict[str, Client] = {}
        self.server = Server(self, sources)
        self._strikes: dict[str, tuple[float, Callable[[], None]]] = {}
        self._expect_strikes()

    # -- for tests ------------------------------------------------------------------

    @property
    def clients(self) -> list[Client]:
        """Every client, in the order they came."""
        return list(self._clients.values())

    def client(self, name: str) -> Client:
        """The client of that name, a new one the first time."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = Client(self, name)
        return client

    def at(self, delay: float, act: Callable[..., object], *args: Any) -> None:
        """Do something *delay* seconds from now, whatever state the clients are in."""
        self._pushed += 1
        heappush(self._heap, (self.now + delay, self._pushed, act, args))

    def run(self, until: float) -> None:
        """Let time pass up to that instant."""
        self._run(until, to_the_end=True)
        self.now = max(self.now, until)

    def finish(self, limit: float) -> bool:
        """Let time pass until all tasks but daemons are done; False: not by *limit*."""
        self._run(limit, to_the_end=False)
        return not self.undone

    def calm(self) -> None:
        """From now on nothing goes wrong that has not begun."""
        mild = Faults(drift=self.faults.drift, server_drift=self.faults.server_drift)
        self.faults = mild
        self._strikes.clear()

    def happened(self, what: str, to: str) -> None:
        """Count and note an event."""
        self.counts[what] += 1
        if self.trace is not None:
            self.note(f"{what}: {to}")

    def note(self, text: str) -> None:
        """Add a line to the trace, if there is one."""
        if self.trace is not None:
            self.trace.append(f"{self.now:12.6f} {text}")

    def digest(self) -> str:
        """A hash of the trace and the counts: equal for equal seeds."""
        lines = [*(self.trace or ()), *map(repr, sorted(self.counts.items()))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    # -- time -----------------------------------------------------------------------

    def _run(self, until: float, *, to_the_end: bool) -> None:
        heap = self._heap
        try:
            while heap and heap[0][0] <= until and (to_the_end or self.undone):
                self.now, _, act, args = heappop(heap)
                act(*args)
        except BaseException as error:
            error.add_note(f"seed {self.seed}, {self.now:.6f} s")
            raise

    # -- the network ----------------------------------------------------------------

    def chance(self, of: float) -> bool:
        """Whether something of that probability happens now."""
        return of > 0 and self.rng.random() < of

    def latency(self) -> float:
        """How long one way takes."""
        faults, random = self.faults, self.rng.random
        mean = faults.latency
        if faults.slow and random() < faults.slow:
            mean = faults.slow_latency
        return -log(1.0 - random()) * mean

    def send(self, trip: Trip) -> None:
        """Let a request travel to the server, or be lost."""
        faults, server = self.faults, self.server
        there = self.latency()
        if server.down:
            error = Unreachable("connection refused", sent=False)
            self.at(there, trip.client.hear, trip.settle, None, error)
            return
        luck = self.rng.random()
        if luck < faults.request_lost or trip.client.cut_off:
            self.happened("request lost", trip.client.name)
            self.leave_unanswered(trip)
            return
        if luck < faults.request_lost + faults.ghost:
            self.happened("ghost", trip.client.name)
            given_up = self.leave_unanswered(trip)
            there = given_up + self.rng.uniform(0, faults.ghost_delay)
        elif self.now + there > trip.ends:
            self.expect_timeout(trip)
        self.at(there, server.arrive, trip)
        if self.chance(faults.duplicate):
            self.happened("duplicate", trip.client.name)
            again = there + self.rng.uniform(0, faults.ghost_delay)
            self.at(again, server.arrive, trip)

    def reply(self, trip: Trip, values: list[Any]) -> None:
        """Let the reply travel back, or be lost."""
        back = self.latency()
        if self.chance(self.faults.reply_lost) or trip.client.cut_off:
            self.happened("reply lost", trip.client.name)
            self.leave_unanswered(trip)
            return
        if self.now + back > trip.ends:
            self.expect_timeout(trip)
        self.at(back, trip.client.hear, trip.settle, values, None)

    def leave_unanswered(self, trip: Trip) -> float:
        """Nothing will come: the caller hears so, or times out; returns how soon."""
        if self.chance(self.faults.reset):
            soon = min(self.latency(), max(trip.ends - self.now, 0.0))
            error = Unreachable("the connection was closed")
            self.at(soon, trip.client.hear, trip.settle, None, error)
            return soon
        self.expect_timeout(trip)
        return max(trip.ends - self.now, 0.0)

    def expect_timeout(self, trip: Trip) -> None:
        """Have the caller give up in its time, unless it gets an answer before."""
        if not trip.timer and not trip.settled:
            trip.timer = True
            delay = max(trip.ends - self.now, 0.0)
            self.at(delay, trip.client.tick, trip.time_out)

    # -- what strikes from time to time -----------------------------------------------

    def _expect_strikes(self) -> None:
        faults, server, draw = self.faults, self.server, self.rng.uniform
        self._strikes = {
            "server pause": (
                faults.server_pauses,
                lambda: server.pause(draw(0, faults.server_pause)),
            ),
            "restart": (
                faults.restarts,
                lambda: server.restart(draw(0, faults.restart)),
            ),
            "flush": (faults.flushes, server.flush),
            "clock step": (
                faults.clock_steps,
                lambda: server.step_clock(draw(-faults.clock_step, faults.clock_step)),
            ),
            "disconnect": (faults.disconnects, self._strike_client(Client.disconnect)),
            "client pause": (
                faults.client_pauses,
                self._strike_client(lambda c: c.pause(draw(0, faults.client_pause))),
            ),
            "crash": (faults.crashes, self._strike_client(Client.crash)),
            "partition": (
                faults.partitions,
                self._strike_client(lambda c: c.partition(draw(0, faults.partition))),
            ),
        }
        for name, (rate, _) in self._strikes.items():
            if rate:
                self.at(self.rng.expovariate(rate), self._strike, name)

    def _strike(self, name: str) -> None:
        if name in self._strikes:
            rate, act = self._strikes[name]
            act()
            self.at(self.rng.expovariate(rate), self._strike, name)

    def _strike_client(self, act: Callable[[Client], None]) -> Callable[[], None]:
        def strike() -> None:
            alive = [client for client in self.clients if not client.crashed]
            if alive:
                act(self.rng.choice(alive))

        return strike
