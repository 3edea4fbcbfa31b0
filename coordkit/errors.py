"""
Every error of coordkit.

The tree says what the caller may do next::

    CoordError
    ├─ Unreachable      (ConnectionError)  no answer: it may or may not have happened
    ├─ LockTimeout      (TimeoutError)     others kept it as long as we were ready to wait
    ├─ LeaseLost                           stop acting now
    │  └─ LeadershipLost                   the same for a term
    ├─ NotHeld          (RuntimeError)     released twice, or never acquired
    ├─ StaleToken                          a newer holder was seen: you are the old one
    ├─ Overtaken                           somebody else appended first
    ├─ OutOfBounds                         a counter would have left its bounds
    ├─ NotAllAdded                         of several counters some were refused
    ├─ FenceRegression                     the store went back in time
    ├─ IdRegression                        the same: it handed out ids twice
    ├─ NoLeader         (LookupError)      nobody leads at present
    ├─ NoCandidate      (LookupError)      nobody of that identity stands for election
    ├─ NoMember         (LookupError)      nobody to pick
    ├─ StaleGroup                          what is known of the group is too old
    ├─ EmptyRing        (LookupError)      nobody to map to
    ├─ NoNode           (LookupError)      the ring has no such node
    ├─ RingChanged                         another change came first: plan again
    ├─ StaleRing                           what is known of the ring is too old
    ├─ DamagedRing                         what is stored of the ring does not fit together
    ├─ Overloaded                          every node has as much as it can take
    ├─ KeyConflict                         the name is in use by another kind of thing
    ├─ Unsupported                         this server or client cannot give the guarantee
    └─ Refused                             the server said no to the command itself
       └─ NotPermitted  (PermissionError)  its access list or password forbids it

Wrong arguments are plain `ValueError` and `TypeError`, raised before anything
is sent.  Exceptions of the Redis client never reach the surface: they are the
``__cause__`` of one of these.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Why a lease is lost."""

    EXPIRED = "expired"
    STOLEN = "stolen"
    BROKEN = "broken"
    EVICTED = "evicted"
    DATA_LOST = "data_lost"
    REVOKED = "revoked"
    UNKEPT = "unkept"
    CONFLICT = "conflict"
    FORKED = "forked"
    OVER = "over"

    @property
    def why(self) -> str:
        """What happened, in words."""
        return _WHY[self]


_WHY = {
    Reason.EXPIRED: "its deadline passed before a renewal succeeded",
    Reason.STOLEN: "another holder has it",
    Reason.BROKEN: "an operator broke it",
    Reason.EVICTED: "its key is gone from the server, evicted or deleted",
    Reason.DATA_LOST: "the server lost its data",
    Reason.REVOKED: "its holder was asked to let go",
    Reason.UNKEPT: "the keeper that renewed it has stopped",
    Reason.CONFLICT: "its key was overwritten by something else",
    Reason.FORKED: "it belongs to the process that forked this one",
    Reason.OVER: "it was to last no longer",
}


class CoordError(Exception):
    """The base of every error that coordkit raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The text is made of the attributes, so what made one cannot make it again.
        return _again, (type(self), self.args, self.__dict__)


def _again(
    kind: type[CoordError], args: tuple[Any, ...], state: dict[str, Any]
) -> CoordError:
    """Return an error that was pickled in another process."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class Unreachable(CoordError, ConnectionError):
    """
    No answer came: the change may or may not have happened.

    *sent* is False when the question provably never left this process, so that
    nothing can have happened.  *asked_at* and *heard_at* are the instants, on the
    clock of the leases, between which the answer was waited for.
    """

    def __init__(self, why: str, *, sent: bool = True) -> None:
        super().__init__(why)
        self.sent = sent
        self.asked_at = 0.0
        self.heard_at = 0.0


class LockTimeout(CoordError, TimeoutError):
    """Others kept *name* for all of *timeout* seconds."""

    def __init__(self, name: str, timeout: float) -> None:
        super().__init__(f"{name!r} was not free within {timeout:g} s")
        self.name = name
        self.timeout = timeout


class LeaseLost(CoordError):
    """The lease on *name* has ended while it was still in use: stop acting now."""

    def __init__(self, name: str, token: int, reason: Reason) -> None:
        super().__init__(f"the lease on {name!r} (token {token}) is lost: {reason.why}")
        self.name = name
        self.token = token
        self.reason = reason


class LeadershipLost(LeaseLost):
    """The term *token* of *name* has ended while its leader was still acting: stop now."""

    def __init__(self, name: str, token: int, reason: Reason) -> None:
        CoordError.__init__(
            self, f"the leadership of {name!r} (term {token}) is lost: {reason.why}"
        )
        self.name = name
        self.token = token
        self.reason = reason


