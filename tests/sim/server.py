"""The simulated server: a `Store`, its wall clock, its pauses, restarts and channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from coordkit._io.refusals import coord_error
from coordkit.errors import CoordError, Unreachable
from sim.store import ServerError, Store

if TYPE_CHECKING:
    from sim.client import Client
    from sim.trip import Trip
    from sim.world import World

YEAR_2023 = 1_700_000_000.0
MICROS = 1_000_000


def refusal(error: ServerError) -> CoordError:
    """What the shipped drivers make of an error reply."""
    return coord_error(ResponseError(str(error)), "the server", sent=True)


class Server:
    """One Redis; `store` is its data, to be looked into and tampered with."""

    def __init__(self, world: World, sources: Mapping[str, str] | None) -> None:
        drift = world.faults.server_drift
        self.world = world
        self.incarnation = 0
        #: which sessions listen to which channel
        self.channels: dict[str, set[Client]] = {}
        self._rate = 1 + world.rng.uniform(-drift, drift)
        self._set = YEAR_2023
        self._paused_until = 0.0
        self._down_until = 0.0
        self._queue: list[Trip] = []
        self.store = Store(sources, self._publish, self._micros)

    # -- what the world may do to it ------------------------------------------------

    def wall(self) -> float:
        """Its wall clock, in seconds since 1970."""
        return self._set + self.world.now * self._rate

    def _micros(self) -> int:
        return int(self.wall() * MICROS)

    def step_clock(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self._set += seconds
        self.world.happened("clock step", f"{seconds:+.3f}")

    def pause(self, seconds: float) -> None:
        """Stand still; requests that arrive queue up and run afterwards."""
        self._paused_until = max(self._paused_until, self.world.now + seconds)
        self.world.happened("server pause", f"{seconds:.3f}")
        self.world.at(seconds, self._go_on)

    def restart(self, down: float = 0.0) -> None:
        """Lose all data and connections, and come back *down* seconds later."""
        world = self.world
        world.happened("restart", f"{down:.3f}")
        world.losses.append(world.now)
        self.store.flush()
        self.incarnation += 1
        self._paused_until = world.now
        self._down_until = world.now + down
        queue, self._queue = self._queue, []
        for trip in queue:
            self._reset(trip)
        for client in {
            each for listening in self.channels.values() for each in listening
        }:
            client.disconnect(down)

    def flush(self) -> None:
        """FLUSHALL."""
        self.world.happened("flush", "")
        self.world.losses.append(self.world.now)
        self.store.flush()

    @property
    def down(self) -> bool:
        """Whether connecting is refused at present."""
        return self.world.now < self._down_until

    # -- requests -------------------------------------------------------------------

    def arrive(self, trip: Trip) -> None:
        """A request is here; run it now, or when the pause is over."""
        if trip.incarnation != self.incarnation:  # its connection died with the server
            self._reset(trip)
        elif self.world.now < self._paused_until:
            self._queue.append(trip)
            self.world.expect_timeout(trip)
        else:
            self._execute(trip)

    def _go_on(self) -> None:
        if self.world.now < self._paused_until:
            return
        queue, self._queue = self._queue, []
        for trip in queue:
            self._execute(trip)

    def _execute(self, trip: Trip) -> None:
        world = self.world
        trip.executions += 1
        if trip.executions == 1 and trip.abandoned:
            world.counts["ghost executed"] += 1
        calls = trip.calls
        cut = len(calls) > 1 and world.chance(world.faults.cut)
        if cut:
            calls = calls[: world.rng.randrange(len(calls))]
        values: list[Any] = []
        for call in calls:
            world.counts["scripts"] += 1
            try:
                value = self.store.run(call.script, call.keys, call.args)
            except ServerError as error:
                value = refusal(error)
            values.append(value)
            if world.trace is not None:
                world.note(f"{trip.client.name} {call.script}{call.args} -> {value!r}")
        if trip.subscribes and trip.connection == trip.client.connection:
            trip.client.tune()
        if cut:
            world.happened("cut", trip.client.name)
            world.leave_unanswered(trip)
        elif trip.executions == 1:
            world.reply(trip, values)
        else:
            world.happened("duplicate executed", trip.client.name)

    def _reset(self, trip: Trip) -> None:
        error = Unreachable("the connection was closed")
        trip.client.hear(trip.settle, None, error)

    def _publish(self, channel: bytes, message: bytes) -> int:
        world, to = self.world, channel.decode()
        world.counts["published"] += 1
        # A session's own channel is known by its last part, whatever precedes it.
        listening = self.channels.get(to) or self.channels.get(to[-16:], set())
        for client in sorted(listening, key=lambda each: each.name):
            if world.chance(world.faults.wake_lost) or client.cut_off:
                world.happened("wake lost", client.name)
            elif to in client.listeners:
                news = client.news, to, message.decode(), client.connection
                world.at(world.latency(), client.hear, *news)
            else:
                rid, _, rest = message.decode().partition(" ")
                wake = client.wake, rid, rest, client.connection
                world.at(world.latency(), client.hear, *wake)
        return len(listening)
