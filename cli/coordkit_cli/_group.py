"""The process group of a command: what it has started and what has stayed with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

_PROC = "/proc"


class Group:
    """The group that the process *leader* has founded."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def signal(self, signum: int) -> None:
        """Send this signal to every member that we may send it to."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.leader, signum)

    def runs(self) -> bool:
        """
        Whether a member still runs; one that is dead, but not reaped, does not.

        The system gives the number of a group to nobody while it has a member.  So
        neither this nor `signal` may be asked again after the answer was no.
        """
        seen = True
        try:
            os.killpg(self.leader, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # those of another user; for macOS, the dead too
            seen = False
        if not os.path.exists(f"{_PROC}/self/stat"):
            return seen
        # Where the first process of a container reaps nobody, the dead stay for ever.
        return any(state not in b"ZX" for state in self._states())

    def _states(self) -> Iterator[bytes]:
        """Yield the state of each member, as one letter."""
        for name in filter(str.isdigit, os.listdir(_PROC)):
            try:
                with open(f"{_PROC}/{name}/stat", "rb") as stat:
                    # Its name comes before, in brackets, and may hold anything.
                    state, _, group, *_ = stat.read().rpartition(b")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            if int(group) == self.leader:
                yield state
