"""One bad day for both flavours: what takes seconds to happen, happens once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

from contract.flavours import APIS, PATIENCE, Api


class Happened:
    """Steps of a story that several threads tell, each waited for by the others."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], Event] = {}

    def _step(self, flavour: str, step: str) -> Event:
        return self._steps.setdefault((flavour, step), Event())

    def say(self, flavour: str, step: str) -> None:
        """Tell that one flavour has come so far."""
        self._step(flavour, step).set()

    async def hear(self, api: Api, step: str) -> None:
        """Wait, in the way of a flavour, until *step* was announced to it."""
        await api.until(self._step(api.name, step).is_set, timeout=PATIENCE)


class Story:
    """A scene that is played in both flavours at once, and the steps between."""

    def __init__(
        self, scene: Callable[[Api, Story], Coroutine[Any, Any, None]]
    ) -> None:
        self._happened = Happened()
        self._pool = ThreadPoolExecutor(len(FLAVOURS))
        self._playing: dict[str, Future[None]] = {
            name: self._pool.submit(self._play, APIS[name](), scene)
            for name in FLAVOURS
        }

    def _play(
        self, api: Api, scene: Callable[[Api, Story], Coroutine[Any, Any, None]]
    ) -> None:
        api.run(scene(api, self))

    # -- for the scenes --

    def reach(self, api: Api, step: str) -> None:
        """Announce that this flavour has come to *step*."""
        self._happened.say(api.name, step)

    async def after(self, api: Api, step: str) -> None:
        """Wait until the test has announced *step*."""
        await self._happened.hear(api, f"test: {step}")

    # -- for the test --

    def wait(self, step: str) -> None:
        """Wait until both have come to *step*; raise what stopped one of them."""
        for name, playing in self._playing.items():
            reached = self._happened._step(name, step)
            while not reached.wait(0.02):
                assert not playing.done() or playing.result(), f"{name}: no {step!r}"

    def go(self, step: str) -> None:
        """Announce *step* to both."""
        for name in FLAVOURS:
            self._happened.say(name, f"test: {step}")

    def end(self) -> None:
        """Wait for both, and raise what went wrong in either."""
        for playing in self._playing.values():
            playing.result(2 * PATIENCE)

    def close(self) -> None:
        """Wait until both have ended, however."""
        self._pool.shutdown()


FLAVOURS = ("sync", "async")


@contextmanager
def playing(
    scene: Callable[[Api, Story], Coroutine[Any, Any, None]],
) -> Generator[Story]:
    """Play *scene* in both flavours beside the body; raise what goes wrong in them."""
    story = Story(scene)
    try:
        yield story
        story.end()
    finally:
        story.close()
