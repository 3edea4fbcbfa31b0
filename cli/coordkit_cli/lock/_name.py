"""The NAME of a lock on the command line, and its completion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._name import Named

if TYPE_CHECKING:
    from coordkit import Session


class LockName(Named):
    """What a lock may be called; known are those that are held."""

    def known(self, session: Session) -> Iterable[str]:
        """Return the names of the locks that are held."""
        return [info.name for info in session.locks()]


NAME = LockName()
