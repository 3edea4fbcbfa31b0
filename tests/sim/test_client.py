"""The simulated processes: their clocks, pauses, deaths, wakes and deferred calls."""

from __future__ import annotations

import pytest

from coordkit._core.ops import Call, Defer, Listen, Reply, Wait
from coordkit.errors import Unreachable
from sim.task import Crashed
from sim.tiny import TIMEOUT, give, take, world
from sim.world import Client, Faults, Scenario, World


def test_clocks_have_their_own_offset_and_rate() -> None:
    here = world(Faults(drift=0.005))
    clients = [here.client(name) for name in "abcdefgh"]
    assert len({client.clock() for client in clients}) == 8
    before = [client.clock() for client in clients]
    here.run(1000)
    ran = [client.clock() - then for client, then in zip(clients, before, strict=True)]
    assert min(ran) < 1000 < max(ran)
    assert all(995 <= elapsed <= 1005 for elapsed in ran)
    for client in clients:
        assert client.world_time(client.clock()) == pytest.approx(here.now)


def test_sleeps_take_the_clients_seconds() -> None:
    here = world(Faults(drift=0.2))
    client = here.client("a")

    def story() -> Scenario[float]:
        yield 5
        yield 5.0
        return client.clock()

    began = client.clock()
    task = client.spawn(story())
    assert here.finish(limit=20)
    assert task.result == pytest.approx(began + 10)
    assert abs(here.now - 10) > 0.01


def test_a_client_is_who_it_was_and_its_rids_name_its_channel() -> None:
    here = world()
    client = here.client("a")
    assert here.client("a") is client and here.clients == [client]
    rids = {client.rid(), client.rid(), client.rid("s")}
    assert len(rids) == 3
    assert all(rid.startswith(client.channel) for rid in rids)
    assert len(client.channel) == 16
    assert sorted(rid[-1] for rid in rids) == ["s", "x", "x"]


def test_nothing_of_a_paused_client_runs_and_its_clock_goes_on() -> None:
    here = world()
    client = here.client("a")
    steps: list[float] = []

    def story() -> Scenario[None]:
        while True:
            yield 0.1
            steps.append(here.now)

    client.spawn(story(), daemon=True)
    here.run(1)
    clock = client.clock()
    client.pause(3)
    client.pause(1)  # the longer pause stands
    here.run(3.9)
    assert max(steps) <= 1 and client.paused
    assert client.clock() - clock == pytest.approx(2.9, rel=0.01)
    here.run(5)
    assert steps[10] == pytest.approx(4, abs=0.01)


def heard_after_a_pause(seed: int) -> float | None:
    here = world(seed=seed)
    client = here.client("a")

    def story() -> Scenario[float | None]:
        try:
            reply: Reply = yield take("me")
        except Unreachable:
            return None
        return reply.heard_at - reply.asked_at

    task = client.spawn(story())
    here.at(0.0001, client.pause, 2.0)
    assert here.finish(limit=10)
    return task.result


def test_after_a_pause_the_reply_or_the_timeout_comes_first() -> None:
    heard = [heard_after_a_pause(seed) for seed in range(30)]
    assert None in heard
    late = [took for took in heard if took is not None and took > 1]
    assert late and all(took > TIMEOUT for took in late)


def test_after_a_pause_timers_may_come_after_what_was_heard() -> None:
    orders: set[str] = set()
    for seed in range(20):
        here = world(Faults(drift=0.0), seed=seed)
        client = here.client("a")
        order: list[str] = []

        def asks(client: Client = client, order: list[str] = order) -> Scenario[None]:
            yield take("me", timeout=50.0)
            order.append("heard")

        def sleeps(order: list[str] = order) -> Scenario[None]:
            yield 1.0
            order.append("slept")

        here.server.pause(2.0)
        client.spawn(asks())
        client.spawn(sleeps())
        here.at(0.5, client.pause, 5.0)
        assert here.finish(limit=10)
        orders.add(" ".join(order))
    assert orders == {"slept heard", "heard slept"}


def test_a_killed_client_runs_no_more_but_its_request_arrives() -> None:
    here = world()
    client = here.client("a")
    steps: list[str] = []

    def story() -> Scenario[None]:
        try:
            yield take("me")
            steps.append("heard")
        except BaseException as why:
            steps.append(type(why).__name__)
            raise

    task = client.spawn(story())
    here.run(0)
    client.crash()
    client.crash()
    assert steps == ["GeneratorExit"]
    assert isinstance(task.error, Crashed) and task.done
    assert client.crashed_at == 0
    here.run(10)
    assert here.server.store.do("GET", "count") == b"1"
    assert isinstance(client.spawn(story()).error, Crashed)
    assert here.finish(limit=10)
    assert here.counts["crash"] == 1


def test_a_client_may_kill_itself_and_its_other_tasks() -> None:
    here = world()
    client = here.client("a")

    def suicide() -> Scenario[None]:
        yield 1.0
        client.crash()
        yield take("me")
        raise AssertionError("it was to be dead")

    def bystander() -> Scenario[None]:
        yield 100.0

    tasks = [client.spawn(suicide()), client.spawn(bystander())]
    assert here.finish(limit=10)
    assert [type(task.error) for task in tasks] == [Crashed, Crashed]
    assert here.counts["scripts"] == 0


def waiter(client: Client, rid: str, timeout: float = 5.0) -> Scenario[str | None]:
    yield Listen(rid, 1.0)
    wake: str | None = (yield Wait(rid, timeout)).value
    return wake


