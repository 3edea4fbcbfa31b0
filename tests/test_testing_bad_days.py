"""What `coordkit_server` brings about: that code under test meets it as it would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # at run time it is a plugin, and imported as such
    from support.suites import Suite

pytest_plugins = ["pytester", "support.suites"]


def test_expire(anywhere: Suite) -> None:
    done = anywhere("""
def test_holder_is_told_and_the_next_waiter_gets_it(server, lease, b):
    waiter = queue(b.lock("x"))
    server.expire(lease)
    assert (lease.held, lease.reason) == (False, Reason.EXPIRED)
    with waiter.result(SOON) as later:
        assert later.token > lease.token
    with pytest.raises(LeaseLost):
        lease.release()

def test_one_of_several_shared_leases(server, a):
    lock = a.lock("x", shared=True)
    with lock.acquire() as kept:
        ended = lock.acquire()
        server.expire(ended)
        assert (ended.reason, kept.reason) == (Reason.EXPIRED, None)
        kept.renew()
        assert [held.token for held in lock.info().holders] == [kept.token]

def test_lock_delay_still_delays(server, a):
    server.expire(a.lock("x", lock_delay=0.3).acquire())
    began = time.monotonic()
    assert a.lock("x").try_acquire() is None
    with a.lock("x").acquire(timeout=2):
        assert 0.2 < time.monotonic() - began < 1

def test_a_later_holder_keeps_it(server, lease):
    later = server.steal("x")
    server.expire(lease)
    later.renew()

async def test_told_from_another_thread(server, task_a):
    lease = await task_a.lock("x").acquire()
    began = time.monotonic()
    Timer(0.1, server.expire, [lease]).start()
    assert await lease.lost.wait()  # untold, it would look up after a second
    assert time.monotonic() - began < SOON
""")
    done.assert_outcomes(passed=5)


def test_steal(anywhere: Suite) -> None:
    done = anywhere("""
def test_holder_is_told(server, lease):
    stolen = server.steal("x")
    assert lease.reason is Reason.STOLEN
    assert stolen.held and stolen.token > lease.token
    again = server.steal("x", ttl=5)
    assert stolen.reason is Reason.STOLEN
    assert again.held and again.token > stolen.token

def test_a_free_lock_and_nobody_keeps_the_lease(server, a):
    server.steal("x")
    assert a.lock("x").try_acquire() is None
    server.steal("y").release()
    a.lock("y").acquire(timeout=0).release()

def test_who_is_not_told_is_kept_out_by_its_token(server, a, lease):
    stolen = server.steal("x", told=False)
    assert lease.held
    a.fence("what x guards").check(stolen.token)
    with pytest.raises(StaleToken):
        a.fence("what x guards").set("answer", "42", token=lease.token)
    with pytest.raises(LeaseLost) as lost:
        lease.renew()
    assert lost.value.reason is Reason.STOLEN

def test_a_shared_lock(server, a):
    lock = a.lock("x", shared=True)
    leases = [lock.acquire(), lock.acquire()]
    server.steal("x")
    assert [lease.reason for lease in leases] == [Reason.EVICTED] * 2

def test_other_locks_are_left_alone(server, lease):
    server.steal("y")
    lease.renew()
""")
    done.assert_outcomes(passed=5)


def test_lose_data(anywhere: Suite) -> None:
    done = anywhere("""
def test_every_holder_is_told(server, lease, b):
    shared = b.lock("y", shared=True).acquire()
    b.fence("f").set("answer", "42", token=lease.token)
    server.lose_data()
    assert [lease.reason, shared.reason] == [Reason.DATA_LOST] * 2
    assert b.fence("f").get("answer") is None
    with b.lock("x").acquire(timeout=0) as later:
        assert later.token > lease.token

