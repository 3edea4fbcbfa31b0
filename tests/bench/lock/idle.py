"""Very many names are locked once each, and what is left of them is counted."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from coordkit import AsyncSession
from coordkit._core import lock as protocol
from support.servers import RedisServer

from ..report import Bar, Report, Row
from . import contestants as who
from .sizes import Sizes

#: Keys of this many names are taken at the same time.
_TASKS = 100
#: The server removes what has expired by and by; it is given so long, in seconds.
_PATIENCE = 60.0
#: It is at rest when nothing has changed for so long.
_REST = 2.0


def measure(server: RedisServer, sizes: Sizes, report: Report) -> None:
    """Add how many keys there were, and how many, how large, are left; uses an empty server."""
    with who.client(server.url) as client:
        most = asyncio.run(_lock_once(server.url, sizes.names, client))
        left = _at_rest(client)
        size = sum(client.memory_usage(key, 0) or 0 for key in client.scan_iter())
    at = f"{sizes.names} names locked once"
    report.rows += [
        Row(f"{at}: keys right after", "", {who.OURS: most}),
        Row(f"{at}: keys left when idle", "", {who.OURS: left}, bar=Bar(600)),
        Row(f"{at}: their size", "KiB", {who.OURS: size / 1024}),
    ]


async def _lock_once(url: str, number: int, client: Any) -> int:
    """Lock and release each name; return how many keys there are then."""
    names = iter(range(number))

    async def task(session: AsyncSession) -> None:
        for index in names:
            lease = await session.lock(f"bench:once:{index}").acquire()
            await lease.release()

    async with AsyncSession(url) as session:
        await asyncio.gather(*(task(session) for _ in range(_TASKS)))
    return int(client.dbsize())


def _at_rest(client: Any) -> int:
    """Return the number of keys when the tombstones have passed and nothing moves."""
    time.sleep(protocol.RELEASED_MS / 1000)
    until = time.monotonic() + _PATIENCE
    keys, since = int(client.dbsize()), time.monotonic()
    while time.monotonic() < min(until, since + _REST):
        time.sleep(0.1)
        if (seen := int(client.dbsize())) != keys:
            keys, since = seen, time.monotonic()
    return keys
