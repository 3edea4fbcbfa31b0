"""Where a network fails: the questions that a fault is aimed at, and deaf servers."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import closing, contextmanager

from coordkit._io.scripts import SCRIPTS
from support.proxy import Proxy
from support.servers import HOST, free_port

#: a question of any script
QUESTION = b"EVALSHA"
SUBSCRIBE = b"SUBSCRIBE"
#: so many replies are all of them
ALL = 10**6


def asks(script: str) -> bytes:
    """Return what every question of this script contains."""
    return SCRIPTS[script].sha.encode()


def mute_wakes(proxy: Proxy) -> int:
    """Black-hole the notification connections that stand; return how many."""

    def mute() -> int:
        lines = [link for link in proxy._links if link._subscribed and not link.silent]
        for link in lines:
            link.silent = True
        return len(lines)

    return proxy._do(mute)


@contextmanager
def refusing() -> Generator[int]:
    """Give a port where nobody listens."""
    yield free_port()


@contextmanager
def mute() -> Generator[int]:
    """Give a port where connections are accepted and nothing is ever answered."""
    with closing(socket.create_server((HOST, 0))) as listener:
        yield listener.getsockname()[1]


@contextmanager
def unconnectable() -> Generator[int]:
    """Give a port that leaves every attempt to connect without an answer."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        # A full backlog: further attempts are dropped, as by a firewall.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((HOST, port))
        try:
            yield port
        finally:
            for filler in fillers:
                filler.close()
