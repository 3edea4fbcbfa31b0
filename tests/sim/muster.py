"""
What the members and watchers of a group do, and what must be true.

Five clients join again and again, under identities of which there are not enough; they
report, leave, walk away, or die; at last each joins once more and stays.  Two watch.  The
`Muster` notes what the server did, at the instant at which it did it; its checks decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from coordkit._core.group import MemberLease, beat, circle, join, leave, report
from coordkit._core.keeper import Keeper
from coordkit._core.members import Died, Left, MemberInfo, Members, a_record, changed
from coordkit._core.members import _member as read_member
from coordkit._core.span import milliseconds
from coordkit.errors import CoordError
from sim.sight import Sight
from sim.story import NAMESPACE, Violation, keeper_of
from sim.world import Client, Scenario, World

CLIENTS = "abcde"
WATCHERS = ("x", "y")
IDENTITIES = "pqr"
ROUNDS = 5
TTL = 0.6
TTL_MS = milliseconds(TTL)
CIRCLE = circle(NAMESPACE, "it", ttl=TTL, timeout=0.4)
#: Members of a group that lost its data come back within a heartbeat or two.
REBORN = TTL

View = dict[str, MemberInfo]


class Listed(NamedTuple):
    """The group, as the server has it at one instant."""

    birth: int
    version: int
    #: by request id: what is stored of it, and when it dies, in server ms
    stored: dict[str, str]
    ends: dict[str, float]

    def token(self, rid: str) -> int:
        """The token of this membership."""
        return int(self.stored[rid].partition("\n")[0])

    def seq(self, rid: str) -> int:
        """The number of its last report."""
        return int(self.stored[rid].split("\n", 4)[3])

    def view(self) -> View:
        """What a watcher is to know of it."""
        known = {rid: read_member(rid, stored) for rid, stored in self.stored.items()}
        return {rid: bare(info) for rid, info in known.items()}


def bare(info: MemberInfo) -> MemberInfo:
    """What does not change by itself."""
    return replace(info, expires_in=0.0, suspicion=0.0)


@dataclass
class Watch:
    """What one watcher makes of what it is told."""

    muster: Muster
    sight: Sight
    birth: int = -1
    version: int = 0
    all_told: int = 0

    def __post_init__(self) -> None:
        self.view: View = {}

    def told(self, answer: Any, events: Iterable[Any]) -> Iterator[Any]:
        """Follow what an answer was made into: it must say what is true."""
        birth, version = int(answer[1]), int(answer[2])
        if birth != self.birth:
            self.birth, self.version = birth, 0
        for event in events:
            self._follow(event)
            yield event
        self.version = version
        truth = self.muster.truth.get((birth, version), {})
        if self.view != truth and not self.muster.bereft:
            raise Violation(
                f"at version {version} it sees {self.view}, true is {truth}"
            )

    def _follow(self, event: Any) -> None:
        if isinstance(event, Members):
            self.all_told += 1
            self.view = {each.holder: bare(each) for each in event}
            self.version = event.version
            return
        if event.version != self.version + 1:
            raise Violation(f"{event} was told after version {self.version}")
        self.version = event.version
        if isinstance(event, Left | Died):
            del self.view[event.member.holder]
        else:
            self.view[event.member.holder] = bare(event.member)
        if isinstance(event, Died):
            together = self.muster.deaths.get((self.birth, event.version))
            if together != (event.together, event.of):
                raise Violation(f"{event}, but there died {together}")


class Muster:
    """One group in a world; notes what the server does as it does it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.members: list[tuple[Client, MemberLease]] = []
        self.residents: list[tuple[Client, MemberLease]] = []
        #: requests whose operation said that they left nothing behind
        self.over: set[str] = set()
        self.watches: list[Watch] = []
        #: who is a member, by birth and version of the group
        self.truth: dict[tuple[int, int], View] = {}
        #: how many were buried together, of how many
        self.deaths: dict[tuple[int, int], tuple[int, int]] = {}
        #: whose place another of its identity has taken
        self.replaced: set[str] = set()
        #: when the server heard of whom last, by its clock; when each version began,
        #: and when each was heard of last, by the one true clock
        self.heard: dict[str, int] = {}
        self.began: dict[tuple[int, int], float] = {}
        self.silent: dict[str, float] = {}
        self.last_token = 0
        self.joined = self.buried = self.left = 0
        self._run: Any = world.server.store.run
        world.server.store.run = self._judged  # type: ignore[method-assign]  # looked over its shoulder

    @property
    def now_ms(self) -> int:
        """What the server's clock shows."""
        return self.world.server.store.db.now_ms

    @property
    def bereft(self) -> bool:
        """Whether data was lost, and not everybody is back."""
        lost = max(self.world.losses, default=-REBORN)
        return self.world.now < lost + REBORN * 1.02

    def listed(self) -> Listed:
        """What the server has."""
        store, keys = self.world.server.store, CIRCLE.keys
        words = [word.decode() for word in store.do("HGETALL", keys.group)]
        fields = dict(zip(words[::2], words[1::2], strict=True))
        birth, version = (int(fields.pop(f, 0)) for f in ("birth", "version"))
        scores = [
            w.decode() for w in store.do("ZRANGE", keys.alive, 0, -1, "WITHSCORES")
        ]
        ends = dict(zip(scores[::2], map(float, scores[1::2]), strict=True))
        stored = {f: value for f, value in fields.items() if f in ends}
        return Listed(birth, version, stored, ends)

    # -- what the server does ------------------------------------------------------------

    def _judged(self, script: str, keys: Iterable[str], args: Iterable[Any]) -> Any:
        if not script.startswith("group_"):
            return self._run(script, keys, args)
        words, before = list(args), self.listed()
        value = self._run(script, keys, words)
        after = self.listed()
        if before.birth != after.birth:
            before = Listed(after.birth, 0, {}, {})
        self._changes(script, words, before, after)
        self._heartbeats(script, words, value)
        if script == "group_look":
            self._only_the_living(after)
        self.truth.setdefault((after.birth, after.version), after.view())
        self._nobody_is_a_ghost(after)
        return value

    def _changes(
        self, script: str, words: list[Any], before: Listed, after: Listed
    ) -> None:
        """Every change raises the version by one, and each has its reason."""
        same = [r for r in before.stored if r in after.stored]
        anew = [r for r in same if before.token(r) != after.token(r)]
        gone = [r for r in before.stored if r not in after.stored] + anew
        come = [r for r in after.stored if r not in before.stored] + anew
        new = [r for r in same if r not in anew and self._is_news(before, after, r)]
        if after.version - before.version != len(gone) + len(come) + len(new):
            raise Violation(
                f"{script}: {gone} went, {come} came, {new} changed; version "
                f"{before.version} became {after.version}"
            )
        dead = [rid for rid in gone if before.ends.get(rid, 0) <= self.now_ms]
        for rid in gone:
            self._went(script, words, rid, dead=rid in dead)
        for rid in come:
            if after.token(rid) <= self.last_token:
                raise Violation(f"{rid} joined by a token that is not new")
            self.last_token = after.token(rid)
            self.joined += 1
        for n in range(before.version, after.version):
            self.deaths[after.birth, n + 1] = (len(dead), len(before.stored))
            self.began[after.birth, n + 1] = self.world.now

    @staticmethod
    def _is_news(before: Listed, after: Listed, rid: str) -> bool:
        if after.seq(rid) < before.seq(rid):
            raise Violation(f"an older report of {rid} came after a newer one")
        old, new = (each.stored[rid].split("\n", 4)[4] for each in (before, after))
        return old != new

    def _went(self, script: str, words: list[Any], rid: str, *, dead: bool) -> None:
        if dead:
            silence = self.now_ms - self.heard.get(rid, 0)
            if silence < TTL_MS:
                raise Violation(f"{rid} was buried after {silence} ms")
            self.buried += 1
        elif script == "group_join" and words[5] == 1:
            self.replaced.add(rid)
        elif script == "group_leave" and words[0] == rid:
            self.left += 1
        else:
            raise Violation(f"{script} made {rid} leave, which lives")

    def _heartbeats(self, script: str, words: list[Any], value: Any) -> None:
        """Note whom the server has heard of."""
        if script == "group_beat":
            answered = zip(words[::6], value, strict=True)
            heard = [rid for rid, verdict in answered if verdict == b"kept"]
        elif script == "group_join":
            answered = zip(words[::8], value, strict=True)
            heard = [rid for rid, verdict in answered if verdict[0] == b"joined"]
        else:
            return
        self.heard |= dict.fromkeys(heard, self.now_ms)
        self.silent |= dict.fromkeys(heard, self.world.now)

    def _only_the_living(self, after: Listed) -> None:
        for rid in after.stored:
            silence = self.now_ms - self.heard.get(rid, 0)
            if silence > TTL_MS:
                raise Violation(f"{rid} is listed, silent for {silence} ms")
        identities = [info.identity for info in after.view().values()]
        if len(identities) != len(set(identities)):
            raise Violation(f"two are called the same: {identities}")

    def _nobody_is_a_ghost(self, after: Listed) -> None:
        """Who believes to be a member is listed; who has left is not."""
        ghosts = self.over & after.stored.keys()
        if ghosts and not self.world.losses:  # lost with their tombstones
            raise Violation(f"{ghosts} are over, and still listed")
        if self.bereft:
            return
        for client, member in self.members:
            rid = member.holder
            if client.crashed or rid in self.replaced or rid in self.over:
                continue
            if member.held and rid not in after.stored:
                raise Violation(f"{member!r} believes to be a member, and is none")

    # -- who takes part ------------------------------------------------------------------

    def watch(self, client: Client) -> None:
        """Have a client watch, to the end of the world."""
        watch = Watch(self, Sight(client))
        self.watches.append(watch)
        subject = CIRCLE.subject()

        def read(answer: Any) -> Iterable[Any]:
            return watch.told(answer, subject.read(answer))

        watch.sight.watch(subject._replace(read=read))

    def member(self, client: Client, rounds: int = ROUNDS) -> Scenario[None]:
        """Join again and again, and stay at last."""
        rng, keeper = client.world.rng, keeper_of(client)
        for _ in range(rounds):
            with suppress(KeyboardInterrupt):  # nothing is under way
                yield rng.uniform(0, 0.4)
            who, instead = rng.choice(IDENTITIES), rng.random() < 0.3
            with suppress(CoordError, KeyboardInterrupt):
                member = yield from self._join(client, keeper, who, instead=instead)
                yield from self._stay(client, keeper, member)
        yield from self.resident(client, keeper)

    def resident(self, client: Client, keeper: Keeper | None = None) -> Scenario[None]:
        """Join, and stay to the end of the world."""
        keeper = keeper or keeper_of(client)
        while True:
            try:
                member = yield from self._join(client, keeper, client.name)
            except (CoordError, KeyboardInterrupt):
                with suppress(KeyboardInterrupt):
                    yield 0.05
            else:
                self.residents.append((client, member))
                return

    def _join(
        self, client: Client, keeper: Keeper, identity: str, *, instead: bool = False
    ) -> Scenario[MemberLease]:
        rid, again = client.rid(""), client.world.rng.random() < 0.8
        record = a_record(identity, load=1.0)

        def make(token: int, asked_at: float) -> MemberLease:
            made = CIRCLE, record, rid, token, asked_at
            member = MemberLease(*made, rejoins=again, clock=client.clock)
            self.members.append((client, member))
            if keeper.add(member, asked_at):
                client.stir()
            return member

        try:
            return (
                yield from join(
                    CIRCLE, record, rid, make, now=client.clock(), replace=instead
                )
            )
        except (CoordError, KeyboardInterrupt):
            made = [member for _, member in self.members if member.holder == rid]
            if made:
                keeper.drop(made[0])
            elif all(deferred.call.args[0] != rid for deferred in keeper._deferred):
                self.over.add(rid)
            raise

    def _stay(
        self, client: Client, keeper: Keeper, member: MemberLease
    ) -> Scenario[None]:
        rng = client.world.rng
        try:
            for _ in range(rng.randrange(5)):
                yield rng.expovariate(3)
                with suppress(CoordError):
                    if rng.random() < 0.2:
                        yield from beat(member)
                    else:
                        told = changed(member._record, load=rng.choice([0.2, 0.4, 0.6]))
                        yield from report(member, told)
            if rng.random() < 0.25:
                return  # walks away: it is silent from now on
            keeper.drop(member)
            yield from leave(member)
            self.over.add(member.holder)
        finally:
            keeper.drop(member)

    # -- the checks ----------------------------------------------------------------------

    def check(self) -> None:
        """All is calm: who stays is listed, nobody else, and everybody sees it."""
        listed = self.listed()
        for client, member in self.residents:
            if client.crashed:
                continue
            if member.held != (member.holder in listed.stored):
                raise Violation(f"{member!r} is listed: {not member.held}")
            if (
                member.held
                and member._rejoins
                and member.token != listed.token(member.holder)
            ):
                raise Violation(f"{member!r} has another token on the server")
            if not member.held and member._rejoins:
                raise Violation(f"{member!r} did not join again")
        known = {
            member.holder for client, member in self.residents if not client.crashed
        }
        if strangers := listed.stored.keys() - known:
            raise Violation(f"{strangers} are listed, and nobody knows them")
        for watch in self.watches:
            watch.sight.check_calm()
            if not watch.sight.client.crashed and watch.view != listed.view():
                raise Violation(f"{watch.view} is seen, {listed} is true")
