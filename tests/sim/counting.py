"""
What the clients of a counting episode do, and what must be true of it.

Five clients add to counters, plain, fenced, bounded, sharded and huge, alone and
several at once; they write through a fence and take ids.  Each notes what it asked
and what became of it, at true instants; `Sheet.check` decides.

An amount is a random number of forty bits and more, so a sum says which amounts are
in it, and how often: that is how an add that was counted twice shows, or one that was
refused and counted all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

from coordkit._core.counters import Counters
from coordkit._core.fence import Entry, Guard
from coordkit._core.ids import id_blocks
from coordkit._core.keys import fence_keys
from coordkit._core.lanes import Lanes
from coordkit._core.ops import Op
from coordkit.errors import (
    NotAllAdded,
    OutOfBounds,
    Overtaken,
    StaleToken,
    Unreachable,
)
from sim.story import NAMESPACE, Violation
from sim.world import Client, Scenario, World

T = TypeVar("T")

TIMEOUT = 0.4
ROUNDS = 14
#: Where the huge counter begins: doubles have lost their last digits there.
HUGE = 2**62
SHARDS = 4
DONE = "done"
#: Of more than so many it takes long to say which sums there are.
MOST_UNKNOWN = 16


@dataclass
class Deed:
    """One change that was asked for, at true instants; *result* None: it is unknown."""

    asked: float
    amount: int
    token: int = 0
    heard: float = 0.0
    result: Any = None


@dataclass
class Sheet:
    """What was asked for in an episode, and what came of it."""

    world: World
    #: the changes that were made, or may have been, by what they changed
    deeds: dict[str, list[Deed]] = field(default_factory=dict[str, list[Deed]])
    #: requests whose id was chosen: how much, and the answers
    chosen: dict[str, tuple[int, set[int]]] = field(
        default_factory=dict[str, tuple[int, set[int]]]
    )
    ids: list[range] = field(default_factory=list[range])
    #: the token of the present holder of some lock
    token: int = 1000
    refused: int = 0
    out: int = 0
    unknown: int = 0

    def amount(self) -> int:
        """Return a number that no sum of others is."""
        return self.world.rng.getrandbits(40) | 1 << 40

    def deed(
        self, of: str, op: Op[T], amount: int = 0, token: int = 0
    ) -> Scenario[T | None]:
        """Ask for one change; return what it returned, None when that is not known."""
        deed = Deed(self.world.now, amount, token)
        self.deeds.setdefault(of, []).append(deed)
        try:
            result = yield from op
        except StaleToken as stale:
            self.deeds[of].remove(deed)
            self.refused += 1
            if stale.seen <= token:
                raise Violation(f"{token} was refused after {stale.seen}") from None
            return None
        except (OutOfBounds, Overtaken):
            self.deeds[of].remove(deed)
            self.out += 1
            return None
        except (Unreachable, KeyboardInterrupt):
            self.unknown += 1
            return None
        deed.result, deed.heard = result, self.world.now
        return result

    # -- the checks -----------------------------------------------------------------

    def known(self, name: str) -> list[Deed]:
        """Return what was answered."""
        return [d for d in self.deeds.get(name, ()) if d.result is not None]

    def open(self, name: str) -> list[Deed]:
        """Return what may have been done or not, even by now."""
        return [d for d in self.deeds.get(name, ()) if d.result is None]

    def check(self, values: dict[str, int], journal: list[Entry]) -> None:
        """Decide about all of it; *values*, *journal*: what there is at the end."""
        for name in ("any", "stock", "hits", "many 0", "many 1", "many 2"):
            self._exact(name, values[name])
        self._in_a_row("up", values["up"], 0)
        self._in_a_row("huge", values["huge"], HUGE)
        self._chosen(values["chosen"])
        self._handed_over(values["swapped"])
        self._each_once(journal)
        self._swaps(values["swaps"])
        for name in ("fenced", "ledger"):
            self._tokens_in_order(name)
        row = sorted(self.known("row"), key=lambda deed: deed.result)
        for before, after in pairwise(row):
            if before.token > after.token:
                raise Violation(f"{before} was counted before {after}")
        for one, two in pairwise(sorted(self.ids, key=lambda taken: taken[0])):
            if one[-1] >= two[0]:
                raise Violation(f"ids {one} and {two} were handed out")

    def _exact(self, name: str, value: int) -> None:
        """It has what was added, each once, and perhaps what is unknown, each once."""
        left = value - sum(deed.amount for deed in self.known(name))
        if left not in sums(deed.amount for deed in self.open(name)):
            raise Violation(f"{name!r} has {left} more than what was added")
        if name == "stock" and min(value, *(d.result for d in self.known(name)), 0) < 0:
            raise Violation("there is less than nothing in stock")

    def _in_a_row(self, name: str, value: int, start: int) -> None:
        """The answers are those of adding one after the other, in some order of time."""
        self._exact(name, value - start)
        row = sorted(self.known(name), key=lambda deed: deed.result)
        possible = sums(deed.amount for deed in self.open(name))
        for before, after in pairwise([Deed(0, 0, result=start), *row]):
            if after.result - after.amount - before.result not in possible:
                raise Violation(f"{name!r} went from {before} to {after}")
        latest = 0.0
        for deed in row:
            if deed.heard < latest:
                raise Violation(f"{name!r}: {deed} was heard before it was asked for")
            latest = max(latest, deed.asked)

    def _chosen(self, value: int) -> None:
        for rid, (_, answers) in self.chosen.items():
            if len(answers) > 1:
                raise Violation(f"request {rid!r} had several answers: {answers}")
        known = sum(n for n, answers in self.chosen.values() if answers)
        if value - known not in sums(n for n, a in self.chosen.values() if not a):
            raise Violation(f"'chosen' has {value - known} more than what was added")

    def _handed_over(self, value: int) -> None:
        """What was there when it was set to 0 was handed to who did it, all of it."""
        if self.open("handed"):
            return  # then nobody has it
        had = sum(deed.result for deed in self.known("handed"))
        self._exact("swapped", value + had)

    def _each_once(self, journal: list[Entry]) -> None:
        """The journal has what was appended, under the number that was told."""
        told = {deed.result: deed.amount for deed in self.known("journal")}
        there = {entry.number: int(entry.value) for entry in journal}
        if told.items() - there.items() or len(set(there.values())) < len(there):
            raise Violation(f"{told} was appended, there is {there}")
        others = set(there.values()) - set(told.values())
        if others - {deed.amount for deed in self.open("journal")}:
            raise Violation(f"{others} is in the journal, and nobody knows of it")

    def _swaps(self, value: int) -> None:
        """It went from 0 to 1 and back as often as was told: no who did it was told no."""
        done = [d.amount for d in self.known("swaps") if d.result == DONE]
        unknown = [deed.amount for deed in self.open("swaps")]
        hidden = value - done.count(0) + done.count(1)
        if not -unknown.count(1) <= hidden <= unknown.count(0):
            raise Violation(
                f"swapped {done}, perhaps {unknown}, and it came to {value}"
            )

    def _tokens_in_order(self, name: str) -> None:
        """What was asked after a newer token was heard to be admitted is not admitted."""
        known = self.known(name)
        for deed in known:
            newer = [d.token for d in known if d.heard < deed.asked]
            if max(newer, default=0) > deed.token:
                raise Violation(f"{name!r} admitted {deed.token} after {max(newer)}")


def sums(amounts: Iterable[int]) -> set[int]:
    """Return every sum of some of the amounts, each once at most."""
    found = {0}
    for n, amount in enumerate(amounts):
        if n == MOST_UNKNOWN:
            raise LookupError(
                "too much is unknown to say anything: shorten the episode"
            )
        found |= {each + amount for each in found}
    return found


class Hand:
    """One of several that count for a client; they share its session's lanes."""

    def __init__(self, client: Client, sheet: Sheet, lanes: Lanes) -> None:
        self.client = client
        self.sheet = sheet
        self.rng = client.world.rng
        self.counters = Counters(NAMESPACE, lanes=lanes, timeout=TIMEOUT, scatter=False)
        keys = fence_keys(NAMESPACE, "ledger")
        self.ledger = Guard("ledger", keys, lanes, TIMEOUT)
        self.log = Guard("log", fence_keys(NAMESPACE, "log"), lanes, TIMEOUT)
        self.token = 1
        self._tallies = {
            name: self.counters.tally(name) for name in ("up", "huge", "any", "hits")
        }

    def tally(self, name: str, shards: int | None = None) -> Any:
        """Return a counter that has been used before, or a new one."""
        old = self._tallies.get(name) if self.rng.random() < 0.5 else None
        return old or self.counters.tally(name, shards)

    def count(self) -> Scenario[None]:
        """Do one thing after the other."""
        deeds = [self.up, self.huge, self.any, self.stock, self.many, self.hits]
        deeds += [self.chosen, self.swapped, self.fenced, self.fenced, self.ids]
        deeds += [self.append, self.swap]
        for _ in range(ROUNDS):
            with suppress(KeyboardInterrupt):  # nothing is under way
                yield self.rng.uniform(0, 0.5)
            with suppress(KeyboardInterrupt):
                yield from self.rng.choice(deeds)()

    # -- what it does -----------------------------------------------------------------

    def up(self) -> Scenario[None]:
        amount = self.sheet.amount()
        yield from self.sheet.deed("up", self.tally("up").add(amount), amount)

    def huge(self) -> Scenario[None]:
        amount = self.sheet.amount()
        yield from self.sheet.deed("huge", self.tally("huge").add(amount), amount)

    def any(self) -> Scenario[None]:
        amount = self.sheet.amount() * self.rng.choice([1, -1])
        yield from self.sheet.deed("any", self.tally("any").add(amount), amount)

    def stock(self) -> Scenario[None]:
        amount = self.sheet.amount() * self.rng.choice([1, -1])
        op = self.tally("stock").add(amount, at_least=0)
        yield from self.sheet.deed("stock", op, amount)

    def many(self) -> Scenario[None]:
        """Several in one trip; of each it is told what became of it."""
        sheet, now = self.sheet, self.client.world.now
        amounts = {f"many {n}": sheet.amount() for n in range(3)}
        deeds = {name: Deed(now, amount) for name, amount in amounts.items()}
        for name, deed in deeds.items():
            sheet.deeds.setdefault(name, []).append(deed)
        added: dict[str, int] = {}
        try:
            added = yield from self.counters.add_all(amounts, None)
        except NotAllAdded as told:
            added = told.added
        except (Unreachable, KeyboardInterrupt):
            sheet.unknown += 1
        for name, value in added.items():
            deeds[name].result, deeds[name].heard = value, self.client.world.now

    def hits(self) -> Scenario[None]:
        """Add, and take it away again: whoever reads the sum finds nothing missing."""
        sheet, amount = self.sheet, self.sheet.amount()
        hits = self.tally("hits", SHARDS)
        done = yield from sheet.deed("hits", hits.add(amount), amount)
        if done is not None:
            yield from sheet.deed("hits", hits.add(-amount), -amount)
        with suppress(Unreachable):
            if (yield from hits.value()) < 0:
                raise Violation("a sum of shards that there never was")

    def chosen(self) -> Scenario[None]:
        """Ask with an id of one's own, or with somebody else's, until there is an answer."""
        known = self.sheet.chosen
        rid = self.rng.choice([*list(known)[-3:], f"message {len(known)}"])
        amount, answers = known.setdefault(rid, (self.sheet.amount(), set()))
        for _ in range(3):
            with suppress(Unreachable):
                answers.add((yield from self.tally("chosen").add(amount, rid=rid)))
                return
            self.sheet.unknown += 1
            yield self.rng.uniform(0, 1)

    def swapped(self) -> Scenario[None]:
        sheet, amount = self.sheet, self.sheet.amount()
        swapped = self.tally("swapped", SHARDS)
        if self.rng.random() < 0.25:
            op = swapped.delete() if self.rng.random() < 0.5 else swapped.set(0)
            yield from sheet.deed("handed", op)
        else:
            yield from sheet.deed("swapped", swapped.add(amount), amount)

    def fenced(self) -> Scenario[None]:
        """As a holder that may have been replaced long ago."""
        sheet, rng = self.sheet, self.rng
        if rng.random() < 0.4:
            sheet.token += 1
            self.token = sheet.token
        token, amount, ledger = self.token, sheet.amount(), self.ledger
        row, fenced = self.tally("row"), self.tally("fenced")
        yield from sheet.deed("row", row.add(amount, token=token), amount, token)
        ops = [fenced.add(amount, token=token), fenced.delete(token=token)]
        yield from sheet.deed("fenced", rng.choice(ops), amount, token)
        ops = [
            ledger.check(token),
            ledger.set("x", str(token), token),
            ledger.cas("x", str(token), str(token - 1), token),
            ledger.delete("x", token),
            ledger.append(str(token), token, None, 100),
        ]
        yield from sheet.deed("ledger", _verdict(rng.choice(ops)), 0, token)

    def append(self) -> Scenario[None]:
        amount = self.sheet.amount()
        last = None if self.rng.random() < 0.5 else (yield from _told(self.log.last()))
        op = self.log.append(str(amount), 1, last, 1000)
        yield from self.sheet.deed("journal", op, amount)

    def swap(self) -> Scenario[None]:
        """Make 0 of 1, or 1 of 0, unless somebody else was faster."""
        stands = yield from _told(self.log.get("n"))
        value = int(stands or 0)
        op = self.log.cas("n", str(1 - value), stands, 1)
        yield from self.sheet.deed("swaps", _verdict(op), value)

    def ids(self) -> Scenario[None]:
        blocks = id_blocks(
            NAMESPACE, "ids", block=self.rng.choice([1, 10]), start=1, timeout=TIMEOUT
        )
        with suppress(Unreachable):
            self.sheet.ids.append((yield from blocks.take(0)))


def _verdict(op: Op[Any]) -> Op[str]:
    """Run an operation; say what it said, for None is what is not known."""
    return DONE if (yield from op) is not False else "no"


def _told(op: Op[T]) -> Op[T | None]:
    """Run an operation that asks; None if there was no answer."""
    try:
        return (yield from op)
    except Unreachable:
        return None
