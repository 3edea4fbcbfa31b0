"""The simulated network and server: what may go wrong does, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from coordkit._core.ops import Call, Op, Pipeline, Reply, Request
from coordkit.errors import KeyConflict, Refused, Unreachable
from sim.store import ScriptBug
from sim.tiny import (
    SOURCES,
    TIMEOUT,
    TTL,
    Holdings,
    contend,
    give,
    take,
    world,
)
from sim.world import Client, Faults, Scenario, World


def ask(request: Request) -> Op[Reply]:
    """Make one request and return the reply."""
    return (yield request)


def executed(on: World) -> int:
    """How often the lock was taken, as the server counts."""
    return int(on.server.store.do("GET", "count") or 0)


def test_a_call_runs_the_script_and_tells_when_by_the_clients_clock() -> None:
    here = world()
    client = here.client("a")
    before = client.clock()
    task = client.spawn(ask(take("me")))
    assert here.finish(limit=1)
    assert task.error is None and task.result is not None
    value, asked_at, heard_at = task.result
    assert value == [1, 1]
    assert before == asked_at < heard_at == client.clock()
    assert (here.server.store.do("PTTL", "lock") or 0) > 0


def test_a_lost_request_is_never_executed_and_ends_in_time() -> None:
    here = world(Faults(request_lost=1, reset=0))
    client = here.client("a")
    began = client.clock()
    task = client.spawn(ask(take("me")))
    here.run(10)
    assert isinstance(task.error, Unreachable) and task.error.sent
    assert here.counts == {"request lost": 1, "timeouts": 1}
    assert executed(here) == 0
    assert client.clock() > began + TIMEOUT


def test_the_timeout_runs_on_the_clients_clock() -> None:
    here = world(Faults(request_lost=1, reset=0, drift=0.2))
    client = here.client("a")
    ends: list[float] = []

    def story() -> Scenario[None]:
        try:
            yield take("me")
        except Unreachable:
            ends.append(client.clock())

    began = client.clock()
    client.spawn(story())
    assert here.finish(limit=1)
    assert ends[0] - began == pytest.approx(TIMEOUT)
    assert abs(here.now - TIMEOUT) > 0.001


def test_a_lost_reply_leaves_the_deed_done() -> None:
    here = world(Faults(reply_lost=1, reset=0))
    task = here.client("a").spawn(ask(take("me")))
    here.run(10)
    assert isinstance(task.error, Unreachable)
    assert executed(here) == 1


def test_a_closed_connection_is_heard_of_before_the_timeout() -> None:
    here = world(Faults(reply_lost=1, reset=1))
    task = here.client("a").spawn(ask(take("me")))
    assert here.finish(limit=TIMEOUT / 2)
    assert isinstance(task.error, Unreachable)


@pytest.mark.parametrize("reset", [0, 1])
def test_a_ghost_is_executed_after_its_caller_gave_up(reset: float) -> None:
    here = world(Faults(ghost=1, reset=reset))
    task = here.client("a").spawn(ask(take("me")))
    assert here.finish(limit=1)
    assert isinstance(task.error, Unreachable)
    assert executed(here) == 0
    here.run(10)
    assert executed(here) == 1
    assert here.counts["ghost executed"] == 1
    assert here.counts["answer too late"] == 1


def test_a_duplicate_is_executed_twice_and_answered_once() -> None:
    here = world(Faults(duplicate=1))
    task = here.client("a").spawn(ask(take("me")))
    here.run(10)
    assert task.result is not None and task.result.value == [1, 1]
    assert executed(here) == 2
    assert here.counts["duplicate executed"] == 1


def test_a_slow_answer_is_dropped_when_it_comes() -> None:
    here = world(Faults(slow=1, slow_latency=50))
    task = here.client("a").spawn(ask(take("me")))
    here.run(1000)
    assert isinstance(task.error, Unreachable)
    assert executed(here) == 1
    assert here.counts["answer too late"] == 1


def test_a_pipeline_holds_a_refusal_in_its_place() -> None:
    here = world()
    here.server.store.do("HSET", "taken", "by", "somebody")
    client = here.client("a")
    both = Pipeline((take("me", "taken"), take("me")), TIMEOUT)
    together, alone = client.spawn(ask(both)), client.spawn(ask(take("me", "taken")))
    assert here.finish(limit=1)
    assert together.result is not None
    assert isinstance(together.result.value[0], KeyConflict)
    assert together.result.value[1] == [1, 1]
    assert isinstance(alone.error, KeyConflict)


def test_other_refusals_are_what_the_drivers_make_of_them() -> None:
    sources = {
        "no": "return redis.error_reply('OOM command not allowed')",
        "later": "return redis.error_reply('LOADING the dataset')",
    }
    here = World(1, sources=sources)
    client = here.client("a")
    no = client.spawn(ask(Call("no", (), (), 1.0)))
    later = client.spawn(ask(Call("later", (), (), 1.0)))
    assert here.finish(limit=1)
    assert isinstance(no.error, Refused)
    assert isinstance(later.error, Unreachable) and not later.error.sent


def test_a_pipeline_may_be_cut_in_the_middle() -> None:
    counts: Counter[int] = Counter()
    for seed in range(40):
        here = world(Faults(cut=1), seed=seed)
        calls = (take("a", "1"), take("b", "2"), take("c", "3"))
        task = here.client("a").spawn(ask(Pipeline(calls, TIMEOUT)))
        here.run(10)
        assert isinstance(task.error, Unreachable)
        counts[executed(here)] += 1
    assert sorted(counts) == [0, 1, 2]


def test_who_is_cut_off_asks_in_vain_and_hears_nothing() -> None:
    here = world()
    a, b = here.client("a"), here.client("b")
    a.partition(1)
    first = a.spawn(ask(take("a", timeout=0.5)))
    second = b.spawn(ask(take("b", timeout=0.5)))
    here.run(0.9)
    assert isinstance(first.error, Unreachable)
    assert second.result is not None
    assert executed(here) == 1
    third = a.spawn(ask(take("a", timeout=0.5)))
    here.run(1.1)
    fourth = a.spawn(ask(take("a", timeout=0.5)))
    here.run(2)
    assert isinstance(third.error, Unreachable)
    assert fourth.result is not None


def test_a_paused_server_runs_afterwards_what_came_meanwhile() -> None:
    here = world()
    here.server.pause(5)
    first = here.client("a").spawn(ask(take("a")))
    here.run(1)
    second = here.client("b").spawn(ask(take("b", timeout=9)))
    here.run(4.9)
    assert isinstance(first.error, Unreachable) and not second.done
    assert executed(here) == 0
    here.run(6)
    assert second.result is not None
    assert second.result.value == [0, pytest.approx(TTL * 1000, abs=20)]
    assert here.counts["ghost executed"] == 1


def test_a_restart_loses_data_connections_and_what_was_queued() -> None:
    here = world()
    here.client("a").spawn(ask(take("a")))
    assert here.finish(limit=1)
    here.server.pause(5)
    queued = here.client("b").spawn(ask(take("b", timeout=9)))
    here.run(2)
    here.server.restart(down=1)
    refused = here.client("c").spawn(ask(take("c")))
    assert here.finish(limit=2.5)
    assert isinstance(queued.error, Unreachable) and queued.error.sent
    assert isinstance(refused.error, Unreachable) and not refused.error.sent
    assert here.server.store.keys() == []
    assert here.losses == [2]
    here.run(3.1)
    again = here.client("d").spawn(ask(take("d")))
    assert here.finish(limit=4)
    assert again.result is not None and again.result.value == [1, 1]


def test_what_is_on_its_way_dies_with_the_server() -> None:
    here = world(Faults(slow=1, slow_latency=3))
    task = here.client("a").spawn(ask(take("a", timeout=99)))
    here.at(0.001, here.server.restart)
    assert here.finish(limit=99)
    assert isinstance(task.error, Unreachable)
    assert executed(here) == 0


def test_flush_and_clock_steps_change_the_data() -> None:
    here = world()
    here.client("a").spawn(ask(take("a")))
    assert here.finish(limit=1)
    before = here.server.wall()
    here.server.step_clock(TTL + 0.01)
    assert here.server.wall() == pytest.approx(before + TTL + 0.01)
    assert here.server.store.keys() == [b"count"]
    here.server.flush()
    assert here.server.store.keys() == []
    assert here.losses == [here.now]


def test_what_strikes_from_time_to_time_does_until_it_is_calm() -> None:
    rates = dict.fromkeys(
        ["server_pauses", "restarts", "flushes", "clock_steps", "client_pauses"], 2.0
    )
    here = world(Faults(disconnects=2, crashes=0.5, **rates))
    for name in "abc":
        here.client(name)
    here.run(20)
    kinds = ["server pause", "restart", "flush", "clock step", "client pause", "crash"]
    assert all(here.counts[kind] for kind in kinds), here.counts
    here.calm()
    before = here.counts.copy()
    here.run(200)
    assert here.counts == before


def episode(seed: int, **options: Any) -> tuple[World, Holdings]:
    here = World(seed, Faults.rough(), SOURCES, **options)
    holdings = Holdings()
    for name in "abcde":
        client = here.client(name)
        client.spawn(contend(client, holdings, 4))
    assert here.finish(limit=1000)
    return here, holdings


def test_the_same_seed_is_the_same_story() -> None:
    first, again, other = (episode(seed, trace=True)[0] for seed in (7, 7, 8))
    assert first.trace is not None and len(first.trace) > 100
    assert first.trace == again.trace
    assert first.digest() == again.digest() != other.digest()


def test_the_trace_changes_nothing() -> None:
    traced, plain = episode(7, trace=True)[0], episode(7)[0]
    assert (traced.counts, traced.now) == (plain.counts, plain.now)


def test_a_bad_day_has_every_fault_that_it_promises() -> None:
    total: Counter[str] = Counter()
    for seed in range(20):
        total += episode(seed)[0].counts
    promised = [
        *("request lost", "reply lost", "ghost", "ghost executed", "answer too late"),
        *("timeouts", "server pause", "client pause"),
    ]
    assert all(total[kind] for kind in promised), total


def _overlaps(*, from_heard: bool) -> int:
    """How many of some rough episodes had two holders at once."""
    found = 0
    for seed in range(60):
        here = World(seed, Faults(slow=0.3, slow_latency=0.1), SOURCES)
        holdings = Holdings()
        for name in "abc":
            client = here.client(name)
            client.spawn(contend(client, holdings, 5, from_heard=from_heard))
        assert here.finish(limit=1000)
        found += holdings.overlap()
    return found


def test_a_wrong_protocol_is_caught_and_a_right_one_is_not() -> None:
    assert _overlaps(from_heard=False) == 0
    assert _overlaps(from_heard=True) > 0


def test_a_failed_assertion_comes_out_with_its_seed() -> None:
    def story(client: Client) -> Scenario[None]:
        yield 0.25
        assert client is None

    here = world(seed=42)
    here.client("a").spawn(story(here.client("a")), name="doubter")
    with pytest.raises(AssertionError) as caught:
        here.finish(limit=1)
    notes = " ".join(caught.value.__notes__)
    assert "doubter" in notes and "seed 42" in notes


def test_a_wrong_script_comes_out() -> None:
    here = World(1, sources={"bad": "return KEYZ"})
    here.client("a").spawn(ask(Call("bad", (), (), 1.0)))
    with pytest.raises(ScriptBug, match="KEYZ"):
        here.finish(limit=1)


def test_finish_says_when_something_never_ends() -> None:
    here = world()
    client = here.client("a")

    def forever() -> Scenario[None]:
        while True:
            yield 1.0

    client.spawn(forever(), daemon=True)
    assert here.finish(limit=10)
    client.spawn(forever())
    assert not here.finish(limit=10)
    assert here.now <= 10


def test_give_wakes_nobody_who_does_not_listen() -> None:
    here = world()
    client = here.client("a")
    client.spawn(ask(take("me")))
    assert here.finish(limit=1)
    task = client.spawn(ask(give("me", client.rid())))
    assert here.finish(limit=2)
    assert task.result is not None and task.result.value == 1
    assert here.counts["published"] == 1 and not here.counts["woken"]
