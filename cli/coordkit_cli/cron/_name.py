"""The NAME of a cron on the command line, and its completion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._name import Name

if TYPE_CHECKING:
    from coordkit import Session
    from coordkit._core.cron import Cron


class CronName(Name):
    """What a cron may be called; known are those that were ever run."""

    def checked(self, value: str) -> str:
        """Return *value* if it can be a name, else raise ValueError."""
        from coordkit._core.cron import cron

        return cron("default", value, 0.0).name

    def known(self, session: Session) -> Iterable[str]:
        """Return the names that were ever run."""
        from coordkit._core.cron import listing

        engine = session._engine
        found = engine.run(listing(session.namespace, engine.timeout))
        return [name for name, _ in found]


NAME = CronName()


def of(session: Session, name: str) -> Cron:
    """Return the cron *name* of a session's namespace."""
    from coordkit._core.cron import cron

    return cron(session.namespace, name, session._engine.timeout)
