"""The NAME of a group and an identity on the command line, and their completion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._name import Named

if TYPE_CHECKING:
    from coordkit import Session


class GroupName(Named):
    """What a group may be called; known are those that have members."""

    def known(self, session: Session) -> Iterable[str]:
        """Return the names of the groups."""
        return [members.name for members in session.groups()]


NAME = GroupName()
