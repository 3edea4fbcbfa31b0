"""
The torture: real processes, one server, and every fault at random.

`Torture.run` starts workers (`crew`), lets the `Chaos` loose on them, on the server
and on the network between, then lets everything heal and everybody finish.  What it
leaves is a history; `judge` decides.  The same seed gives the same plan of faults, not
the same run.
"""

from __future__ import annotations

import json
import random
import socketserver
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from faults import crew
from faults.chaos import Chaos, Crew
from faults.crew import Order
from faults.network import QUESTION, SUBSCRIBE, asks
from support.history import Event, Recorder, now, read
from support.polling import until
from support.proxy import Proxy
from support.servers import RedisServer

Variety: TypeAlias = Literal["strict", "journal", "empty"]

NAMESPACE = "torture"
WORKERS = 6
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


class Torture:
    """One run."""

    def __init__(self, variety: Variety, seconds: float, seed: int, at: Path) -> None:
        self.variety = variety
        self.seconds = seconds
        self.seed = seed
        self._at = at
        self._rng = random.Random(seed)
        self.faults: Counter[str] = Counter()
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

            def order(place: int, name: str) -> dict[str, Any]:
                told = Order(
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
                return asdict(told)

            workers = Crew(WORKERS, crew.work, order, self._at / "test.jsonl")
            stack.callback(workers.close)
            until(lambda: len(self._histories()) >= WORKERS + 2, timeout=20)
            chaos = Chaos(
                self._rng,
                self._server,
                self._proxy,
                workers,
                TARGETS,
                killed=self._note_birth,
                empty=self.variety == "empty",
            )
            chaos.let_loose(self.seconds, FAULTS[self.variety])
            chaos.heal()
            self.faults = chaos.faults
            # In peace for a while: everybody is served, then finishes what he is at.
            time.sleep(1.0)
            workers.check()
            stop.touch()
            workers.finish(within=3 * crew.TTL + 5.0)
            self._nothing_is_left()
            self.lines = self._proxy.struck
        return read(self._histories())

    def _histories(self) -> list[Path]:
        return sorted(self._at.glob("*.jsonl"))

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
