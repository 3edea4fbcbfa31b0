"""Opening connections, in blocking and in asyncio code: one test serves both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeAlias

import fakeredis
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel

from coordkit._core.ops import Call
from coordkit._io.cluster import AsyncClusterWires, ClusterWires
from coordkit._io.connect import AsyncSource, Source, async_source, source

#: of every connection that a test opens, in seconds
TIMEOUT = 2.0
#: an EVAL that counts how often it was run, but for its key
COUNT = ("EVAL", "return redis.call('INCR', KEYS[1])", "1")


#: what is asked of a cluster one after another; a function is run in between
Question: TypeAlias = Call | Callable[[], object]


class Blocking:
    """What is tested, in blocking code."""

    name = "blocking"
    api: Any = redis
    sentinel: Any = redis.sentinel
    node: Any = redis.cluster.ClusterNode
    fake: Any = fakeredis.FakeRedis
    other: Any = redis.asyncio

    def source(self, where: Any, timeout: float = TIMEOUT) -> Source:
        return source(where, timeout=timeout)

    def ask(self, origin: Source, *command: str) -> Any:
        connection: Any = origin.route.connect(TIMEOUT)
        try:
            connection.connect()
            connection.send_packed_command(connection.pack_command(*command))
            return connection.read_response()
        finally:
            connection.disconnect()

    def ask_cluster(self, origin: Source, *asked: Question) -> list[Any]:
        with closing(ClusterWires(origin, TIMEOUT)) as wires:
            return [
                question() if callable(question) else wires.call(question)
                for question in asked
            ]


class Asyncio:
    """The same in asyncio code; each question in an event loop of its own."""

    name = "asyncio"
    api: Any = redis.asyncio
    sentinel: Any = redis.asyncio.sentinel
    node: Any = redis.asyncio.cluster.ClusterNode
    fake: Any = fakeredis.FakeAsyncRedis
    other: Any = redis

    def source(self, where: Any, timeout: float = TIMEOUT) -> AsyncSource:
        return async_source(where, timeout=timeout)

    def ask(self, origin: AsyncSource, *command: str) -> Any:
        async def asked() -> Any:
            connection: Any = origin.route.connect(TIMEOUT)
            try:
                async with asyncio.timeout(TIMEOUT):
                    await connection.connect()
                    await connection.send_packed_command(
                        connection.pack_command(*command)
                    )
                    return await connection.read_response()
            finally:
                await connection.disconnect()

        return asyncio.run(asked())

    def ask_cluster(self, origin: AsyncSource, *asked: Question) -> list[Any]:
        async def asking() -> list[Any]:
            wires = AsyncClusterWires(origin, TIMEOUT)
            try:
                return [
                    question() if callable(question) else await wires.call(question)
                    for question in asked
                ]
            finally:
                await wires.close()

        return asyncio.run(asking())
