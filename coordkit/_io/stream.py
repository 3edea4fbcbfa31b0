"""
An open connection on the event loop: what is written is sent, and each answer is told.

redis-py opens it: it knows TLS, logins and Sentinels.  Then its socket is taken over,
and no task runs between the loop and the answer.  That makes an answer cost a fifth,
and leaves nothing that a program cancels when it ends its loop: what a cancelled
caller still has to take back goes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
from redis import exceptions as rx

from .refusals import NO_ANSWER

#: Told of each answer; an error of the server is a value.
Heard = Callable[[Any], None]
#: Told once, when nothing comes any more: not after `close`.
Ended = Callable[[Exception], None]


class Stream(asyncio.Protocol):
    """A connection whose socket was taken over."""

    def __init__(self, connection: Any, heard: Heard, ended: Ended) -> None:
        self._heard = heard
        self._ended: Ended | None = ended
        self._answers = hiredis.Reader(
            protocolError=rx.InvalidResponse,
            replyError=connection._parser.parse_error,
        )
        # Kept, for a writer that nobody refers to closes its transport; and taken from
        # the connection, which would do the same.
        self._writer: asyncio.StreamWriter = connection._writer
        connection._writer = connection._reader = None
        self._transport = self._writer.transport
        self._transport.set_protocol(self)

    def write(self, packed: bytes) -> None:
        """Send questions."""
        self._transport.write(packed)

    def close(self) -> None:
        """Hear no more."""
        self._ended = None
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Let the loop close the socket."""
        await asyncio.sleep(0)

    def data_received(self, data: bytes) -> None:
        """Tell the answers that have come (asyncio's callback)."""
        self._answers.feed(data)
        try:
            while self._ended is not None:
                answer = self._answers.gets()
                if answer is False:
                    return
                self._heard(answer)
        except rx.InvalidResponse as nonsense:
            self._end(nonsense)

    def eof_received(self) -> None:
        """Note that the server has closed (asyncio's callback)."""
        self._end(rx.ConnectionError("the server closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone (asyncio's callback)."""
        self._end(exc or rx.ConnectionError("the connection was closed"))

    def _end(self, why: Exception) -> None:
        ended = self._ended
        self.close()
        if ended is not None:
            ended(why)


class Relay:
    """A connection without a socket of its own, as fakeredis has it: two tasks serve it."""

    def __init__(self, connection: Any, heard: Heard, ended: Ended) -> None:
        self._connection = connection
        self._heard = heard
        self._ended = ended
        self._unsent: list[bytes] = []
        self._asked = asyncio.Event()
        self._serving = asyncio.create_task(self._serve(), name="coordkit-relay")

    def write(self, packed: bytes) -> None:
        """Send questions."""
        self._unsent.append(packed)
        self._asked.set()

    def close(self) -> None:
        """Hear no more."""
        self._serving.cancel()

    async def wait_closed(self) -> None:
        """Let its tasks end."""
        await asyncio.gather(self._serving, return_exceptions=True)

    async def _serve(self) -> None:
        why: Exception = rx.ConnectionError("the connection was closed")
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._send())
                both.create_task(self._read())
        except* (rx.RedisError, *NO_ANSWER) as group:
            why = first(group)
        finally:
            await self._connection.disconnect(nowait=True)
        self._ended(why)

    async def _send(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            packed, self._unsent = self._unsent, []
            await self._connection.send_packed_command(packed, check_health=False)

    async def _read(self) -> None:
        while True:
            try:
                answer: Any = await self._connection.read_response()
            except rx.ResponseError as exc:
                answer = exc
            self._heard(answer)


async def opened(
    connection: Any, within: float, heard: Heard, ended: Ended
) -> Stream | Relay:
    """Connect *within* so many seconds, greeting included, and listen."""
    try:
        async with asyncio.timeout(within):
            await connection.connect()
    except TimeoutError:
        await connection.disconnect(nowait=True)
        raise rx.TimeoutError(f"no connection within {within:.3f} s") from None
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    taken = isinstance(connection._writer, asyncio.StreamWriter)
    return (Stream if taken else Relay)(connection, heard, ended)


def first(group: Any) -> Exception:
    """Return the first error of a group; the others came of it."""
    found: Any = group
    while hasattr(found, "exceptions"):
        found = found.exceptions[0]
    error: Exception = found
    return error
