"""Where wakes arrive on the event loop: one pub/sub connection for all tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from redis import exceptions as rx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from .._core.reply import text
from ..errors import Unreachable
from .connect import AsyncSource
from .ending import end
from .refusals import NO_ANSWER, coord_error
from .scripts import pack
from .stream import Relay, Stream, opened

#: A line that was silent for so long is asked whether it is still there.
PING_AFTER = 5.0


class AsyncWakeLine:
    """
    The wakes of one session.  A wake only shortens a wait: whenever one may have
    been lost, as after a reconnection, every waiter is let go, to ask again.

    The session's own channel carries the wakes for one request each; on any other
    channel a message wakes all who listen to it.
    """

    def __init__(
        self,
        source: AsyncSource,
        channel: str,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._channel = channel
        self._timeout = timeout
        self._clock = clock
        self._boxes: dict[str, asyncio.Event] = {}
        self._listeners: dict[str, set[str]] = {}  # channel: rids
        self._tuned: set[str] = set()  # the channels that the connection is asked for
        self._messages: dict[str, str] = {}
        self._stream: Stream | Relay | None = None
        self._connecting: asyncio.Task[None] | None = None
        #: the answer to SUBSCRIBE, or what came instead
        self._confirmed: asyncio.Future[Any]
        self._watch: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self.closed = False
        self._left = asyncio.Event()  # set when nobody waits any more after the end

    @property
    def ready(self) -> bool:
        """Whether wakes arrive already."""
        return self._stream is not None

    async def listen(self, rid: str, timeout: float, channel: str = "") -> None:
        """
        Keep every wake for *rid* from now on; the line stands when this returns.

        A *channel* may be heard a little later: then the wait for *rid* ends.
        """
        box = self._boxes.setdefault(rid, asyncio.Event())
        if channel:
            self._listeners.setdefault(channel, set()).add(rid)
        if self._stream is not None:
            self._tune(self._stream)
        else:
            connecting = self._reconnect()
            await asyncio.wait({connecting}, timeout=timeout)
            if not connecting.done():
                why = f"no notifications from {self._source.address} in time"
                raise Unreachable(why, sent=False)
            connecting.result()
            box.clear()  # it has not asked yet: it can have missed nothing

    def forget(self, rid: str) -> None:
        """Keep no more wakes for *rid*."""
        self._boxes.pop(rid, None)
        self._messages.pop(rid, None)
        for channel in [c for c, who in self._listeners.items() if rid in who]:
            self._listeners[channel].discard(rid)
            if not self._listeners[channel]:
                del self._listeners[channel]  # a message on it will end it
        if self.closed and not self._boxes:
            self._left.set()

    async def wait(self, rid: str, timeout: float) -> str | None:
        """Wait for a wake, at most *timeout* seconds, and return it; None: ask again."""
        if self._stream is None:
            _ = self._reconnect()  # without a line this wait is a plain one
        event = self._boxes[rid]
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await event.wait()
        if self.closed:
            raise RuntimeError("the session was closed")
        event.clear()
        return self._messages.pop(rid, None)

    def stir(self, rid: str) -> None:
        """End the wait for *rid*."""
        self._wake({rid}, None)

    async def close(self) -> None:
        """Close the line; who waits is told that the session is closed, and may leave its queue."""
        self.closed, stream = True, self._stream
        self._drop()
        if stream is not None:
            await stream.wait_closed()
        if self._boxes:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timeout):
                    await self._left.wait()
        await end(self._connecting)

    # -- the connection ---------------------------------------------------------------

    def _reconnect(self) -> asyncio.Task[None]:
        """Have one task, for all who wait, open the line."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(
                self._connect(), name="coordkit-wake"
            )
            # Whoever wants to know looks by himself.
            self._connecting.add_done_callback(_nobody_asked)
        return self._connecting

    async def _connect(self) -> None:
        """Open the line, trying again as long as somebody listens."""
        retrying = AsyncRetrying(
            # By type: anything else would retry a cancellation.
            retry=retry_if_exception_type(Unreachable),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            stop=self._nobody_listens,
            reraise=True,
        )
        stream: Stream | Relay = await retrying(self._attempt)
        self._stream = stream
        self._tune(stream)
        self._let_all_go()
        self._look()

    def _nobody_listens(self, _state: RetryCallState) -> bool:
        return not self._boxes

    async def _attempt(self) -> Stream | Relay:
        try:
            return await self._subscribed()
        except (rx.RedisError, *NO_ANSWER) as exc:
            raise coord_error(exc, self._source.address, sent=False) from exc

    async def _subscribed(self) -> Stream | Relay:
        connection, timeout = self._source.route.connect(self._timeout), self._timeout
        self._confirmed = asyncio.get_running_loop().create_future()
        stream = await opened(connection, timeout, self._heard, self._ended)
        try:
            self._tuned = {self._channel}
            stream.write(pack(("SUBSCRIBE", self._channel)))
            async with asyncio.timeout(timeout):
                answer = await self._confirmed
            if isinstance(answer, Exception):
                raise answer
        except BaseException:
            stream.close()
            raise
        return stream

    def _tune(self, stream: Stream | Relay) -> None:
        """Have the channels delivered that are listened to since."""
        new = self._listeners.keys() - self._tuned
        if new:
            self._tuned |= new
            stream.write(pack(("SUBSCRIBE", *new)))

    def _heard(self, answer: Any) -> None:
        self._heard_at = self._clock()
        if not self._confirmed.done():
            self._confirmed.set_result(answer)
            return
        kind, channel = text(answer[0]), text(answer[1])
        if kind == "message" and channel == self._channel:
            rid, _, rest = text(answer[2]).partition(" ")
            self._wake({rid}, rest)
        elif kind == "message":
            self._wake(self._listeners.get(channel, ()), text(answer[2]))
            if channel not in self._listeners and self._stream is not None:
                self._tuned.discard(channel)  # not any more
                self._stream.write(pack(("UNSUBSCRIBE", channel)))
        elif kind == "subscribe":
            self._wake(self._listeners.get(channel, ()), None)

    def _ended(self, why: Exception) -> None:
        if not self._confirmed.done():
            self._confirmed.set_result(why)
        self._drop()

    def _look(self) -> None:
        """Ask a silent line whether it is still there; drop it if not."""
        loop, silent = asyncio.get_running_loop(), self._clock() - self._heard_at
        if self._stream is None:
            return
        if silent >= PING_AFTER + self._timeout:
            self._drop()
        elif silent >= PING_AFTER:
            self._stream.write(pack(("PING",)))
            self._watch = loop.call_later(self._timeout, self._look)
        else:
            self._watch = loop.call_later(PING_AFTER - silent, self._look)

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        if self._watch is not None:
            self._watch.cancel()
        self._let_all_go()

    def _let_all_go(self) -> None:
        for event in self._boxes.values():
            event.set()

    def _wake(self, rids: Iterable[str], message: str | None) -> None:
        """Tell these; without a message: that they may have missed one."""
        for rid in rids:
            if rid in self._boxes:
                if message is not None:
                    self._messages[rid] = message
                self._boxes[rid].set()


def _nobody_asked(task: asyncio.Task[None]) -> None:
    """Take note of a failure, or asyncio reports that nobody did."""
    if not task.cancelled():
        task.exception()
