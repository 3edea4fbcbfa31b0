"""`acquire` that waits: its naps, its last question, and a lock that is handed over."""

from __future__ import annotations

from typing import Any

import pytest

from coordkit._core.claim import Claim
from coordkit._core.lease import believed_until
from coordkit._core.lock import LockLease, acquire_call, renew
from coordkit._core.ops import Listen, Wait
from coordkit.errors import LockTimeout, Refused, Unsupported
from core.props import (
    BUSY,
    ENDS,
    RID,
    TAKEN,
    TOKEN,
    a_claim,
    held,
    no_answer,
    not_sent,
    wanting,
)
from core.script import Line, Stage, Took

HANDED = f"{TOKEN} {ENDS}"


# -- waiting -----------------------------------------------------------------------


@pytest.mark.parametrize("line", [None, no_answer(), not_sent()])
def test_listening_comes_before_queueing_and_is_not_needed_for_it(line: Any) -> None:
    stage, claim = Stage(), a_claim()
    lines: list[Line] = [
        ("lock_acquire", BUSY),
        (Listen, line),
        ("lock_acquire", BUSY),
        (Wait, ""),
        ("lock_acquire", TAKEN),
    ]
    assert stage.play(wanting(stage, claim), lines)
    assert [call.args[1] for call in stage.calls()] == [0, 3000, 3000]


@pytest.mark.parametrize("error", [Refused("no"), Unsupported("no")])
def test_listening_that_is_refused_is_told(error: Exception) -> None:
    lines: list[Line] = [("lock_acquire", BUSY), (Listen, error)]
    with pytest.raises(type(error)):
        Stage().play(wanting(Stage(), a_claim()), lines)


@pytest.mark.parametrize(
    ("hint_ms", "waiter_ttl", "timeout", "nap"),
    [
        (400, 3.0, None, 0.4),  # the hint
        (30_000, 3.0, None, 1.5),  # half the liveness of a waiter
        (30_000, 60.0, None, 30.0),
        (30_000, 3.0, 0.7, 0.7),  # the caller's limit
        (200, 3.0, 0.7, 0.2),
        (0, 3.0, None, 0.001),  # never a busy loop
    ],
)
def test_a_nap_is_bounded(
    hint_ms: int, waiter_ttl: float, timeout: float | None, nap: float
) -> None:
    stage = Stage()
    op = wanting(stage, a_claim(waiter_ttl=waiter_ttl), timeout=timeout)
    lines: list[Line] = [
        ("lock_acquire", [b"busy", hint_ms, -1, 0]),
        (Listen, None),
        ("lock_acquire", [b"busy", str(hint_ms).encode(), b"0", b"7"]),
    ]
    wait = stage.upto(op, lines)
    assert isinstance(wait, Wait)
    assert wait.timeout == pytest.approx(nap)


@pytest.mark.parametrize("wake", [None, "", "nonsense", "7 of another question"])
def test_who_waits_asks_again_woken_or_not(wake: str | None) -> None:
    stage, claim = Stage(), a_claim()
    turn: list[Line] = [(Wait, wake), ("lock_acquire", BUSY)]
    lines: list[Line] = [(Listen, None), ("lock_acquire", BUSY), *turn, *turn]
    stage.upto(wanting(stage, claim, listening=True), lines)
    assert set(stage.calls()) == {acquire_call(claim, RID, queue=True)}


def test_the_last_question_is_asked_at_the_limit() -> None:
    def until_the_limit(answer: Any, *end: Line) -> tuple[Stage, LockLease | None]:
        stage = Stage()
        lines: list[Line] = [
            (Listen, None),
            ("lock_acquire", Took(0.1, BUSY)),
            (Wait, None),
            ("lock_acquire", answer),
            *end,
        ]
        op = wanting(stage, a_claim(), timeout=1.2, listening=True)
        return stage, stage.play(op, lines)

    stage, lease = until_the_limit(TAKEN)
    assert stage.now == pytest.approx(101.2)
    assert lease is not None, "granted at the very moment of the time-out"
    with pytest.raises(LockTimeout, match=r"'jobs' was not free within 1\.2 s") as no:
        until_the_limit(BUSY, ("lock_release", [b"not ours"]))
    assert (no.value.name, no.value.timeout) == ("jobs", 1.2)
    assert isinstance(no.value, TimeoutError)


def test_who_times_out_before_it_queued_has_nothing_to_undo() -> None:
    stage = Stage()
    op = wanting(stage, a_claim(), timeout=0.1)
    with pytest.raises(LockTimeout):
        stage.play(op, [("lock_acquire", Took(0.2, BUSY))])


# -- handed over ---------------------------------------------------------------------


def handed(stage: Stage, claim: Claim, wait: Any, *then: Line) -> LockLease | None:
    """Queue with a question that takes 0.2 s, and wait."""
    lines: list[Line] = [
        (Listen, None),
        ("lock_acquire", Took(0.2, [b"busy", 30_000, 0, ENDS])),
        (Wait, wait),
    ]
    return stage.play(wanting(stage, claim, listening=True), [*lines, *then])


@pytest.mark.parametrize(
    ("given", "lasts"),
    [
        ({"ttl": 30, "waiter_ttl": 3}, 3.0),  # the liveness of its last question
        ({"ttl": 30, "waiter_ttl": 60}, 30.0),
        ({"ttl": 2, "waiter_ttl": 3}, 2.0),
        ({"ttl": 30, "waiter_ttl": 3, "max_hold": 1.5}, 1.5),
    ],
)
def test_what_is_handed_over_counts_from_before_the_last_question(
    given: dict[str, Any], lasts: float
) -> None:
    stage, claim = Stage(), a_claim(**given)
    lease = held(handed(stage, claim, Took(0.5, HANDED)))
    assert lease.token == TOKEN
    assert lease.deadline == pytest.approx(believed_until(100.0, lasts))
    assert len(stage.calls()) == 1, "no further question"


def test_the_next_renewal_makes_a_whole_lease_of_it() -> None:
    stage, claim = Stage(), a_claim(ttl=30)
    lease = held(handed(stage, claim, Took(0.5, HANDED)))
    stage.play(renew(lease), [("lock_renew", [b"kept"])])
    assert lease.deadline == believed_until(100.7, 30.0)


@pytest.mark.parametrize("wake", [f"{TOKEN} {ENDS - 1}", f"{TOKEN}", f" {ENDS}"])
def test_a_wake_that_speaks_of_another_question_hands_nothing_over(wake: str) -> None:
    stage, claim = Stage(), a_claim()
    lease = held(handed(stage, claim, wake, ("lock_acquire", TAKEN)))
    assert lease.deadline == believed_until(100.2, 30.0)


def test_a_wake_that_comes_too_late_hands_nothing_over() -> None:
    stage, claim = Stage(), a_claim(ttl=2)
    just_in_time = believed_until(100.0, 2.0) - 100.2
    again: Line = ("lock_acquire", TAKEN)
    lease = held(handed(stage, claim, Took(just_in_time + 1e-6, HANDED), again))
    assert lease.deadline > 103
    assert handed(Stage(), claim, Took(just_in_time - 1e-6, HANDED))


def test_wakes_of_bytes_and_of_numbers_are_the_same_question() -> None:
    stage, claim = Stage(), a_claim()
    busy = [b"busy", b"30000", b"0", str(ENDS).encode()]
    lines: list[Line] = [(Listen, None), ("lock_acquire", busy), (Wait, HANDED)]
    assert stage.play(wanting(stage, claim, listening=True), lines)
