"""
Where wakes arrive: one pub/sub connection for any number of waiting threads.

There is no thread that reads.  Of the threads that wait, one reads for all and
hands each wake to whom it is for; when it leaves, the next takes over.  So a
lone waiter is woken by the socket itself, and nobody polls.

The session's own channel carries the wakes for one request each; on any other
channel a message wakes all who listen to it.

A wake only shortens a wait.  Whenever one may have been lost, as after a
reconnection, every waiter is let go, to ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any
from weakref import ref

from redis import exceptions as rx
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from .._core.reply import text
from ..errors import CoordError, Unreachable
from .connect import Source
from .refusals import NO_ANSWER, coord_error
from .wire import Wire

#: A line that was silent for so long is asked whether it is still there.
PING_AFTER = 5.0
#: A close under a reader is seen so late, where no socket tells of it (fakeredis).
LONGEST_READ = 0.5
#: A line that could not be had is tried again so often while somebody waits.
RECONNECT_AFTER = 0.5
#: A round before the first: whoever is set to it is let go.
NONE_YET = -1


class _Box:
    """What one waiting request has been told."""

    __slots__ = ("event", "message", "round", "waiting")

    def __init__(self, round_: int) -> None:
        self.event = Event()
        self.waiting = False
        self.message: str | None = None
        self.round = round_


class _Leading:
    """Who holds this leads."""

    __slots__ = ("__weakref__",)


def _nobody() -> None:
    return None


class WakeLine:
    """The wakes of one session."""

    def __init__(
        self, source: Source, channel: str, timeout: float, clock: Callable[[], float]
    ) -> None:
        self._source = source
        self._channel = channel
        self._timeout = timeout
        self._clock = clock
        self._lock = Lock()  # guards all that follows
        self._wire: Wire | None = None
        self._boxes: dict[str, _Box] = {}
        self._listeners: dict[str, set[str]] = {}  # channel: rids
        self._tuned: set[str] = set()  # the channels that the connection is asked for
        #: the thread that reads, or connects, for all; its leadership ends with its frame
        #: at the latest, should it be interrupted before it can step down
        self._leader: Callable[[], _Leading | None] = _nobody
        self.closed = False
        self._left = Event()  # set when nobody waits any more after the end
        self._round = 0  # counts the connections: after each, wakes may be missing
        self._heard_at = 0.0
        self._pinged_at: float | None = None

    @property
    def ready(self) -> bool:
        """Whether wakes arrive already."""
        return self._wire is not None

    def listen(self, rid: str, timeout: float, channel: str = "") -> None:
        """
        Keep every wake for *rid* from now on; the line stands when this returns.

        A *channel* may be heard a little later: then the wait for *rid* ends.
        """
        with self._lock:
            box = self._boxes.setdefault(rid, _Box(self._round))
            if channel:
                self._listeners.setdefault(channel, set()).add(rid)
            wire = self._wire
            leading = self._lead() if wire is None or self._untuned() else None
        if leading is None:
            return  # it stands, or another thread is at it and lets all waiters go after
        try:
            if wire is None:
                self._connect(timeout)
                with self._lock:
                    box.round = self._round
            else:
                with self._in_order():
                    self._tune(wire)
        finally:
            self._step_down()

    def forget(self, rid: str) -> None:
        """Keep no more wakes for *rid*."""
        with self._lock:
            self._boxes.pop(rid, None)
            for channel in [c for c, who in self._listeners.items() if rid in who]:
                self._listeners[channel].discard(rid)
                if not self._listeners[channel]:
                    del self._listeners[channel]
            deaf = len(self._tuned) > 1 and not self._boxes
            if self.closed and not self._boxes:
                self._left.set()
        if deaf:
            self._drop()  # what nobody reads would pile up at the server

    def wait(self, rid: str, timeout: float) -> str | None:
        """Wait for a wake, at most *timeout* seconds, and return it; None: ask again."""
        until = self._clock() + timeout
        box = self._boxes[rid]
        box.waiting = True
        try:
            while True:
                left = until - self._clock()
                if self.closed:
                    raise RuntimeError("the session was closed")
                with self._lock:
                    message, box.message = box.message, None
                    if message is not None:
                        return message
                    if left <= 0 or box.round != self._round:
                        box.round = self._round
                        return None
                    box.event.clear()
                    leading = self._lead()
                if leading is None:
                    box.event.wait(left)
                    continue
                try:
                    self._read(box, left)
                finally:
                    box.event.set()  # so that another one is chosen
                    self._step_down()
        finally:
            box.waiting = False

    def stir(self, rid: str) -> None:
        """End the wait for *rid*."""
        self._wake({rid}, None)

    def close(self) -> None:
        """Close the line; who waits is told that the session is closed, and may leave its queue."""
        with self._lock:
            self.closed = True
            waiting = bool(self._boxes)
        self._drop()
        if waiting:
            self._left.wait(self._timeout)

    # -- of the thread that leads ----------------------------------------------

    def _lead(self) -> _Leading | None:
        """Return what makes the caller the leader for as long as it keeps it, or None."""
        if self._leader() is not None:
            return None
        leading = _Leading()
        self._leader = ref(leading, self._vacant)
        return leading

    def _step_down(self) -> None:
        """Lead no more."""
        self._leader = _nobody
        self._vacant(self)

    def _vacant(self, _: object) -> None:
        """Have another waiter take over."""
        for box in list(self._boxes.values()):
            if box.waiting and not box.event.is_set():
                box.event.set()
                return

    def _read(self, box: _Box, left: float) -> None:
        """Read until this box is woken, the time is up or the line breaks."""
        until = self._clock() + left
        wire = self._wire
        if wire is None:
            try:
                self._connect(min(left, self._timeout))
            except CoordError:
                # No line: what is left of this wait is a plain one.
                left = min(until - self._clock(), RECONNECT_AFTER)
                box.event.wait(max(0.0, left))
            return
        with self._in_order():
            while left > 0 and self._wire is wire and self._keeps_waiting(box):
                self._tune(wire)
                if wire.connection.can_read(min(left, LONGEST_READ)):
                    hint = self._deliver(wire, wire.connection.read_response())
                    # Of hints that have come together, one is reason enough to ask.
                    while hint and wire.connection.can_read(0):
                        hint = self._deliver(wire, wire.connection.read_response())
                else:
                    self._ping(wire)
                left = until - self._clock()

    @contextmanager
    def _in_order(self) -> Generator[None]:
        """Use the line; drop it if it breaks, or if something interrupts its use."""
        try:
            yield
        except (rx.RedisError, *NO_ANSWER):
            self._drop()
        except BaseException:
            closed = self.closed  # under us: redis-py then fails in its own ways
            self._drop()  # interrupted in the middle of a message, perhaps
            if not closed:
                raise

    def _keeps_waiting(self, box: _Box) -> bool:
        return box.message is None and box.round == self._round

    def _untuned(self) -> set[str]:
        """Return the channels that are listened to, but not delivered."""
        return self._listeners.keys() - self._tuned

    def _tune(self, wire: Wire) -> None:
        """Have the channels delivered that are listened to since."""
        with self._lock:
            new = self._untuned()
            self._tuned |= new
        if new:
            wire.connection.send_command("SUBSCRIBE", *new, check_health=False)

    def _deliver(self, wire: Wire, message: Any) -> bool:
        """Wake whom it is for; return whether it only hinted at something to ask for."""
        self._heard_at, self._pinged_at = self._clock(), None
        kind, channel = text(message[0]), text(message[1])
        if kind == "message" and channel == self._channel:
            rid, _, rest = text(message[2]).partition(" ")
            self._wake({rid}, rest)
            return False
        if kind == "message":
            self._wake(self._listeners.get(channel, ()), text(message[2]))
            if channel not in self._listeners:  # not any more
                self._tuned.discard(channel)
                wire.connection.send_command("UNSUBSCRIBE", channel, check_health=False)
            return True
        if kind == "subscribe":
            self._wake(self._listeners.get(channel, ()), None)
        return False

    def _wake(self, rids: Iterable[str], message: str | None) -> None:
        """Tell these; without a message: that they may have missed one."""
        with self._lock:
            for box in filter(None, map(self._boxes.get, rids)):
                if message is None:
                    box.round = NONE_YET
                else:
                    box.message = message
                box.event.set()

    def _ping(self, wire: Wire) -> None:
        """Ask a silent line whether it is still there; drop it if not."""
        now = self._clock()
        if self._pinged_at is None:
            if now - self._heard_at >= PING_AFTER:
                wire.connection.send_command("PING", check_health=False)
                self._pinged_at = now
        elif now - self._pinged_at >= self._timeout:
            raise rx.TimeoutError("the notification connection is silent")

    def _connect(self, timeout: float) -> None:
        """Open the line and subscribe; every waiter may have missed a wake, and asks again."""
        retrying = Retrying(
            retry=retry_if_exception_type(Unreachable),
            wait=wait_random_exponential(multiplier=0.02, max=0.2),
            stop=stop_after_delay(timeout / 2),
            reraise=True,
        )
        with self._lock:
            channels = {self._channel, *self._listeners}
        wire: Wire = retrying(self._subscribed, channels, timeout)
        with self._lock:
            self._wire = wire
            self._tuned = channels
            self._round += 1
            self._heard_at, self._pinged_at = self._clock(), None
            for box in self._boxes.values():
                box.event.set()

    def _subscribed(self, channels: set[str], timeout: float) -> Wire:
        wire = Wire(self._source.route, self._timeout)
        wire.connect(timeout)
        try:
            wire.connection.send_command("SUBSCRIBE", *channels, check_health=False)
            for _ in channels:
                wire.connection.read_response()
        except (rx.RedisError, *NO_ANSWER) as exc:
            wire.close()
            raise coord_error(exc, self._source.address, sent=False) from exc
        except BaseException:
            wire.close()
            raise
        return wire

    def _drop(self) -> None:
        with self._lock:
            wire, self._wire = self._wire, None
            self._tuned = set()
            self._round += 1
            for box in self._boxes.values():
                box.event.set()
        if wire is not None:
            wire.close()
