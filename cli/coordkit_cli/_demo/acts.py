"""
The four acts: what happens, what is said of it, and whether it was as it must be.

Every check is on facts: tokens, and instants by the clock that all processes of this
machine share.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from coordkit import Session
from coordkit._io.clock import now

from .crew import PATIENCE, Child, Event, Wrong
from .tell import Teller

#: Of the lock, of its fence, and of the election: so one command removes their keys.
LOCK = "the till"
FIELD = "balance"
#: Long enough to be seen, short enough to be waited for.
TTL = 2.0
WORK = 0.5
#: How late a hand-over may be noticed on a machine that is busy with other things.
LATE = 1.5


class Acts:
    """Three workers, Ann, Bob and Cleo, one lock, and one election."""

    def __init__(
        self, tell: Teller, workers: Sequence[Child], session: Session
    ) -> None:
        self._tell = tell
        self._workers = workers
        self._lock = session.lock(LOCK)
        self._election = session.election(LOCK, ttl=TTL)
        self._fence = session.fence(LOCK)
        #: every acquisition there was, for whoever cleans up
        self.holders: list[str] = []
        self._token = 0
        #: who had the lock last
        self._has = workers[0]

    def play(self) -> None:
        """Play all four; raise `Wrong` at the first thing that is not as it must be."""
        self._one_at_a_time()
        time.sleep(WORK)
        self._killed()
        time.sleep(WORK)
        if hasattr(signal, "SIGSTOP"):
            self._frozen()
        else:
            self._tell.act(3, "the holder is frozen: this system cannot freeze one")
        time.sleep(WORK)
        self._led()

    # -- the acts ---------------------------------------------------------------------

    def _one_at_a_time(self) -> None:
        self._tell.act(1, "three want it, one has it: first come, first served")
        self._line_up()
        before: Event | None = None
        for worker in self._workers:
            if worker is not self._workers[0]:
                took = self._taken(worker)
                if before is not None and took["at"] <= before["at"]:
                    raise Wrong(f"{worker.name} had the lock before it was given back")
            time.sleep(WORK)
            before = self._gives(worker)
        self._tell.moral(
            "Each had it alone, in the order in which they asked. With it comes a "
            "number, the token: it is higher for every new holder."
        )

    def _killed(self) -> None:
        self._tell.act(2, "the one that has it is killed")
        self._line_up()
        ann, bob, _ = self._workers
        time.sleep(WORK)
        ann.kill()
        killed_at = now()
        self._tell.event(
            killed_at, ann, "killed", "is killed (SIGKILL), and gives nothing back"
        )
        took = self._taken(bob, since=killed_at)
        gap = took["at"] - killed_at
        self._tell.moral(
            f"Nobody cleaned up after Ann. A lease ends by itself, here {TTL:g} s after "
            f"its last renewal at most; Bob, next in line, had it after {gap:.2f} s."
        )

    def _frozen(self) -> None:
        self._tell.act(3, "the one that has it is frozen, and comes back too late")
        _, bob, cleo = self._workers
        self._writes(bob, "100")
        time.sleep(WORK)
        bob.freeze()
        frozen_at = now()
        self._tell.event(
            frozen_at,
            bob,
            "frozen",
            "is frozen (SIGSTOP), as if its machine had paused",
        )
        self._taken(cleo, since=frozen_at)
        self._writes(cleo, "250")
        time.sleep(WORK)
        bob.thaw()
        self._tell.event(now(), bob, "thawed", "goes on, and knows nothing of all that")
        self._looks(bob)
        self._writes_too_late(bob)
        self._tell.moral(
            "A clock tells a holder that its lease is over, if it looks. If it does "
            "not, whatever it writes to can still refuse it, by its token."
        )

    def _led(self) -> None:
        self._tell.act(4, "one leads; the leader is killed, and the next one leads")
        _, bob, cleo = self._workers
        if self._has is bob:  # who was not frozen has it still, and Cleo is next
            self._gives(bob)
            self._taken(cleo)
        self._gives(cleo)
        cleo.order("stand")
        self._elected(cleo)
        bob.order("stand")
        self._stands(bob)
        time.sleep(WORK)
        cleo.kill()
        killed_at = now()
        line = "is killed (SIGKILL), and resigns nothing"
        self._tell.event(killed_at, cleo, "killed", line)
        took = self._elected(bob, since=killed_at)
        leader = self._election.leader()
        if leader is None or leader.token != took["token"]:
            raise Wrong(f"{bob.name} was elected, and {leader} leads")
        self._tell.moral(
            f"Bob leads {took['at'] - killed_at:.2f} s after Cleo was killed, in a higher "
            "term. Nobody voted: a leader is the holder of a lock that all may look at."
        )
        time.sleep(WORK)

    # -- the steps --------------------------------------------------------------------

    def _gives(self, worker: Child) -> Event:
        worker.order("give")
        gave = worker.expect("given")
        self._tell.event(gave["at"], worker, "given", "gives it back")
        return gave

    def _line_up(self) -> None:
        """Have the first take the lock and the others wait for it, in their order."""
        first, *others = self._workers
        first.order("take")
        self._taken(first)
        for place, worker in enumerate(others, 1):
            worker.order("take")
            self._waits(worker, place)

    def _waits(self, worker: Child, place: int) -> None:
        """Return when *worker* stands in line, behind *place* - 1 others."""
        until = time.monotonic() + PATIENCE
        while (info := self._lock.info()) is None or info.waiters != place:
            if time.monotonic() > until:
                raise Wrong(f"{worker.name} asked for the lock and is not in line")
            time.sleep(0.01)
        line = f"asks, and is number {place} in line"
        self._tell.event(now(), worker, "waiting", line, place=place)

    def _stands(self, worker: Child) -> None:
        """Return when *worker* waits to lead."""
        until = time.monotonic() + PATIENCE
        while not self._election.candidates():
            if time.monotonic() > until:
                raise Wrong(f"{worker.name} stands for election and is no candidate")
            time.sleep(0.01)
        self._tell.event(now(), worker, "waiting", "stands, and is next", place=1)

    def _taken(self, worker: Child, *, since: float | None = None) -> Event:
        """Take note that *worker* has the lock, with a token above all before."""
        took = self._has_it(worker, "taken", "has the lock", since)
        self._has = worker
        return took

    def _elected(self, worker: Child, *, since: float | None = None) -> Event:
        """Take note that *worker* leads, in a term above all before."""
        return self._has_it(worker, "elected", "leads", since)

    def _has_it(
        self, worker: Child, event: str, line: str, since: float | None
    ) -> Event:
        late = PATIENCE if since is None else TTL + LATE
        took = worker.expect(event, within=late)
        token = took["token"]
        if token <= self._token:
            raise Wrong(f"{worker.name} was given token {token} after {self._token}")
        self._token = token
        self.holders.append(took["holder"])
        if since is not None:
            gap = took["at"] - since
            line += f", {gap:.2f} s later"
            if not 0 < gap <= late:
                raise Wrong(f"{worker.name} {line}")
        self._tell.event(took["at"], worker, event, line, token=token)
        return took

    def _writes(self, worker: Child, value: str) -> None:
        worker.order("write", field=FIELD, value=value)
        wrote = worker.expect("written")
        line = f"writes: {FIELD} = {value}"
        self._tell.event(
            wrote["at"], worker, "written", line, token=wrote["token"], value=value
        )

    def _looks(self, worker: Child) -> None:
        """Have it ask its own clock, which tells it the loss."""
        worker.order("look")
        looked = worker.expect("looked")
        if looked["held"]:
            raise Wrong(f"{worker.name} still believes that it has the lock")
        over = looked["over"]
        line = f"looks at its own clock: the lease ended {over:.2f} s ago"
        self._tell.event(
            looked["at"],
            worker,
            "lost",
            line,
            reason=looked["reason"],
            over=round(over, 3),
        )

    def _writes_too_late(self, worker: Child) -> None:
        worker.order("write", field=FIELD, value="120")
        tried = worker.expect("refused")
        self._tell.event(
            tried["at"],
            worker,
            "refused",
            "writes 120 all the same: REFUSED",
            token=tried["token"],
            seen=tried["seen"],
        )
        stands, seen = self._fence.get(FIELD), self._fence.seen()
        if stands != b"250" or seen != self._token:
            raise Wrong(f"after the late write the {FIELD} is {stands!r}, not b'250'")
