"""The health of a candidate, as a command of its own says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from subprocess import DEVNULL
from threading import Event, Thread
from typing import Self

from .._script import Script

#: How often it is looked whether a script is to be ended, because all is over.
LOOK = 0.1


class Health:
    """
    Runs a script every so many seconds; use it as a context manager.

    So many failures in a row make this candidate unfit, and one success makes it fit
    again.  Before the first success it is unfit.  Without a script it is always fit.
    """

    def __init__(
        self,
        script: str | None,
        every: float,
        fails: int,
        environ: Mapping[str, str],
        changed: Callable[[], None],
    ) -> None:
        self._script = script
        self._every = every
        self._fails = fails
        self._environ = environ
        self._changed = changed
        #: why it is not to lead; "" while it may
        self.unfit = "" if script is None else "its health is not known yet"
        #: why it is unwell; "" also while that is not known
        self.unwell = ""
        self._fit = Event()
        self._over = Event()
        self._thread = Thread(target=self._watch, name="coordkit-health", daemon=True)

    def await_fit(self) -> None:
        """Wait until it may lead."""
        while self.unfit:
            self._fit.wait(1.0)

    def __enter__(self) -> Self:
        if self._script is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        in_a_row = 0
        while not self._over.is_set():
            why = self._asked()
            in_a_row = in_a_row + 1 if why else 0
            if not why:
                self._become("")
            elif in_a_row >= self._fails or self.unfit:
                self._become(f"unhealthy: {why}")
            self._over.wait(self._every)

    def _become(self, unfit: str) -> None:
        self.unfit = self.unwell = unfit
        if unfit:
            self._fit.clear()
            self._changed()
        else:
            self._fit.set()

    def _asked(self) -> str:
        """Run the script once; return what is wrong, if anything is."""
        try:
            asked = Script(self._script or "", self._environ, DEVNULL)
        except OSError as error:
            return f"the health command cannot be run: {error.strerror}"
        waited = 0.0
        while waited < self._every and not self._over.is_set():
            nap = min(LOOK, self._every - waited)
            code = asked.wait(nap)
            if code is not None:
                return f"the health command has failed, exit {code}" if code else ""
            waited += nap
        asked.kill()
        return f"the health command took longer than {self._every:g}s"
