"""A program to run and a server to run it against."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.program import Program
from cli.traces import MARK
from coordkit import Ring, Session
from support.servers import RedisServer

# A script that runs the tests in its background has them deaf to these; then so would be
# all that they start.
for number in (signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(
            number,
            signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL,
        )


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """`coordkit`, which knows no server."""
    return Program(tmp_path)


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    acl = [
        "user shop on >pw ~ck:1:shop:* &* +@all",
        "user reader on >pw ~* &* +@all -evalsha -eval",
    ]
    with RedisServer(acl=acl) as started:
        yield started


@pytest.fixture
def session(server: RedisServer) -> Iterator[Session]:
    """A session of somebody else, on an empty server."""
    with server.client() as client:
        client.flushall()
    with Session(server.url) as session:
        yield session


@pytest.fixture
def coordkit(program: Program, session: Session, server: RedisServer) -> Program:
    """`coordkit`, which knows the server by COORDKIT_URL."""
    program.env["COORDKIT_URL"] = server.url
    return program


@pytest.fixture
def mark(program: Program) -> str:
    """What every process that a demo starts has in its environment."""
    mark = program.env[MARK] = secrets.token_hex(16)
    return mark


@pytest.fixture
def ring(session: Session) -> Ring:
    """A small ring of somebody else: three nodes, of which the second has half."""
    ring = session.ring("shards")
    ring.create(slots=1024)
    ring.add({"cache-1": 1.0, "cache-2": 2.0, "cache-3": 1.0})
    return ring
