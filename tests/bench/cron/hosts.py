"""Five hosts with one crontab, in real processes."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field

from cli.program import Program
from support.processes import Child
from support.servers import RedisServer

HOSTS = 5
#: The crontab: so short that a run of the bench is, and long enough for five starts of a
#: program on a small machine.
PERIOD = 4.0
#: How far clocks are off, in parts of the period.
SKEW = 0.1
_TICK = re.compile(r"tick of (\S+) (?:was|is being) run")


@dataclass
class Hosts:
    """What five hosts did."""

    program: Program
    server: RedisServer
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    #: the ticks that were run, as their commands told
    ran: Counter[str] = field(default_factory=Counter[str])
    #: the ticks that somebody asked for who lived to hear an answer
    asked: set[str] = field(default_factory=set[str])
    #: what was written down
    written: set[str] = field(default_factory=set[str])
    killed: int = 0
    failed: list[str] = field(default_factory=list[str])
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def play(self, ticks: int, restarts: int) -> None:
        """Let *ticks* ticks go by, with so many restarts of the server."""
        begun = time.monotonic() + 0.5
        hosts = [
            threading.Thread(target=self._host, args=(n, begun, ticks))
            for n in range(HOSTS)
        ]
        for host in hosts:
            host.start()
        for n in range(restarts):
            at = begun + (n + 0.5) * ticks * PERIOD / restarts
            time.sleep(max(0.0, at - time.monotonic()))
            self.server.restart()
        for host in hosts:
            host.join()
        history = self.program.run("cron", "history", "job", "-n", "64", "--json")
        self.written = {run["tick"] for run in history.objects}

    def _host(self, number: int, begun: float, ticks: int) -> None:
        rng = random.Random(number)
        skew = rng.uniform(-SKEW, SKEW) * PERIOD
        for tick in range(ticks):
            wait = begun + tick * PERIOD + skew - time.monotonic()
            time.sleep(max(0.0, wait))
            self._ask(rng)

    def _ask(self, rng: random.Random) -> None:
        """Do what the host's cron does; now and then the machine dies meanwhile."""
        command = ("sh", "-c", 'echo "ran $COORDKIT_TICK"')
        line = ("cron", "run", "-v", "--every", f"{PERIOD:g}s", "--ttl", "2s")
        with ExitStack() as stack:
            child = stack.enter_context(self.program.start(*line, "job", *command))
            dies = rng.random() < 0.05
            if dies:
                time.sleep(rng.uniform(0, 0.8))
            self._see(child, dies=dies and child.alive)

    def _see(self, child: Child, *, dies: bool) -> None:
        if dies:
            child.sigkill()
        code = child.wait(60)
        said = child.output()
        with self._guard:
            self.killed += dies
            self.ran.update(re.findall(r"^ran (\S+)$", said, re.MULTILINE))
            if dies:
                return
            self.asked.update(
                _TICK.findall(said), re.findall(r"^ran (\S+)$", said, re.MULTILINE)
            )
            if code != 0:
                self.failed.append(said)

    @property
    def twice(self) -> list[str]:
        """The ticks that were run more than once."""
        return [tick for tick, times in self.ran.items() if times > 1]

    @property
    def left_out(self) -> set[str]:
        """The ticks that somebody asked for and nobody began."""
        return self.asked - self.ran.keys() - self.written
