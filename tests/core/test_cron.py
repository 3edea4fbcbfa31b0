"""Who runs a tick: the decisions, and the questions that lead to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coordkit._core.cron import (
    GLANCE,
    KEPT,
    LONG_GLANCE,
    Begun,
    Busy,
    Due,
    Overlap,
    Passed,
    Plan,
    Why,
    cron,
    decide,
    listing,
)
from coordkit._core.lock import LockLease
from coordkit._core.ops import Call, Op, Pipeline, Rest
from coordkit._core.runs import Run, Seen, State
from coordkit._core.ticks import Every, Schedule
from coordkit.errors import KeyConflict, LockTimeout, Unreachable
from core.props import RID, TOKEN, a_lease, no_answer
from core.script import Line, Stage, Took

M = 60_000
T0 = 1_795_694_400_000  # 2026-11-26 12:00 UTC
HOURLY = Plan(Schedule("0 * * * *"))
H = 60 * M


def a_run(tick: int, state: State = State.OK, **more: Any) -> Run:
    given: dict[str, Any] = {
        "rid": "r" * 33,
        "attempt": 1,
        "since": tick + 500,
        "ended": None if state in (State.RUNNING, State.LOST) else tick + 9000,
        "code": {State.OK: 0, State.FAILED: 3}.get(state),
        "token": TOKEN,
        "identity": "you",
        "spec": "0 * * * * UTC",
    }
    return Run(tick=tick, state=state, **(given | more))


def why(plan: Plan, *runs: Run, at: int, asked: int | None = None) -> Any:
    """Return why it is not run, or what is."""
    answer = decide(plan, Seen(at, runs), at if asked is None else asked)
    if isinstance(answer, Passed):
        return answer.why
    return type(answer), answer.turn.tick


# -- deciding ------------------------------------------------------------------------------


def test_what_was_never_run_is_due() -> None:
    assert why(HOURLY, at=T0 + 5 * M) == (Due, T0)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.OK, Why.DONE),
        (State.FAILED, Why.DONE),
        (State.LOST, Why.DONE),
        (State.RUNNING, Why.RUNNING),
    ],
)
def test_a_tick_that_was_begun_is_spent(state: State, expected: Why) -> None:
    assert why(HOURLY, a_run(T0, state), at=T0 + 5 * M) is expected


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([a_run(T0, State.OK)], Why.DONE),
        ([a_run(T0, State.FAILED)], Due),
        ([a_run(T0, State.LOST)], Due),
        ([a_run(T0, State.RUNNING)], Why.RUNNING),
        ([a_run(T0, State.FAILED, attempt=2)], Due),
        ([a_run(T0, State.FAILED, attempt=3)], Why.GIVEN_UP),
        ([a_run(T0, State.OK, attempt=2), a_run(T0, State.FAILED)], Why.DONE),
        ([a_run(T0 - H, State.FAILED, attempt=3)], Due),
    ],
)
def test_until_it_succeeds_so_often_at_most(runs: list[Run], expected: Any) -> None:
    found = why(replace(HOURLY, attempts=3), *runs, at=T0 + 5 * M)
    assert expected in (found, found[0])


def test_attempts_are_counted() -> None:
    plan = replace(HOURLY, attempts=3)
    answer = decide(plan, Seen(T0 + M, [a_run(T0, State.FAILED, attempt=2)]), T0 + M)
    assert isinstance(answer, Due) and answer.attempt == 3


def test_an_earlier_tick_that_is_run_is_in_the_way() -> None:
    running = a_run(T0 - H, State.RUNNING)
    assert why(HOURLY, running, at=T0 + M) == (Busy, T0)
    lost = a_run(T0 - H, State.LOST)
    assert why(HOURLY, lost, at=T0 + M) == (Due, T0)


def test_who_asks_for_a_tick_that_is_over_gets_the_present_one() -> None:
    """It waited for so long that the next one's turn has come."""
    assert why(HOURLY, at=T0 + 2 * H + M, asked=T0 + M) == (Due, T0 + 2 * H)
    late = T0 + H - 31_000
    assert why(HOURLY, at=late, asked=T0 + M) == (Due, T0)


