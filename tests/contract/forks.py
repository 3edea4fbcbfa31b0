"""What processes do that fork, or end, while they hold a lock; run by `test_fork`."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress

from coordkit import (
    AsyncSession,
    Lease,
    LeaseLost,
    Lock,
    LockTimeout,
    NotHeld,
    Session,
    State,
)

#: A child that takes longer is stuck.
PATIENCE = 5.0


def say(text: str) -> None:
    """Tell the test."""
    print(text, flush=True)  # noqa: T201 -- the test reads it


def in_child(work: Callable[[], None]) -> int:
    """Fork; do *work* in the child; return how it ended."""
    return ended(fork(work))


def fork(work: Callable[[], None]) -> int:
    """Fork; do *work* in the child and end it there; return its number."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 -- it must not come out in the child
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def ended(child: int) -> int:
    """Wait for a child that must end soon; return how it ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise AssertionError("the child is stuck")


@contextmanager
def warned(times: int) -> Generator[None]:
    """Check that so often one was told that a lease is the parent's."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            assert [w.category for w in told] == [RuntimeWarning] * times, told
            assert all("belongs to the parent process" in str(w.message) for w in told)


def refused(ask: Callable[[], object]) -> None:
    """Check that a lease of the parent's cannot be used."""
    try:
        ask()
    except NotHeld as error:
        if "fork" in str(error):
            return
        raise
    raise AssertionError(f"{ask} works")


def until_renewed(lease: Lease) -> None:
    """Wait until the keeper has renewed it."""
    first = lease.deadline
    while lease.deadline == first:
        time.sleep(0.005)


def until_waiting(lock: Lock, count: int) -> None:
    """Wait until so many wait for it."""
    while (seen := lock.info()) is None or seen.waiters != count:
        time.sleep(0.002)


def still_held(url: str, namespace: str, lease: Lease) -> None:
    """Check that the lease is held: here and on the server."""
    assert lease.held
    lease.renew()
    with Session(url, namespace=namespace) as other:
        seen = other.lock(lease.name).info()
        assert seen is not None
        assert seen.holder == lease.holder


def unwound(url: str, namespace: str) -> None:
    """The child leaves the `with` that its parent has entered."""
    s = Session(url, namespace=namespace)
    told = ExitStack()
    lease: Lease | None = None
    try:
        with told, s.lock("it").acquire() as lease, s.lock("b"), s.lock_all(["c"]):
            child = os.fork()
            if child == 0:
                told.enter_context(warned(3))  # one for each of them, on the way out
                raise ZeroDivisionError
            assert ended(child) == 0
            still_held(url, namespace, lease)
            assert len(s.locks()) == 3
    except ZeroDivisionError:
        s.close()
        os._exit(0)
    assert lease is not None
    assert lease.state is State.RELEASED
    s.close()


def collected(url: str, namespace: str) -> None:
    """The child drops all that it inherited; nothing is released, nobody is warned."""
    s = Session(url, namespace=namespace)
    leases = [s.lock("it").acquire()]

    def drop() -> None:
        nonlocal s
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            leases.clear()
            s.close()
            del s
            gc.collect()

    assert in_child(drop) == 0
    still_held(url, namespace, leases[0])
    assert in_child(lambda: os._exit(0)) == 0
    still_held(url, namespace, leases[0])
    leases[0].release()
    s.close()


def used_anew(url: str, namespace: str) -> None:
    """The child's copy of the lease is inert; the session is its own."""
    s = Session(url, namespace=namespace)
    lock = s.lock("it", ttl=0.5)
    lease = lock.acquire()
    identity = s.identity

    def work() -> None:
        assert not lease.held
        assert lease.remaining() == 0
        for ask in (lease.check, lease.renew, lease.reenter):
            refused(ask)
        assert not lease.lost.wait(0.01) or lease.reason is not None
        with warned(1):
            lease.release()
        assert s.identity != identity
        assert f":{os.getpid()}:" in s.identity
        assert lock.try_acquire() is None
        with suppress(LockTimeout):
            lock.acquire(timeout=0.02)
            raise AssertionError("it was taken twice")
        with s.lock("other", ttl=0.3).acquire() as mine:
            until_renewed(mine)
            seen = s.lock("other").info()
            assert seen is not None
            assert seen.identity == s.identity
        s.close()

    for _ in range(3):
        assert in_child(work) == 0
        still_held(url, namespace, lease)
    lease.release()
    assert lock.info() is None
    s.close()


