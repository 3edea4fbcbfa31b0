"""
A cache on several nodes, and a client that survives the loss of one.

Run three nodes and a client, in four terminals::

    python examples/sharded_cache.py node a
    python examples/sharded_cache.py node b
    python examples/sharded_cache.py node c
    python examples/sharded_cache.py client

Every second the client asks for the same 300 keys, and says how many were there, and how
many each node was asked for.  Kill a node (``kill -9``): its keys are missed once, those
of the others are not, and then all are there again, on the two that are left.  Start it
anew: it gets the same keys back.  Stop one instead (``kill -STOP``): the client waits for
it once, and then does without; let it go on (``kill -CONT``), and it is asked again.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer

from coordkit import Balancer, MemberInfo, NoMember, Session

URL = os.environ.get("COORDKIT_URL", "redis://localhost:6379/0")
KEYS = [f"user:{number}" for number in range(300)]


class Cache(StreamRequestHandler):
    """Answers a line: ``key`` with what is stored, ``key value`` after storing it."""

    stored: dict[str, str] = {}  # noqa: RUF012 - of all requests

    def handle(self) -> None:
        """Answer one line."""
        key, _, value = self.rfile.readline().decode().strip().partition(" ")
        if value:
            self.stored[key] = value
        self.wfile.write(f"{self.stored.get(key, '')}\n".encode())


def node(name: str) -> None:
    """Serve, and be a member for as long as that lasts."""
    with ThreadingTCPServer(("127.0.0.1", 0), Cache) as server:
        where = {"port": server.server_address[1]}
        with (
            Session(URL, namespace="example") as session,
            session.group("cache", ttl=5).join(name, meta=where, replace=True),
        ):
            print(f"node {name} serves, pid {os.getpid()}", flush=True)
            server.serve_forever()


def told(member: MemberInfo, line: str) -> str:
    """Send one line to a node; return its answer."""
    where = "127.0.0.1", member.meta["port"]
    with socket.create_connection(where, timeout=0.5) as connection:
        connection.sendall(f"{line}\n".encode())
        answer = connection.makefile().readline()
    if not answer:
        raise ConnectionError(f"{member.identity} ended in the middle")
    return answer.strip()


def ask(balancer: Balancer, key: str, line: str) -> tuple[str, str]:
    """Ask the node of *key*, or the next one if it does not answer; return who answered."""
    failed: list[MemberInfo] = []
    while True:
        member = balancer.pick(key, exclude=failed)
        try:
            answer = told(member, line)
        except OSError:
            balancer.report(member, "failed")
            failed.append(member)
        else:
            balancer.report(member, "ok")
            return member.identity, answer


def client(rounds: int) -> None:
    """Read all keys, once a second; store what is missed."""
    with Session(URL, namespace="example") as session:
        balancer = session.balancer(
            "cache", strategy="ring", max_failures=1, ejection=5
        )
        for _ in range(rounds):
            asked, misses = Counter[str](), 0
            with suppress(NoMember):
                for key in KEYS:
                    name, value = ask(balancer, key, key)
                    if not value:
                        misses += 1
                        ask(balancer, key, f"{key} worked-out-slowly")
                    asked[name] += 1
            by = ", ".join(f"{name} {n}" for name, n in sorted(asked.items()))
            hits = asked.total() - misses
            print(f"{hits} hits, {misses} misses: {by or 'no nodes'}", flush=True)
            time.sleep(1)


def main(argv: list[str]) -> None:
    """Be a node, or the client; end by Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        match argv:
            case ["node", name]:
                node(name)
            case ["client", *rounds]:
                client(int(rounds[0]) if rounds else 1000)
            case _:
                sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
