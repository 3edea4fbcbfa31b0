"""The gate: tokens in order, for threads and tasks together."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from coordkit import Gate, LockTimeout, StaleToken

PATIENCE = 10.0


def test_a_lower_token_is_refused() -> None:
    gate = Gate("ledger")
    for token in (5, 5, 7, 7):
        gate.check(token)
    with pytest.raises(StaleToken, match="token 6 for 'ledger' is stale: 7") as stale:
        gate.check(6)
    assert (stale.value.name, stale.value.token, stale.value.seen) == ("ledger", 6, 7)
    with pytest.raises(StaleToken), gate.admit(6):
        raise AssertionError("it was let through")
    assert gate.seen == 7
    assert repr(gate) == "<Gate 'ledger' seen=7>"
    assert repr(gate.admit(7)) == "<Passage 7 of <Gate 'ledger' seen=7>>"


def test_what_was_seen_before_may_be_told() -> None:
    gate = Gate(seen=7)
    with pytest.raises(StaleToken):
        gate.check(6)
    gate.check(7)
    assert gate.name == "gate"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Gate("", seen=0), ValueError),
        (lambda: Gate("a\nb"), ValueError),
        (lambda: Gate(seen=-1), ValueError),
        (lambda: Gate(seen=2**53 + 1), ValueError),
        (lambda: Gate().check(0), ValueError),
        (lambda: Gate().check(2**53 + 1), ValueError),
        (lambda: Gate().admit(7, timeout=-1), ValueError),
        (lambda: Gate().admit(7, timeout=float("nan")), ValueError),
    ],
)
def test_wrong_arguments(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


@pytest.mark.parametrize("wrong", [None, True, 1.5, "7", b"7"])
def test_a_token_is_an_int(wrong: Any) -> None:
    gate = Gate()
    for ask in (gate.check, gate.admit):
        with pytest.raises(TypeError, match="a token is an int"):
            ask(wrong)
    assert gate.seen == 0


def test_same_tokens_go_together_and_a_newer_one_waits() -> None:
    gate, order = Gate(), list[str]()
    with ThreadPoolExecutor() as pool:

        def pass_through(token: int) -> None:
            with gate.admit(token, PATIENCE):
                order.append(f"{token}")

        with gate.admit(5):
            pool.submit(pass_through, 5).result(PATIENCE)
            newer = pool.submit(pass_through, 7)
            until(lambda: gate.seen == 7)
            with pytest.raises(StaleToken):
                gate.check(5)
            with pytest.raises(StaleToken), gate.admit(6):
                pass
            assert order == ["5"]
            assert not newer.done()
        newer.result(PATIENCE)
    assert order == ["5", "7"]


def until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_who_waits_may_be_overtaken() -> None:
    gate = Gate()
    with ThreadPoolExecutor() as pool:

        def enter(token: int) -> int:
            with gate.admit(token, PATIENCE):
                return token

        with gate.admit(5):
            older = pool.submit(enter, 6)
            until(lambda: gate.seen == 6)
            newer = pool.submit(enter, 7)
            until(lambda: gate.seen == 7)
        assert newer.result(PATIENCE) == 7
        with pytest.raises(StaleToken):
            older.result(PATIENCE)


def test_who_waits_too_long_is_told() -> None:
    gate = Gate("ledger")
    with gate.admit(5):
        for timeout in (0, 0.02):
            with pytest.raises(LockTimeout, match="'ledger' was not free within"):
                gate.admit(6, timeout).__enter__()
    with gate.admit(6, 0):
        pass

    async def wait() -> None:
        async with gate.admit(7):
            for timeout in (0, 0.02):
                with pytest.raises(LockTimeout):
                    await gate.admit(8, timeout).__aenter__()
        async with gate.admit(8, 0):
            pass

    asyncio.run(wait())


def test_a_body_that_fails_has_left() -> None:
    gate = Gate()
    with pytest.raises(ZeroDivisionError), gate.admit(5):
        raise ZeroDivisionError
    with gate.admit(6, 0):
        pass

    async def fail() -> None:
        with pytest.raises(ZeroDivisionError):
            async with gate.admit(7):
                raise ZeroDivisionError
        async with gate.admit(8, 0):
            pass

    asyncio.run(fail())


def test_a_cancelled_task_neither_enters_nor_stays() -> None:
    async def cancel() -> None:
        gate, inside = Gate(), asyncio.Event()

        async def stay(token: int) -> None:
            async with gate.admit(token):
                inside.set()
                await asyncio.sleep(PATIENCE)

        first = asyncio.create_task(stay(5))
        await inside.wait()
        second = asyncio.create_task(stay(6))
        await asyncio.sleep(0)
        for task in (second, first):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with gate.admit(7, 0):
            pass

    asyncio.run(cancel())


class Ledger:
    """Takes writes that are not one step, each with one of three tokens in use by then."""

    def __init__(self, writes: int) -> None:
        self.gate = Gate()
        self.written: list[int] = []
        self.refused: list[int] = []
        rng = random.Random(7)
        self._waits = [rng.uniform(0, 0.002) for _ in range(writes)]

    def _token(self, n: int) -> int:
        return 1 + (len(self.written) + len(self.refused)) // 40 + n % 3

    def write(self, n: int) -> None:
        token = self._token(n)
        time.sleep(self._waits[n])
        try:
            with self.gate.admit(token, PATIENCE):
                time.sleep(self._waits[n])
                self.written.append(token)
        except StaleToken:
            self.refused.append(token)

    async def write_async(self, n: int) -> None:
        token = self._token(n)
        await asyncio.sleep(self._waits[n])
        try:
            async with self.gate.admit(token, PATIENCE):
                await asyncio.sleep(self._waits[n])
                self.written.append(token)
        except StaleToken:
            self.refused.append(token)


def test_threads_and_tasks_write_in_the_order_of_tokens() -> None:
    ledger = Ledger(400)

    def thread(first: int) -> None:
        for n in range(first, 400, 8):
            ledger.write(n)

    async def task(first: int) -> None:
        for n in range(first, 400, 16):
            await ledger.write_async(n)

    async def tasks(*firsts: int) -> None:
        await asyncio.gather(*map(task, firsts))

    with ThreadPoolExecutor(6) as pool:
        work: list[Future[None]] = [pool.submit(thread, n) for n in range(4)]
        loops = tasks(4, 5, 12, 13), tasks(6, 7, 14, 15)
        work += [pool.submit(asyncio.run, each) for each in loops]
        for each in work:
            each.result(4 * PATIENCE)
    assert len(ledger.written) + len(ledger.refused) == 400
    assert all(before <= after for before, after in pairwise(ledger.written))
    assert ledger.refused
    assert len(set(ledger.written)) > 5


def test_the_loop_of_who_waits_may_be_gone() -> None:
    gate, entered, go = Gate(), threading.Event(), threading.Event()

    def stay() -> None:
        with gate.admit(5):
            entered.set()
            go.wait(PATIENCE)

    async def give_up() -> None:
        task = asyncio.create_task(gate.admit(6).__aenter__())
        await asyncio.sleep(0)
        task.cancel()

    thread = threading.Thread(target=stay)
    thread.start()
    entered.wait(PATIENCE)
    asyncio.run(give_up())
    go.set()
    thread.join()
    with gate.admit(7, 0):
        pass