def by_multiprocessing(url: str, namespace: str) -> None:
    """A pool of forked workers counts under the lock of a session that they inherited."""
    s = Session(url, namespace=namespace)
    lock = s.lock("it")
    lease = s.lock("kept", ttl=0.5).acquire()
    context = multiprocessing.get_context("fork")
    total = context.Value("i", 0, lock=False)

    def work() -> None:
        for _ in range(5):
            with lock:
                seen = total.value
                time.sleep(0.001)
                total.value = seen + 1

    workers = [context.Process(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    work()
    for worker in workers:
        worker.join(PATIENCE)
        assert worker.exitcode == 0
    assert total.value == 25
    still_held(url, namespace, lease)
    lease.release()
    s.close()


def while_renewing(url: str, namespace: str) -> None:
    """Forks at every moment of the keeper's work; all goes on, in both processes."""
    s = Session(url, namespace=namespace)
    leases = [s.lock(f"it {n}", ttl=1.0).acquire() for n in range(150)]
    sys.setswitchinterval(1e-5)
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            with s.lock("busy", ttl=1.0).acquire():
                pass

    busy = threading.Thread(target=keep_busy)
    busy.start()
    children: list[int] = []
    for n in range(60):

        def work(n: int = n) -> None:
            if n % 10 == 0:
                s.lock(f"child {n}", ttl=5).acquire(timeout=5).release()

        children.append(fork(work))
        if len(children) > 4:
            assert ended(children.pop(0)) == 0
    assert [ended(child) for child in children] == [0] * len(children)
    stop.set()
    busy.join(PATIENCE)
    sys.setswitchinterval(0.005)
    assert [lease.reason for lease in leases] == [None] * 150
    for lease in leases:
        lease.release()
    s.close()


def while_the_keeper_is_at_it(url: str, namespace: str) -> None:
    """The fork comes while another thread has the keeper's table: the child cannot wait."""
    s = Session(url, namespace=namespace)
    lease = s.lock("it").acquire()
    with s._engine.keeper._guard:
        status = in_child(lambda: s.lock("other").acquire(timeout=5).release())
    assert status == 0
    still_held(url, namespace, lease)
    lease.release()
    s.close()


def while_waiting(url: str, namespace: str) -> None:
    """Another thread reads wakes at the moment of the fork; both processes are woken."""
    s, other = (Session(url, namespace=namespace) for _ in range(2))
    lock = s.lock("it", ttl=60, waiter_ttl=40)
    holder = other.lock("it", ttl=60).acquire()

    def wait() -> float:
        began = time.monotonic()
        lock.acquire(timeout=5).release()
        return time.monotonic() - began

    took: list[float] = []
    waiting = threading.Thread(target=lambda: took.append(wait()))
    waiting.start()
    until_waiting(lock, 1)

    def wait_too() -> None:
        assert wait() < 3

    child = fork(wait_too)
    until_waiting(lock, 2)
    holder.release()
    waiting.join(PATIENCE)
    assert ended(child) == 0
    assert took[0] < 3
    s.close()
    other.close()


async def on_a_loop(url: str, namespace: str) -> None:
    """The child of a loop leaves it alone, or runs one of its own."""
    s = AsyncSession(url, namespace=namespace)
    async with s, s.lock("it", ttl=0.5).acquire() as lease:
        assert in_child(lambda: os._exit(0)) == 0

        async def anew() -> None:
            assert not lease.held
            assert await s.lock("it").try_acquire() is None
            async with s.lock("other").acquire(timeout=5) as mine:
                await mine.renew()
            with warned(1):
                await lease.release()
            await s.close()

        assert in_child(lambda: asyncio.run(anew())) == 0
        await lease.renew()
        await asyncio.sleep(0.3)  # meanwhile it is renewed
        assert lease.remaining() > 0.2
        seen = await s.lock("it").info()
        assert seen is not None
        assert seen.holder == lease.holder


# -- the end of a process ------------------------------------------------------------

#: What is still referred to when the interpreter ends.
kept: list[object] = []


def ends_while_held(url: str, namespace: str) -> None:
    """Nothing is released, and the interpreter ends in peace."""
    s = Session(url, namespace=namespace)
    lease = s.lock("it", ttl=0.5).acquire()
    kept.append(lease)
    until_renewed(lease)  # its keeper runs
    say("held")


def ends_while_others_wait(url: str, namespace: str) -> None:
    """Threads that wait are daemons of their own making; the main one just ends."""
    s = Session(url, namespace=namespace)
    kept.append(s.lock("it", ttl=0.5).acquire())
    for _ in range(3):
        threading.Thread(target=s.lock("it").acquire, daemon=True).start()
    until_waiting(s.lock("it"), 3)
    say("held")


async def loop_ends_while_held(url: str, namespace: str) -> None:
    """As `asyncio.run` does: what is left is cancelled, and the loop is closed."""
    s = AsyncSession(url, namespace=namespace)
    lease = await s.lock("it", ttl=0.5).acquire()
    waiting = asyncio.create_task(s.lock("it").acquire().__aenter__())
    kept.extend([lease, waiting])
    await asyncio.sleep(0.3)  # meanwhile it is renewed
    assert lease.remaining() > 0.2
    assert not waiting.done()
    say("held")


def raises_while_held(url: str, namespace: str) -> None:
    """A loss that nobody looks at does not come out of the interpreter's end."""
    s = Session(url, namespace=namespace)
    lease = s.lock("it", ttl=0.3).acquire()
    kept.append(lease)
    s.lock("it").break_()
    assert lease.lost.wait(5)
    try:
        lease.check()
    except LeaseLost:
        say("held")


def while_counting(url: str, namespace: str) -> None:
    """Child and parent go on with one counter and the same ids; other threads count, too."""
    s = Session(url, namespace=namespace)
    counter, ids, stop = s.counter("it"), s.ids("it", block=50), threading.Event()
    counter.add(1)
    before = next(ids)
    adds, taken = [1], [before]
    reading, writing = os.pipe()

    def count() -> None:
        while not stop.is_set():
            counter.add(1)
            adds.append(1)
            taken.append(next(ids))

    def in_child() -> None:
        for _ in range(100):
            counter.add(1)
            os.write(writing, b"%d " % next(ids))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = [fork(in_child) for _ in range(3)]
    assert [ended(child) for child in children] == [0, 0, 0]
    stop.set()
    for thread in threads:
        thread.join()
    theirs = [int(word) for word in os.read(reading, 65_536).split()]
    assert counter.value() == len(adds) + 300
    assert len({*taken, *theirs}) == len(taken) + 300, "an id was handed out twice"
    s.close()
