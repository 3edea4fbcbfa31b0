"""
A service that refuses who comes too late: an ASGI middleware around `Gate`.

Run it, and write to it with a lower token than before::

    pip install starlette uvicorn
    python examples/fenced_service.py 8001
    curl -X PUT localhost:8001 -H 'Fencing-Token: 34' -d 100      # 200
    curl -X PUT localhost:8001 -H 'Fencing-Token: 33' -d 90       # 409: it is stale

Kill it (``kill -9``) and start it again: 33 is refused as before, for the token is kept
with what it guards.  Under ``coordkit lock run`` send ``$COORDKIT_FENCING_TOKEN``.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from coordkit import Gate, StaleToken


class Fenced:
    """Lets a write through if its token is not stale, one after another in order of tokens."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app, self.gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in place of the service to whoever may not write."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return await self.app(scope, receive, send)
        given = ", ".join(Headers(scope=scope).getlist("Fencing-Token"))
        async with AsyncExitStack() as inside:
            refusal = await self.refusal(given, inside)
            return await (refusal or self.app)(scope, receive, send)

    async def refusal(self, given: str, inside: AsyncExitStack) -> ASGIApp | None:
        """Pass the gate, or return the answer to who may not."""
        if not given:
            return JSONResponse({"error": "a write needs a Fencing-Token header"}, 428)
        try:
            if not re.fullmatch("[0-9]{1,16}", given):
                raise ValueError(f"Fencing-Token: {given!r:.80} is no whole number")
            await inside.enter_async_context(self.gate.admit(int(given)))
        except ValueError as wrong:
            return JSONResponse({"error": str(wrong)}, 400)
        except StaleToken as stale:
            told = {"error": str(stale), "token": stale.token, "seen": stale.seen}
            return JSONResponse(told, 409)  # to repeat it would not help
        return None


def service(file: Path) -> Starlette:
    """Return a service that keeps one value in *file*, with the token that wrote it."""
    kept: dict[str, Any] = {"token": 0, "value": ""}
    if file.exists():
        kept = json.loads(file.read_text())

    async def put(request: Request) -> JSONResponse:
        kept["value"] = (await request.body()).decode(errors="replace")
        kept["token"] = int(request.headers["Fencing-Token"])
        new = file.with_suffix(".new")
        new.write_text(json.dumps(kept))
        new.replace(file)
        return JSONResponse(kept)

    async def get(_: Request) -> JSONResponse:
        return JSONResponse(kept)

    fenced = Middleware(Fenced, gate=Gate("ledger", seen=kept["token"]))
    routes = [Route("/", put, methods=["PUT"]), Route("/", get)]
    return Starlette(routes=routes, middleware=[fenced])


if __name__ == "__main__":
    made = service(Path("ledger.json"))
    uvicorn.run(made, port=int(sys.argv[1]), log_level="warning")
