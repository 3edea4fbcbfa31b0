"""The simulated driver: resting, interruptions, and what must not be yielded."""

from __future__ import annotations

import math
from typing import Any

import pytest

from coordkit._core.ops import Listen, Rest, Wait
from coordkit.errors import LockTimeout, Unreachable
from sim.tiny import give, take, world
from sim.world import Client, Faults, Scenario


def sleeper(client: Client, until: float) -> Scenario[tuple[bool, float]]:
    reply = yield Rest(until)
    return reply.value, client.clock()


def test_a_rest_ends_at_its_instant() -> None:
    here = world(Faults(drift=0.2))
    client = here.client("a")
    until = client.clock() + 5
    task = client.spawn(sleeper(client, until))
    past = client.spawn(sleeper(client, 0.0))
    assert here.finish(limit=20)
    assert task.result is not None
    assert task.result[0] is False
    assert task.result[1] == pytest.approx(until)
    assert past.result is not None and past.result[1] == pytest.approx(until - 5)


def test_a_stir_ends_the_rest_of_the_keeper_only() -> None:
    here = world()
    client = here.client("a")
    forever = client.clock() + 1000
    keeper = client.spawn(sleeper(client, math.inf), daemon=True)
    other = client.spawn(sleeper(client, forever))
    here.at(2, client.stir)
    here.run(3)
    assert keeper.result is not None and keeper.result[0] is False
    assert not other.done
    other.stir()
    assert here.finish(limit=4)
    assert other.result is not None and other.result[0] is False


def test_a_stir_of_a_busy_task_is_not_lost() -> None:
    here = world()
    client = here.client("a")

    def busy() -> Scenario[list[bool]]:
        yield 2.0
        first = yield Rest(client.clock() + 5)
        assert here.now < 3
        second = yield Rest(client.clock() + 5)
        assert here.now > 6
        return [first.value, second.value]

    task = client.spawn(busy(), daemon=True)
    here.at(1, client.stir)
    here.run(20)
    assert task.result == [False, False]


def test_a_stopped_task_is_told_at_each_rest() -> None:
    here = world()
    client = here.client("a")

    def keeper() -> Scenario[int]:
        told = 0
        while told < 3:
            reply = yield Rest(client.clock() + 1)
            told += reply.value
        return told

    task = client.spawn(keeper())
    here.at(5.5, task.stop)
    assert here.finish(limit=5.6)
    assert task.result == 3


def test_an_interrupted_call_still_arrives_and_the_task_may_clean_up() -> None:
    here = world(Faults(latency=0.1))
    client = here.client("a")

    def story() -> Scenario[None]:
        try:
            yield take("me", timeout=5)
        except KeyboardInterrupt:
            yield 0.5
            reply = yield give("me", timeout=5)
            assert reply.value == 1  # taken, though nobody waited for the answer
            raise

    task = client.spawn(story())
    here.at(0.0001, task.interrupt)
    assert here.finish(limit=10)
    assert type(task.error) is KeyboardInterrupt
    assert here.counts["answer too late"] == here.counts["interrupt"] == 1


def test_another_error_may_be_thrown_in() -> None:
    here = world()

    def story() -> Scenario[str]:
        try:
            yield 5.0
        except LockTimeout:
            return "told"
        return "not told"

    task = here.client("a").spawn(story())
    here.at(1, task.interrupt, LockTimeout("x", 1.0))
    assert here.finish(limit=2)
    assert task.result == "told"
    task.interrupt()
    here.run(3)
    assert here.counts["interrupt"] == 1


@pytest.mark.parametrize("at", range(1, 6))
def test_it_can_be_interrupted_at_every_yield(at: int) -> None:
    here = world()
    client = here.client("a")
    rid = client.rid()
    seen: list[int] = []

    def story() -> Scenario[None]:
        step = 0
        try:
            for request in (
                take(rid),
                Listen(rid, 1.0),
                Wait(rid, 1.0),
                Rest(client.clock() + 9),
                3.0,
            ):
                step += 1
                yield request
        except KeyboardInterrupt:
            seen.append(step)
            raise

    task = client.spawn(story(), interrupt_at=at)
    assert here.finish(limit=30)
    assert seen == [at]
    assert type(task.error) is KeyboardInterrupt


def test_an_interrupted_wait_leaves_the_next_one_alone() -> None:
    here = world()
    client = here.client("a")
    rid = client.rid()

    def story() -> Scenario[float]:
        yield Listen(rid, 1.0)
        try:
            yield Wait(rid, 3.0)
        except KeyboardInterrupt:
            yield 10.0  # the timer of the wait runs out meanwhile, and a wake comes
        return here.now

    task = client.spawn(story())
    here.at(1, task.interrupt)
    here.at(2, lambda: client.wake(rid, "", client.connection))
    assert here.finish(limit=30)
    assert task.result == pytest.approx(11, abs=0.1)


def test_an_interrupted_sleep_leaves_the_next_one_alone() -> None:
    here = world()

    def story() -> Scenario[float]:
        try:
            yield 3.0
        except KeyboardInterrupt:
            yield 10.0  # the timer of the other sleep runs out meanwhile
        return here.now

    task = here.client("a").spawn(story())
    here.at(1, task.interrupt)
    assert here.finish(limit=30)
    assert task.result == pytest.approx(11, abs=0.1)


def test_a_wait_that_was_woken_leaves_the_next_one_alone() -> None:
    here = world()
    client = here.client("a")
    rid = client.rid()

    def story() -> Scenario[float]:
        yield Listen(rid, 1.0)
        first = yield Wait(rid, 3.0)
        second = yield Wait(rid, 5.0)
        assert [first.value, second.value] == ["", None]
        return here.now

    task = client.spawn(story())
    here.at(1, lambda: client.wake(rid, "", client.connection))
    assert here.finish(limit=30)
    assert task.result == pytest.approx(6, abs=0.1)


def test_an_interruption_of_a_paused_client_waits() -> None:
    here = world()
    client = here.client("a")
    task = client.spawn(sleeper(client, client.clock() + 100))
    here.at(1, client.pause, 5.0)
    here.at(2, task.interrupt)
    here.run(5.9)
    assert not task.done
    here.run(6.1)
    assert type(task.error) is KeyboardInterrupt


def test_errors_of_the_house_are_the_result_of_a_task() -> None:
    here = world(Faults(request_lost=1))

    def story() -> Scenario[None]:
        yield take("me")

    task = here.client("a").spawn(story())
    assert here.finish(limit=10)
    assert isinstance(task.error, Unreachable) and task.result is None
    assert "Unreachable" in repr(task)


def endless(_: Client) -> Scenario[None]:
    while True:
        yield Rest(0.0)


def odd(_: Client) -> Scenario[None]:
    yield "five seconds"  # type: ignore[misc]  # what is wrong is the test


def deaf(client: Client) -> Scenario[None]:
    yield Wait(client.rid(), 1.0)


def undying(client: Client) -> Scenario[None]:
    try:
        yield 1.0
        client.crash()
        yield 1.0
    finally:
        yield 1.0


@pytest.mark.parametrize(
    ("story", "error", "says"),
    [
        (endless, RuntimeError, "no time passes"),
        (odd, TypeError, "five seconds"),
        (deaf, AssertionError, "without Listen"),
        (undying, RuntimeError, "ignored GeneratorExit"),
    ],
)
def test_a_generator_that_breaks_the_rules_is_told(
    story: Any, error: type[Exception], says: str
) -> None:
    here = world()
    client = here.client("a")
    client.spawn(story(client))
    with pytest.raises(error, match=says):
        here.finish(limit=10)
