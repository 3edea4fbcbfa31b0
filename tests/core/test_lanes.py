"""Lanes: what tells a retry from the next request, and how few there are."""

from __future__ import annotations

import threading

import pytest

from coordkit._core.lanes import CHOSEN_MS, REMEMBERED_MS, Lanes, chosen, lane_id

SESSION = "0123456789abcdef"


def lanes(session: str = SESSION) -> Lanes:
    made = Lanes()
    made.restart(session)
    return made


def test_a_lane_is_of_one_request_at_a_time() -> None:
    its = lanes()
    first, second = its.take(), its.take()
    assert (first.id, first.seq) == (f"{SESSION}-0", 1) == (lane_id(SESSION, 0), 1)
    assert (second.id, second.seq) == (f"{SESSION}-1", 1)


def test_each_request_of_a_lane_has_a_higher_number() -> None:
    its = lanes()
    for seq in range(1, 10):
        lane = its.take()
        assert (lane.id, lane.seq) == (f"{SESSION}-0", seq)
        its.give(lane)


def test_there_are_as_many_as_requests_at_once() -> None:
    its, seen = lanes(), set[str]()
    for _ in range(100):
        taken = [its.take() for _ in range(3)]
        seen |= {lane.id for lane in taken}
        for lane in taken:
            its.give(lane)
    assert seen == {f"{SESSION}-{n}" for n in range(3)}


def test_threads_share_none() -> None:
    its, seen = lanes(), set[tuple[str, int]]()

    def use() -> None:
        for _ in range(2000):
            lane = its.take()
            before = len(seen)
            seen.add((lane.id, lane.seq))
            assert len(seen) > before
            its.give(lane)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 * 2000


def test_in_the_child_of_a_fork_all_are_others() -> None:
    """It has the same object; what was under way is the parent's, and stays so."""
    its = lanes()
    idle, busy = its.take(), its.take()
    its.give(idle)
    its.restart("fedcba9876543210")
    its.give(busy)
    assert [its.take().id for _ in range(2)] == [
        "fedcba9876543210-0",
        "fedcba9876543210-1",
    ]


def test_requests_are_remembered_for_ten_minutes() -> None:
    assert lanes().take().kept_ms == REMEMBERED_MS == 600_000


def test_the_lane_of_a_request_whose_id_was_chosen() -> None:
    lane = chosen("orders", "message-7")
    assert (lane.seq, lane.kept_ms) == (1, CHOSEN_MS)
    again = chosen("orders", "message-7")
    assert (again.id, again.seq, again.spread) == (lane.id, 1, lane.spread)
    others = [("orders", "message-8"), ("order", "smessage-7"), ("x", "message-7")]
    assert lane.id not in {chosen(*other).id for other in others}
    assert len(lane.id) == 32
    assert "-" not in lane.id, "no session's lane"


def test_a_chosen_id_is_given_back_to_nobody() -> None:
    its = lanes()
    its.give(chosen("orders", "message-7"))
    assert its.take().id == f"{SESSION}-0"


@pytest.mark.parametrize("rid", ["", "a\nb", "x" * 513])
def test_what_cannot_be_an_id(rid: str) -> None:
    with pytest.raises(ValueError, match="rid"):
        chosen("orders", rid)
