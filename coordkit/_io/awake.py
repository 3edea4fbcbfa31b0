"""Where wakes arrive on the event loop: one pub/sub connection, read by one task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis import exceptions as rx
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from ..errors import Unreachable
from .connect import AsyncSource
from .refusals import NO_ANSWER, coord_error

#: A line that was silent for so long is asked whether it is still there.
PING_AFTER = 5.0


class AsyncWakeLine:
    """
    The wakes of one session.  A wake only shortens a wait: whenever one may have
    been lost, as after a reconnection, every waiter is let go, to ask again.
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
        self._messages: dict[str, str] = {}
        self._connection: Any = None
        self._connecting = asyncio.Lock()
        self._closed = False
        self._reader: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether wakes arrive already."""
        return self._connection is not None

    async def listen(self, rid: str, timeout: float) -> None:
        """Keep every wake for *rid* from now on; the line stands when this returns."""
        self._boxes[rid] = asyncio.Event()
        if self._connection is None:
            await self._connect(timeout)

    def forget(self, rid: str) -> None:
        """Keep no more wakes for *rid*."""
        self._boxes.pop(rid, None)
        self._messages.pop(rid, None)

    async def wait(self, rid: str, timeout: float) -> str | None:
        """Wait for a wake, at most *timeout* seconds, and return it; None: ask again."""
        until = self._clock() + timeout
        if self._connection is None:
            try:
                await self._connect(min(timeout, self._timeout))
                return None  # a wake may have been missed meanwhile
            except Unreachable:
                pass  # no line: this wait is a plain one
        event = self._boxes[rid]
        try:
            async with asyncio.timeout(max(0.0, until - self._clock())):
                await event.wait()
        except TimeoutError:
            pass
        if self._closed:
            raise RuntimeError("the session was closed")
        event.clear()
        return self._messages.pop(rid, None)

    async def close(self) -> None:
        """Close the line; who waits is told that the session is closed."""
        self._closed = True
        for event in self._boxes.values():
            event.set()
        reader = self._reader
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _connect(self, timeout: float) -> None:
        async with self._connecting:
            if self._connection is not None:
                return
            retrying = AsyncRetrying(
                # By type: anything else would retry a cancellation.
                retry=retry_if_exception_type(Unreachable),
                wait=wait_random_exponential(multiplier=0.02, max=0.2),
                stop=stop_after_delay(timeout / 2),
                reraise=True,
            )
            connection: Any = await retrying(self._subscribed, timeout)
            self._connection = connection
            self._reader = asyncio.create_task(
                self._read(connection), name="coordkit-wake"
            )

    async def _subscribed(self, timeout: float) -> Any:
        connection = self._source.connection(timeout=timeout)
        try:
            async with asyncio.timeout(timeout):
                await connection.connect()
                await connection.send_command(
                    "SUBSCRIBE", self._channel, check_health=False
                )
                await connection.read_response()
        except (rx.RedisError, *NO_ANSWER) as exc:
            await connection.disconnect(nowait=True)
            raise coord_error(exc, self._source.address, sent=False) from exc
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _read(self, connection: Any) -> None:
        """Hand each wake to whom it is for, until the line breaks."""
        pinged = False
        reading = asyncio.ensure_future(connection.read_response())
        try:
            while True:
                patience = self._timeout if pinged else PING_AFTER
                await asyncio.wait({reading}, timeout=patience)
                if reading.done():
                    message, pinged = reading.result(), False
                    if message[0] == b"message":
                        self._deliver(message[2].decode("ascii", "replace"))
                    reading = asyncio.ensure_future(connection.read_response())
                elif pinged:
                    return  # a line that does not answer a ping is none
                else:
                    await connection.send_command("PING", check_health=False)
                    pinged = True
        except (rx.RedisError, *NO_ANSWER):
            pass  # whoever waits next connects again
        finally:
            reading.cancel()
            self._connection = None
            for event in self._boxes.values():
                event.set()
            await connection.disconnect(nowait=True)

    def _deliver(self, message: str) -> None:
        rid, _, rest = message.partition(" ")
        event = self._boxes.get(rid)
        if event is not None:
            self._messages[rid] = rest
            event.set()
