"""
Chaos: workers are killed and frozen, the server stalls and restarts, the network fails.

What strikes when follows from a seed; what comes of it does not.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from support.history import Recorder
from support.processes import Child, worker
from support.proxy import Proxy
from support.servers import RedisServer

#: the longest of each, in seconds
FREEZE, STALL, HOLE = 1.6, 0.5, 0.4


class Crew:
    """The workers: started, killed and replaced, frozen and thawed."""

    def __init__(
        self,
        size: int,
        work: Callable[..., object],
        order: Callable[[int, str], Mapping[str, Any]],
        history: Path,
    ) -> None:
        """Have so many do *work*; *order* says what a place's worker of a name is told."""
        self.size = size
        self._work = work
        self._order = order
        self._history = Recorder(history, "test")
        self._names = itertools.count()
        self._at_work: dict[int, tuple[str, Child]] = {}
        self.frozen: set[int] = set()
        for place in range(size):
            self._hire(place)

    def _hire(self, place: int) -> None:
        name = f"w{place}.{next(self._names)}"
        child = worker(self._work, **self._order(place, name))
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


class Chaos:
    """What strikes a server, the network before it, and those who work with it."""

    def __init__(
        self,
        rng: random.Random,
        server: RedisServer,
        proxy: Proxy,
        crew: Crew,
        targets: Sequence[bytes],
        *,
        killed: Callable[[], None] = lambda: None,
        empty: bool = False,
    ) -> None:
        """
        *targets*: replies to what are lost.  *killed* is called while the server does not
        run; *empty*: then it has lost its data.
        """
        self.faults: Counter[str] = Counter()
        self._rng = rng
        self._server = server
        self._proxy = proxy
        self._crew = crew
        self._targets = targets
        self._killed = killed
        self._empty = empty
        self._stalled = False
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def let_loose(self, seconds: float, often: Mapping[str, int]) -> None:
        """Strike for so long; *often* says how often each fault comes."""
        names, weights = zip(*often.items(), strict=True)
        end = time.monotonic() + seconds
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

    def heal(self) -> None:
        """End all that has struck."""
        while self._due:
            heapq.heappop(self._due)[2]()
        self._proxy.heal()

    def _kill(self) -> None:
        self._crew.kill(self._rng.randrange(self._crew.size))

    def _freeze(self) -> bool:
        place = self._rng.randrange(self._crew.size)
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
        self._killed()
        time.sleep(self._rng.uniform(0, 0.2))
        self._server.restart(empty=self._empty)
        self._rest(0.5)

    def _lose(self) -> None:
        number, target = self._rng.randint(1, 4), self._rng.choice(self._targets)
        self._proxy.lose_reply(number, target, close=self._rng.random() < 0.5)

    def _halve(self) -> None:
        self._proxy.cut_mid_reply(match=self._rng.choice(self._targets))

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
