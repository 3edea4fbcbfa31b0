"""
How a change is made once, however often it is asked for.

Each request has a lane to itself, and a number in it.  The server remembers of a lane
the last request that it answered, and what it answered: asked again, it says the same
and changes nothing, and what is older than that comes too late.  So what it remembers
grows with how many requests are under way at once, not with how many there were.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import count
from zlib import crc32

from ..errors import Unreachable
from .keys import check_name

#: A retry may be held up, in a server or a client that stands still, for so long.  After
#: that a request that was answered, but whose answer was lost, would be counted again.
REMEMBERED_MS = 600_000
#: The same for a request whose id the caller has chosen: for so long it may come back.
CHOSEN_MS = 86_400_000


class Lane:
    """A lane in the hands of one request: *id*, and *seq*, the request's number in it."""

    __slots__ = ("id", "kept_ms", "seq", "session", "spread")

    def __init__(self, identifier: str, session: str, kept_ms: int) -> None:
        self.id = identifier
        self.seq = 0
        self.session = session
        self.kept_ms = kept_ms
        #: a number that scatters lanes over whatever is in several parts
        self.spread = crc32(identifier.encode())


class Lanes:
    """The lanes of one session: as many as requests were under way at once."""

    def __init__(self) -> None:
        self.restart("")

    def restart(self, session: str) -> None:
        """Forget all lanes; *session* tells the next ones from those of all others."""
        self._session = session
        # Last in, first out: few lanes stay in use.
        self._free: list[Lane] = []
        self._numbers = count()

    def take(self) -> Lane:
        """Return a lane for one request, which gives it back, whatever becomes of it."""
        try:
            lane = self._free.pop()
        except IndexError:
            number = next(self._numbers)
            lane = Lane(lane_id(self._session, number), self._session, REMEMBERED_MS)
        lane.seq += 1
        return lane

    def give(self, lane: Lane) -> None:
        """Have another request use the lane; a straggler of the last one is too late then."""
        if lane.session == self._session:
            self._free.append(lane)


def lane_id(session: str, number: int) -> str:
    """Return what the server knows a session's lane by."""
    return f"{session}-{number}"


def chosen(name: str, rid: str) -> Lane:
    """Return the lane of a request about *name* whose id the caller has chosen."""
    told = f"{name}\n{check_name(rid, 'rid')}".encode()
    lane = Lane(blake2b(told, digest_size=16).hexdigest(), "", CHOSEN_MS)
    lane.seq = 1
    return lane


def too_late(name: str) -> Unreachable:
    """Return the error of a request that its lane has gone on from."""
    return Unreachable(
        f"a later request was answered before this one about {name!r}: it may have been "
        "made, and is not made again"
    )
