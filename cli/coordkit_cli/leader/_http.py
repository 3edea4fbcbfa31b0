"""
What a candidate tells by HTTP: whether it leads, whether it is well, and numbers.

For load balancers, probes and Prometheus; in a thread of its own, so that nothing here
holds up the guard.  Of a request only its first line counts, and each connection ends
after one answer, or after a few seconds, or when too many come after it: a slow client
costs a socket and holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple, Self

from .._exit import Exit, Failure
from .._output import json_line

if TYPE_CHECKING:
    from ._lead import Seen

#: A request has so long, and so many bytes; of more at a time the oldest has to go.
PATIENCE, LONGEST, MOST = 5.0, 8192, 100
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class Answer(NamedTuple):
    """What a request is answered with."""

    code: int
    body: str
    kind: str = "application/json"

    def sent(self, *, head: bool) -> bytes:
        """Return it as it is sent; only its head, if that was asked for."""
        body = self.body.encode()
        lines = (
            f"HTTP/1.1 {self.code} {_REASONS[self.code]}",
            f"Content-Type: {self.kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode() + (b"" if head else body)


class Page:
    """Answers for one candidate; use it as a context manager."""

    def __init__(self, where: tuple[str, int], seen: Seen) -> None:
        self._where = where
        self._seen = seen
        self._open: dict[asyncio.Task[None] | None, None] = {}
        self._ready = Event()
        self._problem: OSError | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="coordkit-http", daemon=True)
        #: where it answers
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._problem is not None:
            host, port = self._where
            why = self._problem.strerror or str(self._problem)
            raise Failure(f"cannot listen at {host}:{port}: {why}", Exit.CONFIG)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        loop, (host, port) = self._loop, self._where
        try:
            server = loop.run_until_complete(
                asyncio.start_server(self._serve, host, port, limit=LONGEST)
            )
        except OSError as problem:
            self._problem = problem
            self._ready.set()
            return
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._ready.set()
        loop.run_forever()
        server.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request."""
        ours = asyncio.current_task()
        self._open[ours] = None
        if len(self._open) > MOST and (oldest := next(iter(self._open))):
            del self._open[oldest]
            oldest.cancel()
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(await self._answered(reader))
                await writer.drain()
                writer.write_eof()
                await reader.read(LONGEST)  # until it has read: else it may be reset
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it has left, or is too slow
        except asyncio.CancelledError:
            pass  # others want to be answered, too
        finally:
            self._open.pop(ours, None)
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return Answer(400, problem("the request is too long")).sent(head=False)
        line = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(line) != 3 or not line[2].startswith("HTTP/1."):  # noqa: PLR2004
            return Answer(400, problem("this is no request of HTTP/1")).sent(head=False)
        method, path, _ = line
        if method not in ("GET", "HEAD"):
            return Answer(405, problem("only GET and HEAD")).sent(head=False)
        return answer(self._seen, path.partition("?")[0]).sent(head=method == "HEAD")


def problem(text: str) -> str:
    """Return what is wrong, as it is told."""
    return json_line({"error": text}) + "\n"


def answer(seen: Seen, path: str) -> Answer:
    """Return the answer to a request for *path*."""
    match path:
        case "/leader":
            return Answer(200 if seen.leads else 503, _leader(seen))
        case "/healthz":
            why = seen.health.unwell
            body = json_line({"healthy": not why, "why": why})
            return Answer(503 if why else 200, f"{body}\n")
        case "/metrics":
            return Answer(200, "".join(f"{line}\n" for line in metrics(seen)), _METRICS)
        case _:
            return Answer(404, problem("there are /leader, /healthz and /metrics"))


def _leader(seen: Seen) -> str:
    term = seen.term
    body = {
        "name": seen.name,
        "namespace": seen.namespace,
        "identity": seen.identity,
        "leads": seen.leads,
        "term": None if term is None else term.token,
        "remaining": 0.0 if term is None else round(term.remaining(), 3),
    }
    return json_line(body) + "\n"


def metrics(seen: Seen) -> Iterator[str]:
    """Yield the lines of the page for Prometheus, in its text format."""
    term = seen.term
    left = 0.0 if term is None else term.remaining()
    gauges = {
        "leader": ("Whether this process leads.", int(seen.leads)),
        "leader_term": ("The term it has, 0: none.", term.token if term else 0),
        "leader_remaining_seconds": (
            "How long it may rely on its term.",
            f"{left:.3f}",
        ),
        "leader_healthy": ("Whether it is well.", int(not seen.health.unwell)),
    }
    counters = {
        "leader_terms_total": ("How often it was elected.", seen.terms),
        "leader_runs_total": ("How often its command was run.", seen.runs),
    }
    # Not its identity: each restart would begin new series.
    labels = {"name": seen.name, "namespace": seen.namespace}
    for kind, group in (("gauge", gauges), ("counter", counters)):
        for name, (told, value) in group.items():
            yield from _head(name, told, kind)
            yield f"coordkit_{name}{_labels(labels)} {value}"
    ended = "leader_ended_total"
    yield from _head(ended, "How its terms have ended.", "counter")
    for reason, count in sorted(seen.ended.copy().items()):
        yield f"coordkit_{ended}{_labels({**labels, 'reason': reason})} {count}"


def _head(name: str, told: str, kind: str) -> Iterator[str]:
    yield f"# HELP coordkit_{name} {told}"
    yield f"# TYPE coordkit_{name} {kind}"


def _labels(labels: dict[str, str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