def test_another_schedule_does_not_go_back() -> None:
    """The last run was for a later tick than the new schedule's."""
    last = a_run(T0 + 17 * M)
    assert why(HOURLY, last, at=T0 + 20 * M) is Why.DONE
    assert why(HOURLY, last, at=T0 + H) == (Due, T0 + H)


# The clock of the server was wrong, and is right again.


def test_a_tick_of_the_future_does_not_stop_those_before_it() -> None:
    wrong = a_run(T0 + 24 * H)
    right = a_run(T0 - H)
    assert why(HOURLY, wrong, right, at=T0 + M) == (Due, T0)
    again = a_run(T0)
    assert why(HOURLY, again, wrong, right, at=T0 + 2 * M) is Why.DONE
    assert why(HOURLY, again, wrong, right, at=T0 + 24 * H) is Why.DONE, "it was run"
    assert why(HOURLY, again, wrong, right, at=T0 + 25 * H) == (Due, T0 + 25 * H)


def test_ticks_that_come_by_again_were_run() -> None:
    """The clock was right, and was set back by three hours."""
    runs = [a_run(T0 - n * H) for n in range(4)]
    for back in (1, 2, 3):
        assert why(HOURLY, *runs, at=T0 - back * H + M) is Why.DONE


def test_set_back_farther_than_is_remembered() -> None:
    runs = [a_run(T0 - n * H) for n in range(KEPT)]
    assert why(HOURLY, *runs, at=T0 - 1000 * H) is Why.CLOCK
    assert why(HOURLY, *runs[:9], at=T0 - 1000 * H) == (Due, T0 - 1000 * H)


def test_a_span_counts_anew_when_its_last_tick_is_in_the_future() -> None:
    plan = Plan(Every(3600))
    wrong = a_run(T0 + 24 * H)
    assert why(plan, wrong, at=T0 + 7) == (Due, T0)
    assert why(plan, a_run(T0), wrong, at=T0 + 9) is Why.DONE


# -- asking --------------------------------------------------------------------------------

CRON = cron("ns", "jobs", 2.0)


def line(run: Run) -> bytes:
    """A run as the server keeps it."""
    parts = (run.rid, run.tick, run.attempt, run.since, run.ended or "")
    more = ("" if run.code is None else run.code, run.token, run.identity, run.spec)
    return "\n".join(map(str, (*parts, run.state.value, *more))).encode()


def looks(at: int, *runs: Run, holder: str = "") -> Line:
    return "cron_look", [str(at).encode(), holder.encode(), *map(line, runs)]


class Lock:
    """What takes and gives back the lock, and how long it was waited for."""

    def __init__(self, stage: Stage, *given: LockLease | BaseException | None) -> None:
        self.given = list(given)
        self.waits: list[float] = []
        self.released: list[LockLease] = []

    def acquire(self, wait: float) -> Op[LockLease | None]:
        self.waits.append(wait)
        answer = self.given.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer
        yield  # makes it a generator

    def release(self, lease: LockLease) -> Op[None]:
        self.released.append(lease)
        return
        yield  # makes it a generator


def started(stage: Stage, lock: Lock, lines: list[Line], plan: Plan = HOURLY) -> Any:
    op = CRON.start(plan, "me", lock.acquire, lock.release, patience=31.0)
    return stage.play(op, lines)


def test_a_tick_is_looked_for_taken_under_the_lock_and_written_down() -> None:
    stage = Stage()
    lease = a_lease(stage)
    lock = Lock(stage, lease)
    last = a_run(T0 - H, spec="5 * * * * UTC")
    begun = started(
        stage,
        lock,
        [
            looks(T0 + 5, last),
            looks(T0 + 9, last, holder=RID),
            ("cron_take", [b"taken", b"1"]),
        ],
    )
    assert begun == Begun(lease, T0, 1, "5 * * * * UTC")
    assert lock.waits == [GLANCE]
    assert lock.released == []
    assert stage.calls()[-1].args[:5] == (RID, T0, 1, "me", "0 * * * * UTC")


def test_who_is_not_needed_asks_once() -> None:
    stage = Stage()
    passed = started(stage, Lock(stage), [looks(T0 + 5, a_run(T0))])
    assert (passed.why, passed.run.identity) == (Why.DONE, "you")


