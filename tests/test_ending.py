"""A task of ours is ended even where a cancellation gets lost."""

from __future__ import annotations

import asyncio

import pytest

from coordkit._io import ending


async def stubborn(lost: int, error: Exception | None = None) -> None:
    """Lose so many cancellations, as `asyncio.wait_for` may; then end by *error*."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            lost -= 1
            if lost < 0:
                if error is not None:
                    raise error from None
                raise


@pytest.mark.parametrize("lost", [0, 1, 3])
@pytest.mark.parametrize("error", [None, OSError("it broke as it ended")])
def test_it_ends(
    lost: int, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "AGAIN", 0.01)
    complaints: list[object] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        task = loop.create_task(stubborn(lost, error))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await ending.end(task)
        assert task.done()

    asyncio.run(run())
    assert complaints == []


def test_what_has_ended_or_never_began_is_left_alone() -> None:
    async def run() -> None:
        await ending.end(None)
        task = asyncio.create_task(asyncio.sleep(0, "done"))
        await task
        await ending.end(task)
        assert task.result() == "done"

    asyncio.run(run())
