"""Who may be picked: not the draining nor the excluded, and the doubted only at last."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from coordkit._core.balance import (
    MOST_TABLES,
    NOBODY,
    STRATEGIES,
    Balance,
    rules,
    without,
)
from coordkit._core.group_local import LocalGroup
from coordkit._core.members import MemberInfo
from coordkit.errors import KeyConflict, NoMember, StaleGroup
from core.props import CIRCLE
from core.test_members import changes, members, stored

OPTIONS: dict[str, Any] = {
    "strategy": "round_robin",
    "cost": 1.0,
    "c": 1.25,
    "max_suspicion": 1.0,
    "max_failures": 3,
    "ejected_for": 10.0,
    "max_ejected": 0.5,
}
DRAINING = "a"


class Play:
    """A balancer of members that are listed by hand, and a clock that stands."""

    def __init__(self, *names: str, **options: Any) -> None:
        self.now = 100.0
        self.local = LocalGroup(CIRCLE, 30.0, guard=nullcontext())
        made = rules(**{**OPTIONS, **options})
        self.balance = Balance(self.local, made, random.Random(5).random)
        self.turn = -1
        self.members(*names)

    def members(self, *names: str, silent: str = "", **loads: float) -> None:
        """These are there; those in capitals are draining, and *silent* is suspect."""
        entries: list[Any] = []
        for name in names:
            record = stored(name.lower(), ord(name), loads.get(name, 0.0))
            if name.isupper():
                record = record.replace("\nactive\n", "\ndraining\n")
            left = 1000 if name == silent else 9000
            entries.append((f"r-{name.lower()}", record, left, 3000))
        self.local.take(members(*entries), self.now, self.now)

    def pick(self, *exclude: str, at: int | None = None) -> MemberInfo:
        self.turn += 1
        return self.balance.pick(
            self.turn if at is None else at, frozenset(exclude), self.now
        )

    def picks(self, *exclude: str, number: int = 60) -> str:
        """Who is picked, of so many picks, sorted."""
        found = {self.pick(*exclude).identity for _ in range(number)}
        return "".join(sorted(found))

    def fail(self, name: str, times: int = 3) -> None:
        self.balance.report(self.pick(at=0), "ok", self.now)
        found = self.local.known(self.now).members[f"r-{name}"]
        for _ in range(times):
            self.balance.report(found, "failed", self.now)


def play_at(strategy: str, *names: str, **options: Any) -> Play:
    return Play(*names, strategy=strategy, **options)


each_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def keyed(play: Play, *exclude: str, number: int = 300) -> Counter[str]:
    """Who is picked how often, with keys for those who need them."""
    needs = play.balance.strategy == "ring"
    found: Counter[str] = Counter()
    for n in range(number):
        at = play.balance.at(f"user:{n}") if needs else n
        member = play.pick(*exclude, at=at)
        found[member.identity] += 1
        play.balance.report(member, "ok", play.now)
    return found


# -- who may be picked ----------------------------------------------------------------


@each_strategy
def test_all_are_picked_about_as_often(strategy: str) -> None:
    found = keyed(play_at(strategy, "a", "b", "c"))
    assert set(found) == set("abc")
    assert all(60 < number < 140 for number in found.values())


@each_strategy
def test_who_is_draining_is_not_picked(strategy: str) -> None:
    play = play_at(strategy, "A", "b", "c")
    assert set(keyed(play)) == set("bc")
    play.members("a", "B", "C")
    assert set(keyed(play)) == {"a"}


@each_strategy
def test_who_is_excluded_is_not_picked(strategy: str) -> None:
    play = play_at(strategy, "a", "b", "c")
    assert set(keyed(play, "b")) == set("ac")
    assert set(keyed(play, "b", "c", "nobody")) == {"a"}
    assert set(keyed(play)) == set("abc")


@each_strategy
def test_who_is_suspect_is_not_picked_while_there_are_others(strategy: str) -> None:
    play = play_at(strategy, "a", "b", "c")
    assert set(keyed(play)) == set("abc")
    play.members("a", "b", "c", silent="b")
    assert set(keyed(play)) == set("ac")
    assert set(keyed(play, "a", "c")) == {"b"}, "rather than nobody"
    play.members("a", "b", "c")
    assert set(keyed(play)) == set("abc")


def test_suspicion_may_be_left_out_of_account() -> None:
    play = Play("a", "b", max_suspicion=None)
    play.members("a", "b", silent="b")
    assert play.picks() == "ab"
    play = Play("a", "b", max_suspicion=2.0)
    play.members("a", "b", silent="b")
    assert play.picks() == "ab", "of 1.16, for three intervals"


@each_strategy
def test_who_comes_and_goes(strategy: str) -> None:
    play = play_at(strategy, "a")
    assert set(keyed(play)) == {"a"}
    news = {"what": "joined", "rid": "r-b", "record": stored("b", 98)}
    play.local.take(changes((6, news)), play.now, play.now)
    assert set(keyed(play)) == set("ab")
    play.local.take(changes((7, {"what": "died", "rid": "r-a"})), play.now, play.now)
    assert set(keyed(play)) == {"b"}


def test_what_is_returned_is_what_it_said_last() -> None:
    for strategy in STRATEGIES:
        play = play_at(strategy, "a")
        for load in (0.5, 0.7):
            play.members("a", a=load)
            assert play.pick(at=0).load == load


@pytest.mark.parametrize(
    ("names", "exclude", "why"),
    [
        ((), (), "'jobs' can be picked: it has no members"),
        (("A", "B"), (), "of its 2 members are 2 draining"),
        (("a", "B"), ("a",), "of its 2 members are 1 draining, 1 excluded"),
        (("a", "b"), ("a", "b"), "of its 2 members are 2 excluded"),
    ],
)
def test_nobody_is_left(
    names: tuple[str, ...], exclude: tuple[str, ...], why: str
) -> None:
    for strategy in STRATEGIES:
        play = play_at(strategy, *names)
        for _ in range(2):
            with pytest.raises(NoMember, match=why) as nobody:
                play.pick(*exclude)
            assert nobody.value.name == "jobs"


def test_what_is_known_too_long_ago_picks_nobody() -> None:
    play = Play("a")
    play.now += 29.9
    play.pick()
    play.now += 0.1
    with pytest.raises(StaleGroup):
        play.pick()
    play.members("b")
    assert play.picks() == "b"
    play.local.take(KeyConflict("another kind"), play.now, play.now)
    play.pick()
    play.now += 30.0
    with pytest.raises(KeyConflict):
        play.pick()


# -- reports ------------------------------------------------------------------------


@each_strategy
def test_who_fails_is_ejected_and_comes_back(strategy: str) -> None:
    play = play_at(strategy, "a", "b", "c")
    assert set(keyed(play)) == set("abc")
    play.fail("a", 3)
    assert play.balance.ejected(play.now) == ("a",)
    assert set(keyed(play)) == set("bc")
    assert set(keyed(play, "b", "c")) == {"a"}, "rather than nobody"
    play.now += 9.9
    assert set(keyed(play)) == set("bc")
    play.now += 0.1
    assert play.balance.ejected(play.now) == ()
    assert set(keyed(play)) == set("abc")


def test_a_success_makes_up_for_failures() -> None:
    play = Play("a", "b")
    for _ in range(5):
        play.fail("a", 2)
        play.balance.report(play.local.known(100.0).members["r-a"], "ok", 100.0)
    assert play.balance.ejected(play.now) == ()


def test_most_of_a_group_is_not_ejected() -> None:
    play = Play("a", "b", "c", "d")
    for name in "abcd":
        play.fail(name, 3)
    assert play.balance.ejected(play.now) == ("a", "b")
    assert play.picks() == "cd"


def test_all_are_doubted_so_none_is() -> None:
    play = Play("a", "b", max_ejected=1.0)
    for name in "ab":
        play.fail(name, 3)
    assert len(play.balance.ejected(play.now)) == 2
    assert play.picks() == "ab"


def test_who_has_left_is_not_reported_about() -> None:
    play = Play("a", "b")
    play.pick()
    gone = play.local.known(play.now).members["r-a"]
    play.fail("a", 3)
    play.members("b")
    play.pick()
    assert play.balance.ejected(play.now) == ()
    for outcome in ("failed", "failed", "failed", "ok"):
        play.balance.report(gone, outcome, play.now)
    play.members("a", "b")
    assert play.picks() == "ab"


# -- loads --------------------------------------------------------------------------


def test_a_report_ends_what_a_pick_counts_for() -> None:
    play = play_at("least_loaded", "a", "b", "c")
    first, second, third = (play.pick() for _ in range(3))
    assert len({each.identity for each in (first, second, third)}) == 3
    for _ in range(5):
        play.balance.report(second, "ok", play.now)
        assert play.pick() == second, "all others have one more to do"


def test_loads_that_members_report_are_gone_by_at_once() -> None:
    play = play_at("least_loaded", "a", "b", cost=0.001)
    play.members("a", "b", a=0.9, b=0.2)
    assert play.picks(number=20) == "b"
    play.members("a", "b", a=0.1, b=0.2)
    assert play.picks(number=20) == "a"


def test_who_comes_does_not_get_every_pick_where_none_is_reported() -> None:
    for strategy in ("least_loaded", "two_choices", "ring"):
        play = play_at(strategy, "a", "b")
        picks = [play.pick(at=n << 50).identity for n in range(1000)]
        play.members("a", "b", "c")
        picks = [play.pick(at=n << 50).identity for n in range(30)]
        assert set(picks) == set("abc")


def test_picks_of_excluding_callers_count_for_all() -> None:
    play = play_at("least_loaded", "a", "b", "c")
    for _ in range(4):
        assert play.pick("a", "b").identity == "c"
    assert play.picks(number=8) == "ab"


# -- what is kept -------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["random", "round_robin", "weighted"])
def test_a_report_of_load_makes_no_table_anew(strategy: str) -> None:
    """Else each would begin its sequence again, and again."""
    play = play_at(strategy, "a", "b")
    play.pick()
    table = play.balance._tables[NOBODY]
    play.members("a", "b", a=0.5)
    play.pick()
    assert play.balance._tables[NOBODY] is table
    play.members("a", "b", "c")
    play.pick()
    assert play.balance._tables[NOBODY] is not table


def test_tables_for_the_excluded_do_not_grow_for_ever() -> None:
    play = Play("a", "b")
    for n in range(100):
        play.pick(f"gone {n}")
    assert len(play.balance._tables) <= MOST_TABLES


# -- what may be given ---------------------------------------------------------------

WRONG: Any = 7
A_MEMBER = MemberInfo("a", "r-a", 1, 0.0)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"strategy": "best"}, ValueError, "strategy='best' is none of 'random', 'rou"),
        ({"strategy": None}, ValueError, "strategy=None is none of"),
        ({"cost": -1}, ValueError, "cost=-1 is not between 0 and"),
        ({"cost": True}, TypeError, "cost is a number, not bool: True"),
        ({"c": 0.9}, ValueError, "c=0.9 is not between 1 and 1000"),
        ({"max_suspicion": 0}, ValueError, "max_suspicion=0 is not between 0.01"),
        ({"max_failures": 0}, ValueError, "max_failures=0"),
        ({"ejected_for": -1}, ValueError, "ejection=-1"),
        ({"max_ejected": 2}, ValueError, "max_ejected=2"),
    ],
)
def test_wrong_options(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        rules(**{**OPTIONS, **given})


def test_who_is_excluded_is_named_or_shown() -> None:
    assert without([A_MEMBER, "b"]) == {"a", "b"}
    assert without(name for name in "ab") == {"a", "b"}
    ones: tuple[Any, ...] = ("a", A_MEMBER)
    for one in ones:
        with pytest.raises(TypeError, match="exclude is several members, not one: "):
            without(one)
    with pytest.raises(TypeError, match="a excluded identity is a str, not int: 7"):
        without([WRONG])


def test_a_key_is_for_the_ring_and_the_ring_needs_one() -> None:
    ring, others = play_at("ring", "a").balance, Play("a").balance
    assert ring.at("ключ") == ring.at("ключ".encode())
    with pytest.raises(TypeError, match="'ring' needs a key"):
        ring.at(None)
    with pytest.raises(TypeError, match="a key is a str or bytes, not int: 7"):
        ring.at(WRONG)
    with pytest.raises(TypeError, match="'round_robin' takes no key, given was 'x'"):
        others.at("x")


@pytest.mark.parametrize(
    ("report", "error", "message"),
    [
        (
            lambda b: b.report("a", "ok", 1.0),
            TypeError,
            "what pick.. returned, not str",
        ),
        (lambda b: b.report(A_MEMBER, "bad", 1.0), ValueError, "'bad' is neither 'ok'"),
        (lambda b: b.report(A_MEMBER, True, 1.0), ValueError, "outcome=True"),
    ],
)
def test_wrong_reports(
    report: Callable[[Balance], None], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        report(Play("a").balance)