def test_somebody_was_quicker() -> None:
    """Between the look and the lock another one ran the tick, and ended."""
    stage = Stage()
    lease = a_lease(stage)
    lock = Lock(stage, lease)
    lines = [looks(T0 + 5), looks(T0 + 9000, a_run(T0), holder=RID)]
    assert started(stage, lock, lines).why is Why.DONE
    assert lock.released == [lease]


def test_who_has_the_lock_and_has_written_nothing_is_looked_at() -> None:
    """It may be about to begin; or it has died, and then the tick is ours."""
    stage = Stage()
    lock = Lock(stage, None, LockTimeout("jobs", 1), None)
    running = a_run(T0, State.RUNNING)
    lines = [
        looks(T0 + 5, holder="x"),
        looks(T0 + 1005, holder="x"),
        looks(T0 + 2005, holder="x"),
        looks(T0 + 3005, running, holder=running.rid),
    ]
    assert started(stage, lock, lines).why is Why.RUNNING
    assert lock.waits == [GLANCE] * 3


def test_a_lock_that_is_held_for_something_else_is_an_overlap() -> None:
    stage = Stage()
    lock = Lock(stage, None)
    lines = [looks(T0 + 5, holder="x"), looks(T0 + 5 + 31_000, holder="x")]
    passed = started(stage, lock, lines)
    assert (passed.why, passed.run) == (Why.OVERLAP, None)


def test_an_earlier_run_is_let_be() -> None:
    stage = Stage()
    running = a_run(T0 - H, State.RUNNING)
    lines = [looks(T0 + 5, running, holder=running.rid)]
    passed = started(stage, Lock(stage), lines)
    assert (passed.why, passed.run) == (Why.OVERLAP, running)


def test_an_earlier_run_is_waited_for() -> None:
    stage = Stage()
    lease = a_lease(stage)
    lock = Lock(stage, None, lease)
    running = a_run(T0 - H, State.RUNNING)
    lines: list[Line] = [
        looks(T0 + 5, running, holder=running.rid),
        looks(T0 + 10_005, running, holder=running.rid),
        looks(T0 + 12_000, a_run(T0 - H), holder=RID),
        ("cron_take", [b"taken", b"1"]),
    ]
    plan = replace(HOURLY, overlap=Overlap.WAIT)
    assert started(stage, lock, lines, plan).tick == T0
    assert lock.waits == [LONG_GLANCE] * 2


def test_it_is_waited_no_longer_than_the_tick_is_due() -> None:
    stage = Stage()
    lock = Lock(stage, None)
    running = a_run(T0 - H, State.RUNNING)
    lines = [
        looks(T0 + H - 32_000, running, holder=running.rid),
        looks(T0 + H - 30_000, running, holder=running.rid),
    ]
    plan = replace(HOURLY, overlap=Overlap.WAIT)
    assert started(stage, lock, lines, plan).why is Why.SUPERSEDED
    assert lock.waits == [2.0]


def test_an_earlier_run_is_asked_to_go_once() -> None:
    stage = Stage()
    lease = a_lease(stage)
    lock = Lock(stage, None, lease)
    running = a_run(T0 - H, State.RUNNING)
    held = [b"held", 0, running.rid.encode(), 1000, b"7", b"1", b"you", b"{}"]
    lines: list[Line] = [
        looks(T0 + 5, running, holder=running.rid),
        ("lock_info", held),
        ("lock_revoke", [b"asked"]),
        looks(T0 + 10_005, running, holder=running.rid),
        looks(T0 + 12_000, running, holder=RID),  # it did not come to write its end
        ("cron_take", [b"taken", b"1"]),
    ]
    plan = replace(HOURLY, overlap=Overlap.REPLACE)
    assert started(stage, lock, lines, plan).tick == T0


def test_a_splay_is_slept_once_and_only_if_there_is_something_to_do() -> None:
    stage = Stage()
    lock = Lock(stage, a_lease(stage))
    plan = replace(HOURLY, splay=40.0)
    lines: list[Line] = [
        looks(T0 + 5),
        (Rest(140.0), None),
        looks(T0 + 40_005),
        looks(T0 + 40_009, holder=RID),
        ("cron_take", [b"taken", b"1"]),
    ]
    assert started(stage, lock, lines, plan).tick == T0
    lines = [looks(T0 + 5, a_run(T0))]
    assert started(Stage(), lock, lines, plan).why is Why.DONE


