"""
What the candidates, operators and observers of an election do, and what must be true.

Five candidates stand again and again, with priorities, some of which ask the leader to
resign; they work under their terms, resign, walk away or die.  An operator asks leaders to
resign, names heirs, pauses.  Two observers note what they are told.  The `Race` notes what
the server did, at the instant at which it did it; its checks decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from coordkit._core.claim import Claim
from coordkit._core.election import Office, election_times, office, standing
from coordkit._core.keeper import Keeper
from coordkit._core.lock import acquire
from coordkit._core.ops import Op
from coordkit._core.terms import Elected, Missed, Vacant
from coordkit.errors import CoordError
from sim.sight import Sight
from sim.story import NAMESPACE, Ledger, Violation, keeper_of, maker, use
from sim.world import Client, Scenario, World

CANDIDATES = "abcde"
OBSERVERS = ("x", "y")
ROUNDS = 7
#: What the operator does: from here on, pauses.
PAUSES = 2
#: A message, and the reconnection of a line, take no longer.
SOON = 0.35
TTL, RELIED = 0.6, 0.36
OFFICE: Office = office(NAMESPACE, "it", 0.4)


def a_claim(
    identity: str, priority: int = 0, *, preempt: bool = False, **times: Any
) -> Claim:
    """What a campaign asks for, short-lived so that an episode is short."""
    given: dict[str, Any] = {
        "ttl": TTL,
        "renew_deadline": RELIED,
        "renew_every": None,
        "handover_delay": 0.0,
        "max_term": None,
        "waiter_ttl": 0.5,
    }
    stands = standing(priority, None, preempt=preempt)
    return OFFICE.claim(election_times(**(given | times)), identity, stands)


@dataclass
class Begun:
    """A term, as the server gave it."""

    token: int
    rid: str
    at: float


class Race:
    """One election in a world; notes what the server does as it does it."""

    def __init__(self, world: World, **times: Any) -> None:
        self.world = world
        self.times = times
        self.ledger = Ledger(world, a_claim("nobody", **times))
        self.terms: list[Begun] = []
        #: the terms that were given up, as the server has it
        self.resigned: set[int] = set()
        #: where each candidate stands in line, and since when
        self.places: dict[str, float] = {}
        self.waits_since: dict[str, float] = {}
        self.vacant_since: float | None = None
        #: when, as the operator knows, nobody may be elected
        self.pauses: list[tuple[float, float]] = []
        #: and when it wants no pause; when the server began one
        self.quiet: list[tuple[float, float]] = []
        self.paused_at: list[float] = []
        self.sights: list[Sight] = []
        #: whether the queue's order can be judged: nothing is lost, and no clock is set
        self.judge_order = False
        self._run: Any = world.server.store.run
        world.server.store.run = self._judged  # type: ignore[method-assign]  # looked over its shoulder

    def _judged(self, script: str, keys: Iterable[str], args: Iterable[Any]) -> Any:
        words, before = list(args), self._leader()
        value = self._run(script, keys, words)
        if script == "lock_acquire":
            self._stood(words, value, before)  # before the seat is seen to be taken
        ends = int(
            before.get("until", 2**60)
        )  # it may have run out, and the seat kept empty
        ours = script == "lock_release" and before.get("rid") == words[0]
        if ours and ends > self.world.server.store.db.now_ms:
            self.resigned.add(int(before["token"]))
        if self._leader():
            self.vacant_since = None
        elif before:
            self.vacant_since = self.world.now
        if self._leader().get("pause") != before.get("pause") and "pause" in script:
            self.paused_at.append(self.world.now)
        if script == "election_transfer" and value == [b"asked"]:
            waiting = self._waiting()
            self.places[waiting[0]] = -(10.0**16) - len(self.places)
        return value

    def _leader(self) -> dict[str, str]:
        """What the server has of the leader."""
        flat = self.world.server.store.do("HGETALL", OFFICE.keys.lock)
        words = [word.decode() for word in flat]
        return dict(zip(words[::2], words[1::2], strict=True))

    def _waiting(self) -> list[str]:
        """Who waits and is alive, as the server has them in line."""
        store, keys = self.world.server.store, OFFICE.keys
        found: list[str] = []
        for rid in store.do("ZRANGE", keys.queue, 0, -1):
            ends = store.do("ZSCORE", keys.alive, rid)
            if float(ends or 0) > store.db.now_ms:
                found.append(rid.decode())
        return found

    def _stood(self, words: list[Any], value: Any, before: dict[str, str]) -> None:
        """Judge what became of one question of a campaign."""
        rid, priority, preempt = str(words[0]), int(words[8]), words[9] == 1
        place = self.world.server.store.db.now_us - priority * 2.0**45
        if value[0] == b"taken":
            token = int(value[1])
            if not self.terms or self.terms[-1].token != token:
                self.terms.append(Begun(token, rid, self.world.now))
                self._check_turn(rid, self.places.get(rid, place))
        elif value[0] == b"busy":
            if int(words[1]) > 0:
                self.places.setdefault(rid, place)
                self.waits_since.setdefault(rid, self.world.now)
            self._check_first(rid, self.places.get(rid, place), before)
        asked = "revoke" in self._leader() and "revoke" not in before
        if asked and not (preempt and int(before["priority"]) < priority):
            raise Violation(f"{rid} made a leader resign that it may not")

    def _check_first(self, rid: str, place: float, before: dict[str, str]) -> None:
        """Who goes before all that wait for an empty seat gets it."""
        others = [other for other in self._waiting() if other != rid]
        if not self.judge_order or before:
            return
        if all(self.places.get(o, place) > place for o in others):
            raise Violation(f"{rid} goes first, and was not elected to an empty seat")

    def _check_turn(self, rid: str, place: float) -> None:
        """Nobody who waits goes before who was elected, and nobody waits for an empty seat."""
        if not self.judge_order:
            return
        for other in self._waiting():
            if self.places.get(other, place) < place:
                raise Violation(f"{rid} was elected before {other}")
        if self.vacant_since is not None and rid in self.waits_since:
            took = self.world.now - max(self.vacant_since, self.waits_since[rid])
            if took > SOON:
                raise Violation(f"an empty seat found its candidate after {took:.3f} s")

    # -- who takes part ----------------------------------------------------------------

    def observe(self, client: Client) -> None:
        """Have a client watch, to the end of the world."""
        sight = Sight(client)
        self.sights.append(sight)
        sight.watch(OFFICE.subject())

    def candidate(self, client: Client, rounds: int = ROUNDS) -> Scenario[None]:
        """Stand for election again and again."""
        rng, keeper = client.world.rng, keeper_of(client)
        for _ in range(rounds):
            with suppress(KeyboardInterrupt):  # nothing is under way
                yield rng.uniform(0, 0.4)
            rid = client.rid()
            self.ledger.issued.add(rid)
            yield from self._round(client, keeper, rid)

    def _round(self, client: Client, keeper: Keeper, rid: str) -> Scenario[None]:
        rng, ledger = client.world.rng, self.ledger
        preempt = rng.random() < 0.3
        claim = a_claim(client.name, rng.randint(-2, 2), preempt=preempt, **self.times)
        try:
            term = yield from acquire(
                claim,
                rid,
                maker(client, ledger, keeper, rid),
                now=client.clock(),
                timeout=rng.choice([None, 0.3, 1.5]),
                queue=rng.random() < 0.9,
                listening=client.subscribed,
            )
        except (CoordError, KeyboardInterrupt):
            term = None
        if term is None:
            ledger.end(rid, keeper)
            return
        yield from use(client, ledger, keeper, term, "done")

    def operator(
        self, client: Client, times: int = 6, *, only_pauses: bool = False
    ) -> Scenario[None]:
        """Interfere."""
        rng, resumed = client.world.rng, 0.0
        for _ in range(times):
            yield rng.uniform(0.05, 0.5) if only_pauses else rng.uniform(0.2, 2)
            heir = rng.choice(CANDIDATES)
            asks: list[Op[Any]] = [
                OFFICE.revoke("tired of it", None),
                OFFICE.transfer(heir, client.name, ""),
                OFFICE.pause(client.rid(""), client.name, rng.uniform(0.05, 0.8), "a"),
                OFFICE.pause(client.rid(""), client.name, None, "for good"),
            ]
            chosen = rng.randrange(PAUSES if only_pauses else 0, len(asks))
            known: float | None = None
            if chosen >= PAUSES:
                self.quiet.append((resumed, client.world.now))
            with suppress(CoordError, KeyboardInterrupt):
                yield from asks[chosen]
                known = client.world.now
            if chosen == len(asks) - 1:
                yield rng.uniform(0, 1)
                if known is not None:
                    self.pauses.append((known, client.world.now))
            if chosen >= PAUSES:
                yield from self._resume(client)
                resumed = client.world.now
        self.quiet.append((resumed, math.inf))

    @staticmethod
    def _resume(client: Client) -> Scenario[None]:
        while True:  # or nobody would ever lead again
            try:
                yield from OFFICE.resume(client.name)
            except (CoordError, KeyboardInterrupt):
                yield 0.05
            else:
                return

    # -- the checks --------------------------------------------------------------------

    def check(self) -> None:
        """Decide about the whole episode."""
        self.ledger.check()
        self._terms_are_over()
        if not self.world.losses:
            self._stepped_down_in_time()
            self._paused()
        for sight in self.sights:
            self._saw_all(sight)
            sight.check_calm()
            if not sight.client.crashed:
                self._sees_what_is(sight)

    def _stepped_down_in_time(self) -> None:
        """Who did not resign had time for its work to end before anybody else began."""
        grants = {g.lease.token: g for g in self.ledger.grants}
        grace = 0.95 * (TTL - RELIED + self.times.get("handover_delay", 0.0))
        for before, after in pairwise(self.terms):
            grant = grants.get(before.token)
            if grant is None or grant.released is not None:
                continue
            left = after.at - grant.client.world_time(grant.lease.deadline)
            if left < grace:
                raise Violation(
                    f"term {before.token} was believed until {left:.3f} s before the next"
                )

    def _terms_are_over(self) -> None:
        most: float | None = self.times.get("max_term")
        for grant in self.ledger.grants:
            if most is not None and grant.end - grant.asked > most:
                raise Violation(f"{grant.lease!r} was believed for too long")

    def _paused(self) -> None:
        """Between a pause that was confirmed and its end nobody is elected; and no other begins."""
        for begun, ended in self.quiet:
            for at in self.paused_at:
                if begun < at < ended:
                    raise Violation(f"a pause of old began at {at}, {begun} to {ended}")
        for begun, ended in self.pauses:
            for term in self.terms:
                if begun < term.at < ended:
                    raise Violation(f"{term} began in a pause, {begun} to {ended}")

    def _saw_all(self, sight: Sight) -> None:
        """Each term once, in order, none left out without a word."""
        order = {term.token: n for n, term in enumerate(self.terms)}
        last: int | None = None
        leads: int | None = None
        for _, event in sight.told:
            if isinstance(event, Missed):
                last = None
            elif isinstance(event, Elected):
                token = event.leader.token
                if token not in order:
                    raise Violation(f"told of term {token}, which nobody had")
                if leads is not None:
                    raise Violation(f"{leads} did not end before {token} began")
                if last is not None and order[token] != order[last] + 1:
                    raise Violation(f"told of term {token} after {last}, and no gap")
                last = leads = token
            elif isinstance(event, Vacant):
                if leads is not None and event.token != leads:
                    raise Violation(f"told that {event.token} ended, not {leads}")
                early = not self.world.losses
                if early and event.how == "lost" and event.token in self.resigned:
                    raise Violation(f"{event.token} was resigned, and is told as lost")
                leads = None

    def _sees_what_is(self, sight: Sight) -> None:
        """All is calm: what was told last is true."""
        store = self.world.server.store
        held, until = (
            store.do("HGET", OFFICE.keys.lock, field) for field in ("token", "until")
        )
        if until is not None and int(until) <= store.db.now_ms:
            held = None  # a pause, and a leader who died in it
        events = [event for _, event in sight.told]
        state = next(
            (e for e in reversed(events) if isinstance(e, Elected | Vacant)), None
        )
        leads = state.leader.token if isinstance(state, Elected) else None
        if leads != (int(held) if held else None):
            raise Violation(f"told last: {state}; true is {held}")
