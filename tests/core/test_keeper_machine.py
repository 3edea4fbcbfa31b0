"""
Leases and their keeper under any sequence of good and bad days.

The server is a dict of ends.  Its clock runs up to one percent fast or slow, answers
take their time or are lost on either way, and the keeper oversleeps.
"""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from coordkit._core.keeper import SWEEP
from coordkit._core.lease import State, believed_until
from coordkit._core.lock import LockLease
from coordkit._core.ops import Call, Pipeline, Reply, Request, Rest
from coordkit.errors import Reason
from core.props import TOKEN, a_claim, a_keeper, no_answer, the_lease
from core.script import Stage

TTLS = st.sampled_from([0.05, 1.0, 3.0, 30.0])
ENDED = (State.LOST, State.RELEASED)


class Keeping(RuleBasedStateMachine):
    leases = Bundle("leases")

    @initialize(rate=st.floats(0.99, 1.01), draw=st.sampled_from([0.0, 0.5, 0.999]))
    def begin(self, rate: float, draw: float) -> None:
        self.stage = Stage()
        self.rate = rate
        self.keeper = a_keeper(draw)
        self.op = self.keeper.keep()
        self.request: Request = next(self.op)
        self.stirred = False
        #: when each lease ends on the server, by our clock
        self.ends: dict[str, float] = {}
        self.known: list[LockLease] = []
        self.ended: set[str] = set()
        self.believed: dict[str, float] = {}

    # -- what the world does -----------------------------------------------------------

    @rule(target=leases, ttl=TTLS, there=st.floats(0, 0.5), back=st.floats(0, 0.5))
    def acquire(self, ttl: float, there: float, back: float) -> object:
        stage, asked_at = self.stage, self.stage.now
        rid = f"{len(self.believed):032x}x"
        self.ends[rid] = asked_at + there + ttl / self.rate
        stage.now += there + back
        if stage.now >= believed_until(asked_at, ttl):
            return multiple()  # too late: it is given back
        claim = a_claim(f"job {rid}", ttl=ttl)
        lease = the_lease(stage, claim, rid, TOKEN, asked_at)
        self.stirred |= self.keeper.add(lease, asked_at)
        self.known.append(lease)
        self.believed[rid] = lease.deadline
        return lease

    @rule(lease=consumes(leases))
    def release(self, lease: LockLease) -> None:
        self.keeper.drop(lease)
        lease._end(State.RELEASED)
        self.ends.pop(lease.holder, None)

    @rule(lease=leases)
    def steal(self, lease: LockLease) -> None:
        self.ends.pop(lease.holder, None)

    @rule(seconds=st.sampled_from([0.001, 0.1, 1.0, 5.0]))
    @precondition(lambda self: not self.stirred)
    def wait(self, seconds: float) -> None:
        """Time passes, up to when the keeper wakes."""
        assert isinstance(self.request, Rest)
        now = min(self.stage.now + seconds, self.request.until)
        self.stage.now = max(self.stage.now, now)

    @rule(
        late=st.sampled_from([0.0, 0.0, 0.01, 2.0]),
        there=st.sampled_from([0.0, 0.05, 1.0]),
        back=st.sampled_from([0.0, 0.05, 1.0]),
        arrives=st.booleans(),
        answered=st.booleans(),
    )
    def turn(
        self, late: float, there: float, back: float, arrives: bool, answered: bool
    ) -> None:
        """The keeper looks, and asks if anything is due."""
        assert isinstance(self.request, Rest)
        if not self.stirred:
            if math.isinf(self.request.until):
                return
            self.stage.now = max(self.stage.now, self.request.until)
        self.stirred = False
        self.stage.now += late
        trip = self._say(None)
        if not isinstance(trip, Pipeline):
            return
        calls, timeout = trip
        asked_at = self.stage.now
        took = min(there + back, timeout)
        verdicts = [
            self._renewed(call, asked_at + min(there, took)) if arrives else []
            for call in calls
        ]
        self.stage.now += took
        if arrives and answered and there + back <= timeout:
            self.request = self.op.send(Reply(verdicts, asked_at, self.stage.now))
        else:
            self.request = self.op.throw(no_answer())
            self._say(None)  # it looks at the clock

    def _say(self, value: object) -> Request:
        self.request = self.op.send(Reply(value, self.stage.now, self.stage.now))
        return self.request

    def _renewed(self, call: Call, at: float) -> list[bytes]:
        """What the server does with a renewal that arrives at that instant."""
        verdicts: list[bytes] = []
        for rid, ms in zip(call.args[::5], call.args[2::5], strict=True):
            assert isinstance(rid, str)
            assert isinstance(ms, int)
            if self.ends.get(rid, 0.0) <= at:
                verdicts.append(b"evicted")
            else:
                self.ends[rid] = at + ms / 1000 / self.rate
                verdicts.append(b"kept")
        return verdicts

    # -- what must hold ----------------------------------------------------------------

    @invariant()
    def nobody_believes_for_longer_than_the_server(self) -> None:
        for lease in self.known:
            if lease.held and lease.holder in self.ends:
                assert lease.deadline < self.ends[lease.holder]

    @invariant()
    def no_belief_is_shortened_or_comes_back(self) -> None:
        for lease in self.known:
            assert lease.deadline >= self.believed[lease.holder]
            self.believed[lease.holder] = lease.deadline
            if lease.state in ENDED:
                self.ended.add(lease.holder)
            assert lease.held is (lease.holder not in self.ended)
            assert (lease.reason is None) is (lease.state is not State.LOST)

    @invariant()
    def every_lease_that_is_held_will_be_looked_at_in_time(self) -> None:
        kept = {lease.holder for lease in self.keeper.leases()}
        for lease in self.known:
            if lease.held:
                assert lease.holder in kept
                assert lease._due <= lease.deadline
                assert (lease._due, lease.holder) in self.keeper._heap
                assert self.stirred or self.keeper.wakes_at <= lease._due
            elif lease.reason is not Reason.EXPIRED:  # which may not be noticed yet
                assert lease.holder not in kept

    @invariant()
    def nobody_is_told_a_reason_that_is_not_so(self) -> None:
        for lease in self.known:
            if lease.reason is Reason.EXPIRED:
                assert self.stage.now >= lease.deadline

    @invariant()
    def the_heap_stays_small(self) -> None:
        assert len(self.keeper._heap) <= SWEEP + 4 * len(self.known) + 1


TestKeeping = Keeping.TestCase
TestKeeping.settings = settings(max_examples=80, stateful_step_count=40)
