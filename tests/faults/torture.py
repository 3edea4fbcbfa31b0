"""
The torture: real processes, one server, and every fault at random.

`Torture.run` starts workers (`crew`), lets the `Chaos` loose on them, on the server
and on the network between, then lets everything heal and everybody finish.  What it
leaves is a history; `judge` decides.  The same seed gives the same plan of faults, not
the same run.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from faults import crew
from faults.crew import Order
from faults.network import QUESTION, SUBSCRIBE, asks
from support.history import Event, Recorder, now, read
from support.polling import until
from support.processes import Child, worker
from support.proxy import Proxy
from support.servers import RedisServer

Variety: TypeAlias = Literal["strict", "journal", "empty"]

NAMESPACE = "torture"
WORKERS = 6
#: the longest of each, in seconds
FREEZE, STALL, HOLE = 1.6, 0.5, 0.4
#: what is aimed at when a reply is lost
TARGETS = (
    QUESTION,
    SUBSCRIBE,
    *(asks(f"lock_{x}") for x in ("acquire", "release", "renew")),
)
#: how often each fault comes
FAULTS: dict[str, dict[str, int]] = {
    "strict": {
        "kill": 3,
        "freeze": 4,
        "stall": 2,
        "lose": 8,
        "halve": 3,
        "cut": 2,
        "hole": 2,
        "delay": 2,
    },
    "journal": {"restart": 4, "kill": 1, "freeze": 1, "lose": 3, "cut": 1},
    "empty": {"restart": 4, "kill": 1, "lose": 3, "cut": 1},
}


class Birth(NamedTuple):
    """When a server began: on the clock of the history, and by the first token it may give."""

    at: float
    token: int


class Resource(socketserver.ThreadingTCPServer):
    """Takes writes from whoever has the highest token so far, and numbers them."""

    daemon_threads = True

    def __init__(self, history: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Writer)
        self._history = Recorder(history, "resource")
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._taken: Counter[str] = Counter()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.server_address[1]
        return port

    def write(self, name: str, token: int) -> None:
        """Take a write, or refuse it; note which."""
        with self._lock:
            if token < self._seen.get(name, 0):
                self._history.refused(name, token, seen=self._seen[name])
                return
            self._seen[name] = token
            self._taken[name] += 1
            self._history.wrote(name, token, self._taken[name])

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Writer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        resource = cast("Resource", self.server)
        for line in self.rfile:
            resource.write(**json.loads(line))
            self.wfile.write(b"\n")


class Crew:
    """The workers: started, killed and replaced, frozen and thawed."""

    def __init__(self, order: Callable[[int, str], Order], history: Path) -> None:
        self._order = order
        self._history = Recorder(history, "test")
        self._names = itertools.count()
        self._at_work: dict[int, tuple[str, Child]] = {}
        self.frozen: set[int] = set()
        for place in range(WORKERS):
            self._hire(place)

    def _hire(self, place: int) -> None:
        name = f"w{place}.{next(self._names)}"
        child = worker(crew.work, **asdict(self._order(place, name)))
        self._at_work[place] = (name, child)

    def kill(self, place: int) -> None:
        """Kill one (SIGKILL), and start another in its place."""
        name, child = self._at_work[place]
        self._still_works(name, child)
        self.frozen.discard(place)
        child.sigkill()
        self._history.killed(name)
        child.end()
        self._hire(place)

    def freeze(self, place: int) -> None:
        """Stop one (SIGSTOP)."""
        name, child = self._at_work[place]
        self._still_works(name, child)
        child.sigstop()
        self.frozen.add(place)

    def thaw(self, place: int) -> None:
        """Let it go on, if it is still the one that was stopped."""
        if place in self.frozen:
            self.frozen.discard(place)
            self._at_work[place][1].sigcont()

    def check(self) -> None:
        """Fail if one has ended by itself."""
        for name, child in self._at_work.values():
            self._still_works(name, child)

    @staticmethod
    def _still_works(name: str, child: Child) -> None:
        assert child.alive, f"worker {name} ended by itself:\n{child.output()}"

    def finish(self, within: float) -> None:
        """Wait until all have ended, each in good order; nobody may wait for ever."""
        for name, child in self._at_work.values():
            assert child.wait(within) == 0, f"{name} failed:\n{child.output()}"

    def close(self) -> None:
        """End whoever is left."""
        for _, child in self._at_work.values():
            child.end()


class Torture:
    """One run."""

    def __init__(self, variety: Variety, seconds: float, seed: int, at: Path) -> None:
        self.variety = variety
        self.seconds = seconds
        self.seed = seed
        self._at = at
        self._rng = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self._stalled = False
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self.births = [Birth(0.0, 0)]
        self.lines: Counter[str] = Counter()

    def run(self) -> list[Event]:
        """Torture them; return the history."""
        stop = self._at / "stop"
        with ExitStack() as stack:
            self._server = stack.enter_context(
                RedisServer(
                    persistence="always" if self.variety == "journal" else "none"
                )
            )
            self._proxy = stack.enter_context(Proxy(self._server.port))
            resource = Resource(self._at / "resource.jsonl")
            stack.callback(resource.close)

            def order(place: int, name: str) -> Order:
                return Order(
                    flavour="sync" if place % 2 else "async",
                    process=name,
                    seed=self.seed,
                    # two of six are out of the network's reach, not the server's
                    url=(self._proxy if place < 4 else self._server).url,
                    namespace=NAMESPACE,
                    history=str(self._at / f"{name}.jsonl"),
                    resource=resource.port,
                    stop=str(stop),
                    hands=3 if place % 2 else 5,
                )

            self._crew = Crew(order, self._at / "test.jsonl")
            stack.callback(self._crew.close)
            until(lambda: len(self._histories()) >= WORKERS + 2, timeout=20)
            self._let_loose()
            self._heal()
            # In peace for a while: everybody is served, then finishes what he is at.
            time.sleep(1.0)
            self._crew.check()
            stop.touch()
            self._crew.finish(within=3 * crew.TTL + 5.0)
            self._nothing_is_left()
            self.lines = self._proxy.struck
        return read(self._histories())

    def _histories(self) -> list[Path]:
        return sorted(self._at.glob("*.jsonl"))

    # -- chaos -------------------------------------------------------------------------

    def _let_loose(self) -> None:
        names, weights = zip(*FAULTS[self.variety].items(), strict=True)
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            (fault,) = self._rng.choices(names, weights)
            if getattr(self, f"_{fault}")() is not False:
                self.faults[fault] += 1
            self._rest(self._rng.uniform(0.02, 0.25))
            self._crew.check()

    def _rest(self, seconds: float) -> None:
        """Do what is due during the next *seconds*."""
        end = time.monotonic() + seconds
        while (present := time.monotonic()) < end:
            while self._due and self._due[0][0] <= present:
                heapq.heappop(self._due)[2]()
            following = self._due[0][0] if self._due else end
            time.sleep(max(0.0, min(end, following) - present))

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        due = time.monotonic() + seconds
        heapq.heappush(self._due, (due, next(self._number), what))

    def _heal(self) -> None:
        while self._due:
            heapq.heappop(self._due)[2]()
        self._proxy.heal()

    def _kill(self) -> None:
        self._crew.kill(self._rng.randrange(WORKERS))

    def _freeze(self) -> bool:
        place = self._rng.randrange(WORKERS)
        if self._crew.frozen:
            return False  # one at a time: two would be a majority of the queue
        self._crew.freeze(place)
        self._later(self._rng.uniform(0.1, FREEZE), lambda: self._crew.thaw(place))
        return True

    def _stall(self) -> bool:
        if self._stalled:
            return False
        self._stalled = True
        self._server.pause()
        self._later(self._rng.uniform(0.02, STALL), self._resume)
        return True

    def _resume(self) -> None:
        self._stalled = False
        self._server.resume()

    def _restart(self) -> None:
        self._server.kill()
        self._note_birth()
        time.sleep(self._rng.uniform(0, 0.2))
        self._server.restart(empty=self.variety == "empty")
        self._rest(0.5)

    def _lose(self) -> None:
        number, target = self._rng.randint(1, 4), self._rng.choice(TARGETS)
        self._proxy.lose_reply(number, target, close=self._rng.random() < 0.5)

    def _halve(self) -> None:
        self._proxy.cut_mid_reply(match=self._rng.choice(TARGETS))

    def _cut(self) -> None:
        self._proxy.cut()

    def _hole(self) -> None:
        deliver = self._rng.random() < 0.5
        self._proxy.black_hole()
        wait = self._rng.uniform(0.05, HOLE)
        self._later(wait, lambda: self._proxy.heal(deliver=deliver))

    def _delay(self) -> None:
        self._proxy.delay(self._rng.uniform(0.01, 0.1))
        self._later(self._rng.uniform(0.1, 0.4), lambda: self._proxy.delay(0))

    def _note_birth(self) -> None:
        """Now nothing runs that could hand out a token: later ones are of the next life."""
        self.births.append(Birth(now(), time.time_ns() // 1000))

    def _nothing_is_left(self) -> None:
        """Who has finished holds nothing; what the killed held, ends by its ttl."""
        with self._server.client(decode_responses=True) as client:

            def held() -> list[Any]:
                return [
                    key
                    for kind in ("lock", "holders", "queue")
                    for key in client.scan_iter(f"*:{kind}:*")
                    if kind != "queue" or self._alive(client, key)
                ]

            until(lambda: not held(), timeout=crew.TTL + crew.WAITER_TTL + 1.0)

    @staticmethod
    def _alive(client: Any, queue: str) -> bool:
        seconds, micros = client.time()
        present = seconds * 1000 + micros // 1000
        alive = queue.replace(":queue:", ":alive:")
        return bool(client.zcount(alive, present, "+inf"))
