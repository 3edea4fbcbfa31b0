"""How a task of ours is ended."""

from __future__ import annotations

import asyncio
from typing import Any

#: Between two cancellations, in seconds; the first one nearly always does.
AGAIN = 0.5


async def end(task: asyncio.Task[Any] | None) -> None:
    """
    Cancel *task* until it has ended; what it raises is nobody's any more.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, through which redis-py
    sends, loses a cancellation that comes as what it waits for is done.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN)
    if task is not None and not task.cancelled():
        task.exception()  # or the loop would complain that nobody has looked
