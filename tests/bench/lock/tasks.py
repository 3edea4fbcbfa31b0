"""A hundred tasks of one event loop, each with a name of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from coordkit import AsyncSession
from support.servers import RedisServer

from ..placement import placed, placements
from ..report import Bar, Report, compared
from ..rounds import Samples, turns
from . import contestants as who
from .contestants import TTL
from .sizes import Sizes

Cycle = Callable[[], Awaitable[None]]
#: More than the default pool has, and two connections for each task.
GENEROUS = 200
_WIDE = "redis-py, wide"


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add two rows a placement: against redis-py's default pool, and a generous one."""
    for way in placements():
        with placed(way, server.pid):
            samples = asyncio.run(_race(server.url, sizes))
        wide = samples.pop(_WIDE)
        what, unit = f"{sizes.tasks} asyncio tasks, each its name, on {way}", "cycles/s"
        bar = Bar(3.0, at_least=True)
        report.rows.append(compared(what, unit, samples, who.REDIS_PY, bar))
        again = {who.OURS: samples[who.OURS], who.REDIS_PY: wide}
        what = f"the same, redis-py with {GENEROUS} connections"
        report.rows.append(compared(what, unit, again, who.REDIS_PY, bar))


async def _race(url: str, sizes: Sizes) -> Samples:
    """Return each one's cycles a second, round by round."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(AsyncSession(url))
        clients = [_client(url, limit) for limit in (None, None, GENEROUS)]
        bare, narrow, wide = [await stack.enter_async_context(c) for c in clients]
        digest = await bare.script_load(who.DELETE_IF_EQUAL)
        field: dict[str, list[Cycle]] = {
            who.FLOOR: [_bare(bare, digest, f"b{i}") for i in range(sizes.tasks)],
            who.OURS: [_ours(session, f"t{i}") for i in range(sizes.tasks)],
            who.REDIS_PY: [_theirs(narrow, f"n{i}") for i in range(sizes.tasks)],
            _WIDE: [_theirs(wide, f"w{i}") for i in range(sizes.tasks)],
        }
        for cycles in field.values():
            await _together(cycles, 2)
        samples: Samples = {name: [] for name in field}
        for name in turns(list(field), sizes.task_rounds):
            took = await _together(field[name], sizes.task_cycles)
            samples[name].append(sizes.tasks * sizes.task_cycles / took)
        return samples


async def _together(cycles: list[Cycle], number: int) -> float:
    """Return the seconds in which every task made so many cycles."""

    async def task(cycle: Cycle) -> None:
        for _ in range(number):
            await cycle()

    began = time.perf_counter()
    await asyncio.gather(*(task(cycle) for cycle in cycles))
    return time.perf_counter() - began


def _client(url: str, connections: int | None) -> redis.asyncio.Redis:
    retry = Retry(NoBackoff(), 0)
    return redis.asyncio.Redis.from_url(url, retry=retry, max_connections=connections)


def _bare(client: redis.asyncio.Redis, digest: str, name: str) -> Cycle:
    async def cycle() -> None:
        value = os.urandom(16).hex()
        await client.set(name, value, nx=True, px=TTL * 1000)
        await client.evalsha(digest, 1, name, value)

    return cycle


def _ours(session: AsyncSession, name: str) -> Cycle:
    lock = session.lock(name, ttl=TTL)

    async def cycle() -> None:
        lease = await lock.acquire()
        await lease.release()

    return cycle


def _theirs(client: redis.asyncio.Redis, name: str) -> Cycle:
    lock = client.lock(name, timeout=TTL)

    async def cycle() -> None:
        if not await lock.acquire():
            raise AssertionError(f"{name!r} was not acquired")
        await lock.release()

    return cycle
