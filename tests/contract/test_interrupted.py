"""Ctrl-C at any line of a caller leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from contract.interrupter import Case, Interrupter
from contract.places import RedisPlace, stranger
from coordkit import CoordError, Lock, LockTimeout, Session

pytestmark = pytest.mark.slow


def acquired_and_released(lock: Lock) -> None:
    lock.acquire(timeout=5).release()


def tried_and_released(lock: Lock) -> None:
    lease = lock.try_acquire()
    assert lease is not None
    lease.release()


def entered(lock: Lock) -> None:
    with lock:
        pass


def entered_with_a_limit(lock: Lock) -> None:
    with lock.acquire(timeout=5):
        pass


def waited_in_vain(lock: Lock) -> None:
    with pytest.raises(LockTimeout):
        lock.acquire(timeout=0.004)


@pytest.fixture
def new_session(redis_place: RedisPlace, namespace: str) -> Callable[[], Session]:
    client = redis.Redis(
        host="127.0.0.1", port=redis_place.server.port, max_connections=1
    )
    return lambda: Session(client, namespace=namespace, timeout=0.1)


def hold(place: RedisPlace, milliseconds: int) -> Callable[[Lock], None]:
    """Have somebody else hold the lock for so long."""

    def held(lock: Lock) -> None:
        key = lock._options.keys.lock
        place.raw.hset(key, mapping={"rid": stranger(), "token": 1})
        place.raw.pexpire(key, milliseconds)

    return held


@pytest.mark.parametrize(
    ("work", "anew"),
    [
        (acquired_and_released, False),
        (tried_and_released, False),
        (entered_with_a_limit, False),
        (entered, False),
        (entered, True),
    ],
)
def test_at_every_line_of_a_free_lock(
    redis_place: RedisPlace,
    new_session: Callable[[], Session],
    work: Callable[[Lock], None],
    anew: bool,
) -> None:
    case = Case(redis_place, new_session, work, anew=anew)
    case.run()
    assert case.cases > 50
    assert not case.left, case.story()
    # A lease in the hands of the caller, or of a release that has not begun, ends by
    # its ttl, and says so.  Nothing else does: not what was only asked for.
    assert not [
        line for line in case.until_ttl if "_io/w" in line or "_Attempt" in line
    ]


@pytest.mark.parametrize("anew", [False, True], ids=["", "anew"])
def test_at_every_line_of_a_wait(
    redis_place: RedisPlace, new_session: Callable[[], Session], anew: bool
) -> None:
    held_a_moment = hold(redis_place, 2)
    case = Case(redis_place, new_session, entered, prepare=held_a_moment, anew=anew)
    case.run()
    assert case.cases > 100
    assert not case.left, case.story()


@pytest.mark.parametrize("anew", [False, True], ids=["", "anew"])
def test_at_every_line_of_a_wait_in_vain(
    redis_place: RedisPlace, new_session: Callable[[], Session], anew: bool
) -> None:
    held = hold(redis_place, 60_000)
    case = Case(redis_place, new_session, waited_in_vain, prepare=held, anew=anew)
    case.run()
    assert case.cases > 100
    assert not case.left, case.story()
    assert not case.until_ttl


def test_at_every_line_of_an_add(new_session: Callable[[], Session]) -> None:
    """It was counted or not, once; and the next one is counted as ever."""
    session = new_session()
    counter, cases, where = session.counter("it"), 0, "not yet"
    value = counter.add(1)
    while where:
        interrupter = Interrupter(cases, deep=True)
        try:
            with interrupter:
                counter.add(1)
        except (KeyboardInterrupt, CoordError):
            pass
        where = interrupter.where
        after = counter.value()
        assert after in (value, value + 1), where
        value = counter.add(1)
        assert value == after + 1, where
        cases += 1
    assert cases > 50
    session.close()