class NotHeld(CoordError, RuntimeError):
    """The lease on *name* was released before, or belongs to another process."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the lease on {name!r} is not held: {why}")
        self.name = name


class StaleToken(CoordError):
    """*token* is older than *seen*: another holder has acted since."""

    def __init__(self, name: str, token: int, seen: int) -> None:
        super().__init__(
            f"token {token} for {name!r} is stale: {seen} was seen already"
        )
        self.name = name
        self.token = token
        self.seen = seen


class Overtaken(CoordError):
    """The journal of *name* has gone on to entry *last*; *expected* was another."""

    def __init__(self, name: str, expected: int, last: int) -> None:
        super().__init__(
            f"the last entry in the journal of {name!r} is {last}, not {expected}: "
            "nothing was appended"
        )
        self.name = name
        self.expected = expected
        self.last = last


class OutOfBounds(CoordError):
    """
    Adding *amount* to *name*, which stands at *value*, would have left its bounds.

    *at_least* and *at_most* are what was asked for, or those of a 64-bit integer.
    The counter is as it was.
    """

    def __init__(
        self, name: str, amount: int, value: int, *, at_least: int, at_most: int
    ) -> None:
        super().__init__(
            f"{name!r} stands at {value}: adding {amount} would leave "
            f"{at_least} to {at_most}"
        )
        self.name = name
        self.amount = amount
        self.value = value
        self.at_least = at_least
        self.at_most = at_most


class NotAllAdded(CoordError):
    """
    Of several counters only *added*, by name with their new values, were added to.

    *failed* says by name what became of the others.
    """

    def __init__(self, added: dict[str, int], failed: dict[str, CoordError]) -> None:
        first = next(iter(failed.values()), None)
        super().__init__(
            f"{len(failed)} of {len(added) + len(failed)} counters were not added to; "
            f"the first: {first}"
        )
        self.added = added
        self.failed = failed


class FenceRegression(CoordError):
    """The store handed out *token* after *seen*: it went back in time."""

    def __init__(self, name: str, token: int, seen: int) -> None:
        super().__init__(
            f"the store gave token {token} for {name!r} after {seen}: it lost data and "
            "its clock went back; no lease was taken"
        )
        self.name = name
        self.token = token
        self.seen = seen


class IdRegression(CoordError):
    """
    The store handed out id *first* of *name* after *last*: it lost data.

    What is handed out from now on may have been handed out before, until it is told
    where to go on (`Session.ids`, *start*).
    """

    def __init__(self, name: str, first: int, last: int) -> None:
        super().__init__(
            f"the store gave id {first} for {name!r} after {last}: it lost data; go on "
            f"with start={last + 1} or higher"
        )
        self.name = name
        self.first = first
        self.last = last


class NoLeader(CoordError, LookupError):
    """Nobody leads at present."""


class NoCandidate(CoordError, LookupError):
    """Nobody, or more than one, of that *identity* stands for the election *name*."""

    def __init__(self, name: str, identity: str, why: str) -> None:
        super().__init__(f"{identity!r} cannot be elected {name!r}: {why}")
        self.name = name
        self.identity = identity


class NoMember(CoordError, LookupError):
    """No member of the group *name* may be picked."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"nobody of the group {name!r} can be picked: {why}")
        self.name = name


class StaleGroup(CoordError):
    """What this process knows of the group *name* is too old to go by, or nothing yet."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the group {name!r} is not known well enough: {why}")
        self.name = name


class EmptyRing(CoordError, LookupError):
    """The ring has no node to map to, or there is no such ring."""


class NoNode(CoordError, LookupError):
    """The ring *name* has no node *node*."""

    def __init__(self, name: str, node: str) -> None:
        super().__init__(f"the ring {name!r} has no node {node!r}")
        self.name = name
        self.node = node


class RingChanged(CoordError):
    """The ring *name* is at *version*, no longer at *expected*: nothing was changed."""

    def __init__(self, name: str, expected: int, version: int) -> None:
        now = f"at version {version}" if version else "gone"
        super().__init__(
            f"the ring {name!r} is {now}, no longer at version {expected}: plan again"
        )
        self.name = name
        self.expected = expected
        self.version = version


class StaleRing(CoordError):
    """What this process knows of the ring *name* is too old to go by, or nothing yet."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the ring {name!r} is not known well enough: {why}")
        self.name = name


class DamagedRing(CoordError):
    """What is stored of the ring *name* does not fit together; `verify` says how."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the ring {name!r} is damaged: {why}")
        self.name = name
        self.why = why


class Overloaded(CoordError):
    """The ring *name* has *load* keys assigned and takes *most*: refuse, or add nodes."""

    def __init__(self, name: str, load: int, most: int) -> None:
        super().__init__(
            f"the ring {name!r} is full: {load} assigned, of at most {most}"
        )
        self.name = name
        self.load = load
        self.most = most


class KeyConflict(CoordError):
    """The name is in use by another kind of thing."""


class Unsupported(CoordError):
    """This server or client cannot give the guarantee; the text says which."""


class Refused(CoordError):
    """The server answered the command with an error, and did nothing."""


class NotPermitted(Refused, PermissionError):
    """The server's access list or password check forbids the command."""