def waker(holder: str, rid: str, after: float = 1.0) -> Scenario[None]:
    yield take(holder)
    yield after
    yield give(holder, rid)


def test_a_published_rid_wakes_its_waiter() -> None:
    here = world()
    client = here.client("a")
    rid = client.rid()
    task = client.spawn(waiter(client, rid))
    other = client.spawn(waiter(client, client.rid()))
    here.client("b").spawn(waker("b", rid, 0.9))
    assert here.finish(limit=20)
    assert (task.result, other.result) == ("", None)
    assert here.counts["woken"] == 1


def test_a_wake_that_comes_early_is_kept() -> None:
    here = world()
    client = here.client("a")
    rid = client.rid()

    def late() -> Scenario[float]:
        yield Listen(rid, 1.0)
        yield 3.0
        asked = (yield Wait(rid, 5.0)).value
        assert asked == ""
        return here.now

    task = client.spawn(late())
    here.client("b").spawn(waker("b", rid, 0.9))
    assert here.finish(limit=20)
    assert task.result == pytest.approx(3, abs=0.1)


def test_a_lost_wake_costs_the_timeout() -> None:
    here = world(Faults(wake_lost=1))
    client = here.client("a")
    rid = client.rid()
    task = client.spawn(waiter(client, rid, 3.0))
    here.client("b").spawn(waker("b", rid, 0.9))
    assert here.finish(limit=20)
    assert task.result is None
    assert here.counts["wake lost"] == 1


@pytest.mark.parametrize("drivers_are_right", [True, False])
def test_a_disconnection_releases_every_waiter(drivers_are_right: bool) -> None:
    here = World(1, reconnect_wakes=drivers_are_right)
    client = here.client("a")
    tasks = [client.spawn(waiter(client, client.rid(), 50.0)) for _ in range(3)]
    here.at(1, client.disconnect)
    assert here.finish(limit=100)
    assert [task.result for task in tasks] == [None] * 3
    assert client.subscribed
    assert (here.now < 10) is drivers_are_right


def test_a_wake_is_lost_while_its_session_is_disconnected() -> None:
    here = World(1, Faults(reconnect=0.0), {"say": SAY}, reconnect_wakes=False)
    client = here.client("a")
    rid = client.rid()
    task = client.spawn(waiter(client, rid, 4.0))
    teller = here.client("b")
    receivers: list[int] = []

    def say() -> Scenario[None]:
        reply = yield Call("say", (), (rid,), 1.0)
        receivers.append(reply.value)

    here.at(1, client.disconnect, 1.0)
    here.at(1.5, lambda: teller.spawn(say()))
    here.at(2.5, lambda: teller.spawn(say()))
    assert here.finish(limit=2.4) is False
    assert receivers == [0]
    assert here.finish(limit=20)
    assert receivers == [0, 1]
    assert task.result == ""


def test_a_wake_of_an_old_connection_comes_to_nothing() -> None:
    here = world()
    client = here.client("a")
    rid = client.rid()
    task = client.spawn(waiter(client, rid, 4.0))
    here.at(1, client.wake, rid, "", client.connection - 1)
    assert here.finish(limit=20)
    assert task.result is None


SAY = "return redis.call('PUBLISH', 'w:' .. string.sub(ARGV[1], 1, 16), ARGV[1])"


def test_the_first_listen_takes_a_round_trip_and_the_next_none() -> None:
    here = world()
    client = here.client("a")
    took: list[float] = []

    def story() -> Scenario[None]:
        for _ in range(2):
            reply = yield Listen(client.rid(), 1.0)
            took.append(reply.heard_at - reply.asked_at)

    client.spawn(story())
    assert here.finish(limit=1)
    assert took[0] > 0 and took[1] == 0


def test_a_listen_without_answer_is_unreachable_and_made_up_for() -> None:
    here = world(Faults(request_lost=1, reset=0))
    client = here.client("a")
    rid = client.rid()

    def story() -> Scenario[str | None]:
        with pytest.raises(Unreachable):
            yield Listen(rid, 0.5)
        here.calm()
        wake: str | None = (yield Wait(rid, 50.0)).value
        return wake

    task = client.spawn(story())
    assert here.finish(limit=10)
    assert client.subscribed and task.result is None


def test_a_deferred_call_is_made_when_the_server_answers() -> None:
    here = world()
    here.server.restart(down=3)
    client = here.client("a")

    def story() -> Scenario[None]:
        yield Defer(take("me"), client.clock() + 10)

    client.spawn(story())
    assert here.finish(limit=0.1)
    here.run(2.9)
    assert len(client.deferred) == 1
    assert "scripts" not in here.counts
    here.run(4)
    assert client.deferred == []
    assert here.counts == {"restart": 1, "scripts": 1, "deferred done": 1}


def test_a_deferred_call_is_given_up_in_the_end() -> None:
    here = world(Faults(request_lost=1))
    client = here.client("a")

    def story() -> Scenario[None]:
        yield Defer(take("me"), client.clock() + 2)

    client.spawn(story())
    here.run(1.9)
    assert client.deferred
    here.run(3)
    assert not client.deferred and here.counts["deferred in vain"] == 1


def test_a_keeper_may_take_the_deferred_calls() -> None:
    here = world()
    client = here.client("a")
    taken: list[tuple[Call, float]] = []
    client.deferral = lambda call, until: taken.append((call, until))

    def story() -> Scenario[None]:
        yield Defer(take("me"), 7.0)

    client.spawn(story())
    here.run(5)
    assert taken == [(take("me"), 7.0)] and not here.counts["scripts"]
