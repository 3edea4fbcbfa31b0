"""
Plain commands to a server, beside what a session asks.

For its settings, its clock and its health: never for anything that leases rest on.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import redis

from coordkit._io.connect import Node, Route, Source
from coordkit._io.origins import _parameters
from coordkit._io.wire import Wire

if TYPE_CHECKING:
    from coordkit import Session

#: A person is waiting for each answer.
TIMEOUT = 2.0


class Ask(Protocol):
    """Sends one command, and returns its answer: bytes, a number, or a list of them."""

    def __call__(self, *command: str) -> Any:
        """Ask; raises what coordkit raises: `Unreachable`, `NotPermitted`, `Refused`."""
        ...


@contextmanager
def plain(
    where: Source, node: Node | None = None, *, timeout: float = TIMEOUT
) -> Generator[Ask]:
    """Open a connection to the server, or to *node* beside it, for plain commands."""
    route = where.route if node is None else _route_to(where, node)
    wire = Wire(route, timeout)

    def ask(*command: str) -> Any:
        return wire.command(command, timeout)

    try:
        yield ask
    finally:
        wire.close()


def _route_to(where: Source, node: Node) -> Route[Any]:
    """Return the way to that very server, with the same user and the same TLS."""
    if where.clustered:
        return where.route_to(node)
    its, (host, port) = where._origin, node
    kind: Any = redis.SSLConnection if its.address.tls else redis.Connection
    known = _parameters(kind) - {"path", "db"}
    settings = {k: v for k, v in its.dial.settings.items() if k in known}

    def connect(timeout: float) -> Any:
        times = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        return kind(**settings | times | {"host": host, "port": port})

    return Route(f"{host}:{port}", 1, connect)


def masters(session: Session) -> list[Node | None]:
    """Return the node of every master of a cluster; of a single server [None]."""
    where = session._engine.source
    if not where.clustered:
        return [None]
    session.ping()  # from then on it knows who serves what
    return list(where.nodes)


def told(answer: Any) -> str:
    """Return an answer as text."""
    return (
        answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    )


def pairs(answer: Any) -> dict[str, str]:
    """Return what CONFIG GET has answered, by name."""
    words = [told(word) for word in answer]
    return dict(zip(words[::2], words[1::2], strict=False))


def sections(answer: Any) -> dict[str, str]:
    """Return what INFO has answered, by name."""
    lines = [line for line in told(answer).splitlines() if not line.startswith("#")]
    return {name: value for name, _, value in (line.partition(":") for line in lines)}
