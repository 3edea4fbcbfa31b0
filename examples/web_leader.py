"""
A web service in several processes, one of which does the background work.

Run it three times, and ask any of them::

    pip install starlette uvicorn
    python examples/web_leader.py 8001        # and 8002, and 8003
    curl localhost:8001

The answer says who leads, and how often it has refreshed.  Kill that process
(``kill -9``): the others go on answering, and after at most the five seconds of its term
one of them leads and refreshes on.  End it with Ctrl-C or ``kill`` instead, and the next
one leads at once.  FastAPI takes the same ``lifespan``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from coordkit import AsyncFence, AsyncSession, AsyncTerm, StaleToken, Unreachable

URL = os.environ.get("COORDKIT_URL", "redis://localhost:6379/0")


async def refresh(term: AsyncTerm, cache: AsyncFence) -> None:
    """Refresh until the term is lost, which cancels it."""
    while True:
        with suppress(StaleToken, Unreachable):  # too late, or not now
            count = int(await cache.get("refreshed") or 0) + 1
            await cache.set("refreshed", str(count), token=term.token)
        await asyncio.sleep(0.5)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, Any]]:
    """Stand for election while the service runs; resign before it ends."""
    async with AsyncSession(URL, namespace="example") as session:
        election, cache = session.election("web", ttl=5), session.fence("web")
        run = election.run(lambda term: refresh(term, cache), meta={"pid": os.getpid()})
        background = asyncio.create_task(run)
        yield {"election": election, "cache": cache}
        background.cancel()
        await asyncio.wait([background])


async def home(request: Request) -> JSONResponse:
    """Say who leads."""
    leader = await request.state.election.leader()
    refreshed = int(await request.state.cache.get("refreshed") or 0)
    told = {"leader": leader and leader.meta["pid"], "refreshed": refreshed}
    return JSONResponse({"pid": os.getpid(), **told})


app = Starlette(routes=[Route("/", home)], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
