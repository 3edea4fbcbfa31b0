"""
The server that a demo runs on: a given one, a private one, or fakeredis.

A private one listens on a port of 127.0.0.1, wants a password that only the demo
knows, keeps nothing on disk, and is gone with the demo.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from coordkit import CoordError, Session
from coordkit._core.keys import election_keys, fence_keys, history_key, lock_keys
from coordkit._core.lanes import lane_id
from coordkit._io.connect import source
from coordkit._io.wire import Wires

from .._exit import Exit, Failure
from .._output import note
from .crew import PATIENCE, Child, Crew, Wrong

Choice = Literal["auto", "redis", "fake"]

HOST = "127.0.0.1"
PROGRAMS = ("redis-server", "valkey-server")
#: Where servers live that a short PATH leaves out.
_MORE = ("/usr/local/bin", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")
TO_INSTALL = (
    "install Redis or Valkey (apt install redis-server, brew install valkey), or type: "
    "pip install 'coordkit[demo]'"
)


@dataclass(frozen=True)
class Server:
    """A server that answers; *told*: what to call it."""

    kind: Literal["given", "redis", "fake"]
    url: str = field(repr=False)
    told: str = ""


def find_program() -> str | None:
    """Return the path of a Redis or Valkey server on this machine."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE])
    found = (shutil.which(program, path=path) for program in PROGRAMS)
    return next(filter(None, found), None)


def start(crew: Crew, choice: Choice) -> Server:
    """Start a private server, a real one if there is one."""
    program = find_program() if choice != "fake" else None
    if program is not None:
        return _real(crew, program)
    if choice == "redis":
        names = " nor ".join(PROGRAMS)
        raise Failure(f"neither {names} is here: {TO_INSTALL}", Exit.UNREACHABLE)
    if find_spec("fakeredis") is None or find_spec("lupa") is None:
        what = "fakeredis" if choice == "fake" else "Redis"
        raise Failure(
            f"there is no {what} here to show it on: {TO_INSTALL}", Exit.UNREACHABLE
        )
    child = crew.start_python("fakeredis", "fake")
    port = child.expect("ready", within=2 * PATIENCE)["port"]
    told = f"fakeredis, a stand-in for Redis written in Python, on {HOST}:{port}"
    return Server("fake", f"redis://{HOST}:{port}/0", told)


def _real(crew: Crew, program: str) -> Server:
    for _ in range(5):
        port, password = _free_port(), secrets.token_hex(16)
        child = crew.start(program, [program, "-"])
        child.write(
            f"bind {HOST}\nport {port}\nrequirepass {password}\n"
            'save ""\nappendonly no\nloglevel warning\n'
        )
        child.close_input()
        url = f"redis://:{password}@{HOST}:{port}/0"
        if _answers(child, url):
            return Server(
                "redis", url, f"{_version(program)} ({program}) on {HOST}:{port}"
            )
        if "in use" not in child.last_words:
            raise Failure(
                f"{program} does not start: {child.last_words}; try coordkit demo "
                "--server fake",
                Exit.UNREACHABLE,
            )
    raise Wrong("five chosen ports in a row were taken by others")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(child: Child, url: str) -> bool:
    """Wait until it, and no other, answers at *url*; False if it ended instead."""
    until = time.monotonic() + PATIENCE
    route, signed = source(url, timeout=1.0).route, f"process_id:{child.pid}\r\n"
    while child.alive:
        with suppress(CoordError), closing(Wires(route, 1.0)) as wires:
            if signed.encode() in wires.command(("INFO", "server"), 1.0):
                return True
        if time.monotonic() > until:
            raise Wrong(f"{child.name} gives no answer: {child.last_words}")
        time.sleep(0.02)
    return False


def _version(program: str) -> str:
    """Return "Redis 7.0.15", or only the name if it does not say."""
    said = subprocess.run(  # noqa: S603 - the server that was found
        [program, "--version"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    ).stdout.split()
    name = "Valkey" if "valkey" in Path(program).name else "Redis"
    number = next((word[2:] for word in said if word.startswith("v=")), "")
    return f"{name} {number}".rstrip()


def forget(session: Session, name: str, field: str, holders: list[str]) -> None:
    """
    Remove what the lock *name*, a field of its fence and the election of that name left.

    It is a Redis that is not ours.

    By their names, so without SCAN.  Not removed: the scripts that the server keeps,
    and what it remembers for a minute of a request that was given up.
    """
    its = session.namespace, name
    keys, fence = lock_keys(*its), fence_keys(*its)
    named = (*astuple(keys), *astuple(election_keys(*its)), history_key(*its))
    doomed = [key for key in named if isinstance(key, str)]
    doomed += [keys.tomb + holder for holder in holders]
    # A worker does one thing after another, and its holders begin with its session.
    doomed += {fence.memo + lane_id(holder[:16], 0) for holder in holders}
    lasting = (fence.guard, fence.value + field)
    try:
        session._engine._wires.command(("DEL", *doomed, *lasting), timeout=2.0)
    except Exception as error:  # noqa: BLE001 - it must not hide how the demo ended
        note(f"could not remove {lasting}, nor what expires within a day: {error}")