def test_an_outage_is_ridden_out() -> None:
    stage = Stage()
    lock = Lock(stage, no_answer(), a_lease(stage))
    lines: list[Line] = [
        ("cron_look", Took(2.0, no_answer())),
        (Rest, None),
        looks(T0 + 5),
        looks(T0 + 3000),  # and the lock could not be asked for
        looks(T0 + 3005, holder=RID),
        ("cron_take", Took(2.0, no_answer())),
        (Rest, None),
        ("cron_take", [b"taken", b"1"]),
    ]
    assert started(stage, lock, lines).tick == T0


def test_an_outage_of_the_lock_alone_is_told_after_a_while() -> None:
    stage = Stage()
    lock = Lock(stage, no_answer(), no_answer())
    plan = replace(HOURLY, overlap=Overlap.WAIT)
    lines = [looks(T0 + 5), looks(T0 + 5 + 31_000)]
    with pytest.raises(Unreachable):
        started(stage, lock, lines, plan)


def test_a_run_that_could_not_be_written_down_is_not_begun() -> None:
    """It may stand there, and is lost then; but the lock is given back."""
    stage = Stage()
    lease = a_lease(stage)
    lock = Lock(stage, lease)
    op = CRON.start(HOURLY, "me", lock.acquire, lock.release, patience=31.0)

    def answer(request: Any) -> Any:
        if isinstance(request, Call) and request.script == "cron_take":
            return Took(2.0, no_answer())
        return looks(T0 + 5, holder=RID)[1] if isinstance(request, Call) else None

    with pytest.raises(Unreachable):
        stage.improvise(op, answer)
    assert lock.released == [lease]
    assert stage.now <= 100 + lease.ttl / 2 + 2.1


# -- what is kept --------------------------------------------------------------------------


def test_a_run_that_never_ended_is_lost_when_nobody_has_its_lock() -> None:
    running = a_run(T0, State.RUNNING)
    for holder, state in (
        (running.rid, State.RUNNING),
        ("", State.LOST),
        ("x", State.LOST),
    ):
        seen = Stage().play(CRON.look(), [looks(T0 + 5, running, holder=holder)])
        assert seen.runs[0].state is state
    older = Stage().play(
        CRON.look(), [looks(T0 + 5, a_run(T0), running, holder=running.rid)]
    )
    assert older.runs[1].state is State.LOST


def test_runs_are_read_as_they_are_written() -> None:
    runs = [a_run(T0, State.FAILED), a_run(T0 - H, State.OK, attempt=2)]
    seen = Stage().play(CRON.look(), [looks(T0 + 5, *runs)])
    assert list(seen.runs) == runs
    assert seen.now == T0 + 5
    assert runs[0].lasted == 8.5


@pytest.mark.parametrize("foreign", [b"x", b"\n" * 9, b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj"])
def test_what_others_wrote_there_is_a_conflict(foreign: bytes) -> None:
    with pytest.raises(KeyConflict, match="'jobs' is not ours"):
        Stage().play(CRON.look(), [("cron_look", [b"1", b"", foreign])])


def test_all_names_are_found_by_the_index() -> None:
    buckets: list[list[bytes]] = [[] for _ in range(256)]
    buckets[3] = [b"lock:cron:b", b"cron:b"]
    buckets[9] = [b"cron:a:b"]
    answers = [looks(T0, a_run(T0))[1], looks(T0)[1]]
    found = Stage().play(listing("ns", 2.0), [(Pipeline, buckets), (Pipeline, answers)])
    assert [(name, len(seen.runs)) for name, seen in found] == [("a:b", 1), ("b", 0)]
    empty: list[list[bytes]] = [[] for _ in range(256)]
    assert Stage().play(listing("ns", 2.0), [(Pipeline, empty)]) == []


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 513, "x" * 510])
def test_what_is_no_name_is_told(name: str) -> None:
    with pytest.raises(ValueError, match=r"allowed are 1 to|control"):
        cron("ns", name, 2.0)
