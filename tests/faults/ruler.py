"""What this machine cannot do better: how late it wakes up a thread that slept."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from support.history import now

STEP = 0.002


class Ruler:
    """
    Measures, while it is entered, the worst delay of a thread that only sleeps.

    A promise "within 50 ms" is one about our code, on a machine that runs it: what a
    bare sleeper suffered in the same seconds is the machine's own.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def _measure(self) -> None:
        while not self._over.is_set():
            began = now()
            time.sleep(STEP)
            self.worst = max(self.worst, now() - began - STEP)

    def __enter__(self) -> Self:
        self.began = now()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def elapsed(self) -> float:
        """Seconds since it was entered."""
        return now() - self.began

    def within(self, seconds: float) -> None:
        """Fail if more than *seconds* have passed, the machine's own delay aside."""
        self.judge(self.elapsed, seconds)

    def judge(self, took: float, seconds: float) -> None:
        """Fail if what *took* so long took more than *seconds*."""
        assert took <= seconds + self.worst, (
            f"took {took:.3f} s instead of {seconds:g} s "
            f"(the machine was up to {self.worst:.3f} s late)"
        )
