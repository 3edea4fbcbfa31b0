"""
`coordkit leader run` while guards are killed and frozen, and the server stands still.

Every command writes its term into one file, over and over, by one clock.  So the file
shows whether two ever ran at one instant; with COORDKIT_TESTS_TRIALS=200 for longer.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.program import Program
from coordkit import Election, Session
from support.groups import PROC, groups
from support.guards import READY, Guarded
from support.polling import until
from support.servers import RedisServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROC.joinpath("self/stat").exists(), reason="looks at /proc"
    ),
]

TRIALS = int(os.environ.get("COORDKIT_TESTS_TRIALS", "6"))
CANDIDATES = 3
TTL = ("--ttl", "2", "--kill-after", "0.3")
#: It goes on while it is asked to end: what stops it in time is SIGKILL.
COMMAND = f"""
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
print({READY!r}, flush=True)
while True:
    line = f"{{os.environ['COORDKIT_TERM']}} {{os.getpid()}} {{time.monotonic()}}"
    os.write(file, line.encode() + b"\\n")
    time.sleep(0.002)
"""


class Act(NamedTuple):
    """A command was there at that instant."""

    term: int
    pid: int
    at: float


def acts(text: str) -> list[Act]:
    """Return what the lines tell; the last one may not be whole yet."""
    words = [
        line.split() for line in text.splitlines(keepends=True) if line[-1] == "\n"
    ]
    return [Act(int(term), int(pid), float(at)) for term, pid, at in words]


def last_term(file: Path) -> int:
    """Return the term of the last act, 0 if there is none."""
    if not file.exists():
        return 0
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - 1000))
        found = acts(opened.read().decode().partition("\n")[2])
    return found[-1].term if found else 0


class Troupe:
    """So many candidates; who is killed is replaced."""

    def __init__(self, program: Program, stack: ExitStack, election: Election) -> None:
        self._program = program
        self._stack = stack
        self._election = election
        self.file = program.directory / "acts"
        self.all = [self._start() for _ in range(CANDIDATES)]

    def _start(self) -> Guarded:
        command = (sys.executable, "-S", "-c", COMMAND, str(self.file))
        one = Guarded(self._program, "x", command, *TTL, verb=("leader", "run"))
        return self._stack.enter_context(one)

    def leader(self) -> Guarded:
        """Wait until somebody leads and acts, and the others wait; return who leads."""

        def found() -> Guarded | None:
            leader = self._election.leader()
            if leader is None or last_term(self.file) != leader.token:
                return None
            if len(self._election.candidates()) != CANDIDATES - 1:
                return None
            named = (one for one in self.all if one.state.get("term") == leader.token)
            return next(named, None)

        return until(found, timeout=30.0, every=0.05) or self.all[0]

    def follows(self, term: int) -> None:
        """Wait until a command acts in a later term."""
        until(lambda: last_term(self.file) > term, timeout=30.0, every=0.05)

    def killed(self, one: Guarded) -> None:
        """Kill a guard; another takes its place."""
        one.guard.sigkill()
        self.all.remove(one)
        self.all.append(self._start())

    def frozen(self, one: Guarded) -> None:
        """Freeze a guard until another leads."""
        term = one.state["term"]
        os.kill(one.guard.pid, signal.SIGSTOP)
        try:
            self.follows(term)
        finally:
            os.kill(one.guard.pid, signal.SIGCONT)

    def resigned(self, _one: Guarded) -> None:
        """Ask the leader to resign."""
        self._election.revoke()


def test_no_two_commands_ever_run_at_one_instant(
    coordkit: Program, session: Session, server: RedisServer
) -> None:
    chosen = random.Random(7)

    def silent(one: Guarded) -> None:
        server.pause()
        try:
            until(lambda: not groups().get(one.group))
        finally:
            server.resume()

    with ExitStack() as stack:
        troupe = Troupe(coordkit, stack, session.election("x"))
        faults: list[Callable[[Guarded], None]]
        faults = [troupe.killed, troupe.frozen, troupe.resigned, silent]
        for n in range(TRIALS):
            leader, term = troupe.leader(), last_term(troupe.file)
            fault = faults[n] if n < len(faults) else chosen.choice(faults)
            fault(leader)
            troupe.follows(term)
        history = sorted(acts(troupe.file.read_text()), key=lambda act: act.at)
    assert len({act.term for act in history}) > TRIALS
    for before, after in pairwise(history):
        same = before.term == after.term
        assert before.pid == after.pid if same else before.term < after.term
