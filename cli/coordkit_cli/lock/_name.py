"""The NAME of a lock on the command line, and its completion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._name import Name

if TYPE_CHECKING:
    from coordkit import Session


class LockName(Name):
    """What a lock may be called; known are those that are held."""

    def checked(self, value: str) -> str:
        """Return *value* if it can be a name, else raise ValueError."""
        from coordkit._core.keys import check_name

        return check_name(value)

    def known(self, session: Session) -> Iterable[str]:
        """Return the names of the locks that are held."""
        return [info.name for info in session.locks()]


NAME = LockName()