def test_who_is_not_told_learns_it_by_renewing(server, a):
    lease = a.lock("x", ttl=0.9).acquire()
    server.lose_data(told=False)
    assert lease.held
    assert lease.lost.wait(0.6)
    assert lease.reason is Reason.DATA_LOST
""")
    done.assert_outcomes(passed=2)


def test_the_body_of_a_task_is_cancelled(anywhere: Suite) -> None:
    done = anywhere("""
@pytest.mark.parametrize("bad_day, reason", [
    (lambda server, lease: server.expire(lease), Reason.EXPIRED),
    (lambda server, lease: server.steal(lease.name), Reason.STOLEN),
    (lambda server, lease: server.lose_data(), Reason.DATA_LOST),
])
async def test_it(server, task_a, bad_day, reason):
    with pytest.raises(LeaseLost) as lost:
        async with task_a.lock("x").acquire() as lease:
            bad_day(server, lease)
            await asyncio.sleep(5)
    assert lost.value.reason is reason
""")
    done.assert_outcomes(passed=3)


def test_partition_of_all(anywhere: Suite) -> None:
    done = anywhere("""
def test_threads(server, a, b):
    lease = a.lock("x", ttl=0.6).acquire()
    with server.partition():
        late = server.session()
        for session in (a, b, late):
            with pytest.raises(Unreachable):
                session.ping()
        with pytest.raises(Unreachable):
            b.lock("y", ttl=0.3).acquire(timeout=0.1)
        assert lease.held
        assert lease.lost.wait(2)
        assert lease.reason is Reason.EXPIRED
    with late.lock("x").acquire(timeout=2) as later:
        assert later.token > lease.token

async def test_tasks(server, task_a):
    lease = await task_a.lock("x", ttl=0.6).acquire()
    with server.partition():
        with pytest.raises(Unreachable):
            await task_a.ping()
        assert lease.held
        assert await lease.lost.wait(2)
        assert lease.reason is Reason.EXPIRED
    async with task_a.lock("x").acquire(timeout=2) as later:
        assert later.token > lease.token

def test_a_short_one_is_survived(server, a):
    with a.lock("x", ttl=0.9).acquire() as lease:
        for _ in range(3):
            with server.partition():
                time.sleep(0.35)  # a renewal fails
            time.sleep(0.25)
            assert lease.held

def test_they_overlap(server, a):
    with server.partition():
        with server.partition(), server.partition(a):
            pass
        with pytest.raises(Unreachable):
            a.ping()
    a.ping()
""")
    done.assert_outcomes(passed=4)


def test_partition_of_one(anywhere: Suite) -> None:
    done = anywhere("""
def test_the_other_takes_over(server, a, b):
    lease = a.lock("x", ttl=0.5).acquire()
    with server.partition(a):
        with pytest.raises(Unreachable):
            a.ping()
        with b.lock("x").acquire(timeout=2) as later:
            assert lease.reason is Reason.EXPIRED
            assert later.token > lease.token

def test_who_is_cut_off_learns_it_afterwards(server, a):
    lease = a.lock("x", ttl=3).acquire()
    with server.partition(a):
        server.steal("x")
        assert lease.held
    assert lease.lost.wait(2)
    assert lease.reason is Reason.STOLEN

def test_no_wake_reaches_a_thread(server, lease, b):
    waiter = queue(b.lock("x"))
    with server.partition(b):
        lease.release()
        time.sleep(0.3)
        assert not waiter.done()
    waiter.result().release()

async def test_no_wake_reaches_a_task(server, lease, task_b):
    waiter = await queue_task(task_b.lock("x"))
    with server.partition(task_b):
        lease.release()
        await asyncio.sleep(0.3)
        assert not waiter.done()
    await (await waiter).release()

def test_a_stranger_is_refused(server):
    with Session("redis://localhost:1/0") as stranger:
        with pytest.raises(ValueError, match="was not made by coordkit_server"):
            server.partition(stranger).__enter__()
""")
    done.assert_outcomes(passed=5)
