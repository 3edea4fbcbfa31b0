"""Each checker accepts a right history and rejects the wrong one it is made for."""

from __future__ import annotations

import itertools
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import history
from support.history import Event, Recorder
from support.polling import until
from support.processes import script


class Story:
    """A history written down by hand, of one name."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(
        self,
        at: float,
        what: str,
        who: str,
        token: int | None = None,
        deadline: float | None = None,
        *,
        seq: int | None = None,
        **more: object,
    ) -> Story:
        event = Event(at, what, who, "n", "h", token, deadline, seq, more)
        self.events.append(event)
        return self

    def granted(self, asked: float, at: float, who: str, token: int) -> Story:
        """Asked and granted, for ten seconds from the question."""
        self.add(asked, "asked", who)
        return self.add(at, "granted", who, token, asked + 10)


# -- no_overlap --


def test_holders_one_after_the_other_do_not_overlap() -> None:
    story = Story().granted(0, 1, "a", 1).add(5, "released", "a", 1)
    story.granted(2, 5, "b", 2)
    history.no_overlap(story.events)


def test_two_holders_at_once_are_an_overlap() -> None:
    story = Story().granted(0, 1, "a", 1).granted(2, 3, "b", 2)
    story.add(5, "released", "a", 1)
    with pytest.raises(AssertionError, match=r"two holders at once, for 2000\.000 ms"):
        history.no_overlap(story.events)


def test_an_overlap_is_shown_among_its_neighbours() -> None:
    story = Story().granted(0, 1, "a", 1).granted(2, 3, "b", 2)
    with pytest.raises(AssertionError) as caught:
        history.no_overlap(story.events)
    marked = [line for line in str(caught.value).splitlines() if line[:2] == ">>"]
    assert [("a/h" in line, "b/h" in line) for line in marked] == [
        (True, False),
        (False, True),
    ]
    assert "asked" in str(caught.value)


def test_the_belief_of_a_killed_holder_lasts_to_its_deadline() -> None:
    dead = Story().granted(0, 1, "a", 1)  # never released
    after = Story()
    after.events = [*dead.events]
    history.no_overlap(after.granted(2, 10, "b", 2).events)
    before = Story()
    before.events = [*dead.events]
    with pytest.raises(AssertionError, match="two holders"):
        history.no_overlap(before.granted(2, 9.999, "b", 2).events)


def test_a_belief_starts_with_the_answer_and_not_with_the_question() -> None:
    story = Story().granted(0, 4, "b", 2).granted(0.5, 1, "a", 1)
    history.no_overlap(story.add(3, "released", "a", 1).events)


def test_a_renewal_prolongs_the_belief() -> None:
    story = Story().granted(0, 1, "a", 1).add(9, "renewed", "a", 1, 19)
    with pytest.raises(AssertionError, match="two holders"):
        history.no_overlap(story.granted(11, 12, "b", 2).events)


def test_a_holder_does_not_overlap_with_itself() -> None:
    story = Story().granted(0, 1, "a", 1).add(4, "renewed", "a", 1, 14)
    history.no_overlap(story.events)


def test_a_lease_that_came_back_after_its_end_is_an_overlap() -> None:
    story = Story().granted(0, 1, "a", 1).granted(10, 11, "b", 2)
    story.add(12, "renewed", "a", 1, 22)
    with pytest.raises(AssertionError, match="two holders"):
        history.no_overlap(story.events)


def test_a_told_loss_ends_the_belief() -> None:
    story = Story().granted(0, 1, "a", 1).add(2, "lost", "a", 1)
    history.no_overlap(story.granted(2, 3, "b", 2).events)


def test_an_answer_after_the_deadline_is_no_belief() -> None:
    story = Story().granted(0, 11, "a", 1).granted(9, 10.5, "b", 2)
    history.no_overlap(story.events)


def test_names_do_not_disturb_each_other() -> None:
    events = [
        Event(1, "granted", "a", "one", "h", 1, 9),
        Event(2, "granted", "b", "two", "h", 2, 9),
    ]
    history.no_overlap(events)


def test_an_overlap_is_found_as_by_comparing_all_pairs() -> None:
    seeded = random.Random(7)
    verdicts = set[bool]()
    for _ in range(300):
        claims = [
            (s := seeded.random() * 20, s + seeded.random() * 2) for _ in range(6)
        ]
        events = [
            Event(start, "granted", f"p{i}", "n", "h", i, end)
            for i, (start, end) in enumerate(claims)
        ]
        expected = any(
            max(a[0], b[0]) < min(a[1], b[1])
            for a, b in itertools.combinations(claims, 2)
        )
        assert _fails(history.no_overlap, events) == expected
        verdicts.add(expected)
    assert verdicts == {True, False}


# -- tokens_rise --


def test_rising_tokens_rise() -> None:
    story = Story().granted(0, 1, "a", 1).granted(2, 3, "b", 5).granted(4, 5, "a", 6)
    history.tokens_rise(story.events)


def test_a_token_twice_is_wrong() -> None:
    story = Story().granted(0, 1, "a", 1).granted(2, 3, "b", 1)
    with pytest.raises(AssertionError, match="the same token twice"):
        history.tokens_rise(story.events)


def test_a_smaller_token_later_is_wrong() -> None:
    story = Story().granted(0, 1, "a", 8).granted(2, 3, "b", 9).granted(4, 5, "c", 7)
    with pytest.raises(AssertionError, match="a later grant has a smaller token") as e:
        history.tokens_rise(story.events)
    assert "token=9" in str(e.value)


def test_a_smaller_token_is_right_when_the_questions_overlapped() -> None:
    story = Story().granted(0, 5, "slow", 1).granted(1, 2, "quick", 2)
    history.tokens_rise(story.events)


def test_a_grant_without_a_question_is_no_history() -> None:
    story = Story().granted(0, 1, "a", 1).add(2, "granted", "b", 2, 9)
    with pytest.raises(AssertionError, match="granted without being asked"):
        history.tokens_rise(story.events)


# -- fenced_writes_in_order --


def test_writes_in_the_order_of_their_tokens_are_right() -> None:
    story = Story().add(1, "wrote", "a", 1, seq=1).add(2, "wrote", "a", 1, seq=2)
    story.add(3, "wrote", "b", 2, seq=3).add(4, "refused", "a", 1)
    history.fenced_writes_in_order(story.events)


def test_a_stale_write_that_was_taken_is_wrong() -> None:
    story = Story().add(1, "wrote", "b", 2, seq=1).add(2, "wrote", "a", 1, seq=2)
    story.add(4, "refused", "a", 1)
    with pytest.raises(AssertionError, match="a stale write was taken"):
        history.fenced_writes_in_order(story.events)


def test_the_order_of_writes_is_that_of_the_resource_not_of_the_clock() -> None:
    story = Story().add(9, "wrote", "a", 1, seq=1).add(2, "wrote", "b", 2, seq=2)
    history.fenced_writes_in_order(story.events, some_refused=False)


def test_one_number_for_two_writes_is_wrong() -> None:
    story = Story().add(1, "wrote", "a", 1, seq=1).add(2, "wrote", "b", 2, seq=1)
    with pytest.raises(AssertionError, match="one number for two writes"):
        history.fenced_writes_in_order(story.events, some_refused=False)


def test_writes_of_which_none_was_refused_prove_nothing() -> None:
    story = Story().add(1, "wrote", "a", 1, seq=1)
    with pytest.raises(AssertionError, match="nothing was refused"):
        history.fenced_writes_in_order(story.events)
    history.fenced_writes_in_order(story.events, some_refused=False)


# -- progress --


def test_waiters_that_are_served_in_turn_progress() -> None:
    story = Story().add(0, "asked", "late")
    for turn in range(1, 9):
        story.granted(0, turn, f"p{turn}", turn)
    story.add(8.5, "granted", "late", 99, 20)
    history.progress(story.events, 1.5)


def test_a_wait_in_which_nobody_is_served_is_wrong() -> None:
    story = Story().granted(0, 1, "a", 1).granted(0, 5, "b", 2)
    with pytest.raises(AssertionError, match=r"nothing was granted for 4\.000 s"):
        history.progress(story.events, 3)
    history.progress(story.events, 4)


@pytest.mark.parametrize("end", ["gave_up", "other"])
def test_a_waiter_that_never_gets_it_is_wrong(end: str) -> None:
    story = Story().add(0, "asked", "a").add(5, end, "a")
    with pytest.raises(AssertionError, match="nothing was granted"):
        history.progress(story.events, 3)


def test_a_killed_waiter_waits_no_more() -> None:
    story = Story().add(0, "asked", "a").add(1, "killed", "test", victim="a")
    history.progress(story.add(9, "other", "b").events, 3)


def test_a_starved_waiter_is_seen_by_the_longest_wait() -> None:
    story = Story().add(0, "asked", "starved")
    for turn in range(1, 9):
        story.granted(turn - 0.5, turn, "hot", turn)
    history.progress(story.events, 2)
    with pytest.raises(AssertionError, match=r"somebody waited for 8\.000 s"):
        history.progress(story.events, 2, longest_wait=5)


def test_a_question_that_was_asked_again_does_not_hide_the_first_wait() -> None:
    story = Story().add(0, "asked", "a").granted(5, 6, "a", 1)
    with pytest.raises(AssertionError, match=r"nothing was granted for 5\.000 s"):
        history.progress(story.events, 3)


@pytest.mark.parametrize(
    "check",
    [
        history.no_overlap,
        history.tokens_rise,
        history.fenced_writes_in_order,
        lambda events: history.progress(events, 1),
    ],
)
def test_an_empty_history_proves_nothing(
    check: Callable[[list[Event]], None],
) -> None:
    with pytest.raises(AssertionError, match="proves nothing"):
        check([])


# -- recording --


def test_what_is_recorded_is_read_and_counted(tmp_path: Path) -> None:
    before = history.now()
    token = 2**53 - 1
    with Recorder(tmp_path / "a", "p1") as one, Recorder(tmp_path / "b", "p2") as two:
        one.asked("n", "h")
        one.granted("n", "h", token, before + 10, zone="ü\n")
        two.asked("n", "h")
        one.renewed("n", "h", token, before + 20)
        one.wrote("bucket", token, 1)
        two.refused("bucket", 0)
        one.lost("n", "h", token)
        one.released("n", "h", token)
        two.gave_up("n", "h")
        two.killed("p1")
    events = history.read([tmp_path / "b", tmp_path / "a"])
    assert [event.what for event in events] == [
        *("asked", "granted", "asked", "renewed", "wrote"),
        *("refused", "lost", "released", "gave_up", "killed"),
    ]
    grant, refusal = events[1], events[5]
    assert (grant.token, grant.deadline) == (token, before + 10)
    assert (grant.process, grant.name, grant.holder) == ("p1", "n", "h")
    assert grant.more == {"zone": "ü\n"}
    assert refusal.token == 0
    assert before <= events[0].at <= events[-1].at <= history.now()
    assert history.summary(events)["asked"] == 2


def test_a_line_that_was_never_finished_is_not_read(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a", "p") as recorder:
        recorder.asked("n", "h")
    with (tmp_path / "a").open("ab") as file:
        file.write(b'{"at": 5, "wh')
    assert len(history.read([tmp_path / "a"])) == 1


WRITERS = """
import sys
from support.history import Recorder
recorder = Recorder(sys.argv[1], sys.argv[2])
i = 0
while True:
    i += 1
    recorder.record("tick", n=i, pad="x" * 500)
"""


def test_the_lines_of_killed_processes_are_whole_and_in_order(tmp_path: Path) -> None:
    program, file = tmp_path / "writer.py", tmp_path / "events"
    program.write_text(WRITERS)
    env = {"PYTHONPATH": str(Path(history.__file__).parent.parent)}
    one, two = (script(program, str(file), who, env=env) for who in "ab")
    with one, two:
        until(lambda: file.exists() and file.stat().st_size > 200_000)
        until(lambda: all(f'"{who}"'.encode() in file.read_bytes() for who in "ab"))
        one.sigkill()
        two.sigkill()
    assert {one.returncode, two.returncode} == {-signal.SIGKILL}
    events = history.read([file])
    for who in "ab":
        numbers = [event.more["n"] for event in events if event.process == who]
        assert numbers == list(range(1, len(numbers) + 1))
        assert numbers


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts suspends")
def test_the_clock_counts_while_the_machine_sleeps() -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(history.now() - uptime) < 5


def _fails(check: Callable[[list[Event]], None], events: list[Event]) -> bool:
    try:
        check(events)
    except AssertionError:
        return True
    return False
