"""What a demo could leave behind: processes, and an open port."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from support.servers import HOST

PROC = Path("/proc")
#: A variable of the environment: children inherit it.
MARK = "COORDKIT_TESTS_MARK"


def marked(mark: str) -> list[int]:
    """
    Return the processes that a demo has started, in whatever generation.

    Not a Redis server: it writes its title over its environment.
    """
    if not PROC.joinpath("self/environ").exists():
        pytest.skip("needs /proc to find processes")
    found: list[int] = []
    for environ in PROC.glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            pass  # another user's, or it has ended
    return found


def port_in(text: str) -> int:
    """Return the port of the server that a demo has told about."""
    found = re.search(rf"{HOST}:(\d+)", text)
    assert found is not None, text
    return int(found[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
