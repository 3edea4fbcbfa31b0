"""Turns what redis-py raises into what coordkit means."""

from __future__ import annotations

from typing import Any

# The module, not its names: its TimeoutError and ConnectionError shadow the builtins.
from redis import exceptions as rx

from ..errors import (
    CoordError,
    KeyConflict,
    NotPermitted,
    Refused,
    Unreachable,
    Unsupported,
)

#: The server says that it cannot answer at present, and that it did nothing.
_NOT_NOW = ("LOADING", "BUSY ")
#: The same, said inside a script: Redis 6.2 puts it at the end of its message.
_NOT_NOW_INSIDE = (
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",  # fewer than min-replicas-to-write
    "MISCONF",  # it cannot save, and stop-writes-on-bgsave-error
)
_NOT_NOW_TYPES = (
    rx.BusyLoadingError,
    rx.ReadOnlyError,
    rx.ClusterDownError,
    rx.TryAgainError,
    rx.MasterDownError,
)
_FORBIDDEN = (
    "NOPERM",
    "NOAUTH",
    "unauthenticated",
    "WRONGPASS",
    "ACL failure",
    "has no permissions",
    # inside a script, Redis 7.0
    "can't run this command",
    "can't access at least one of the",
)
#: Everything that a connection may raise for want of an answer.
NO_ANSWER = (rx.ConnectionError, rx.TimeoutError, OSError)


class Redirected(Unsupported):
    """Another node of a cluster serves these keys: nothing was done here."""

    def __init__(self, host: str, port: int, *, asking: bool) -> None:
        super().__init__(
            "the server is part of a cluster: connect with redis+cluster://"
        )
        self.node = host, port
        #: the slot is only just moving there: it is served to who says ASKING
        self.asking = asking


def coord_error(exc: Exception, where: str, *, sent: bool) -> CoordError:
    """Return what *exc* means; *sent* tells whether the question had left us."""
    message = str(exc) or "it was silent for too long"
    if isinstance(exc, rx.AuthenticationError | rx.AuthorizationError) or any(
        word in message for word in _FORBIDDEN
    ):
        return NotPermitted(f"{where}: {message}")
    if (
        message.startswith(_NOT_NOW)
        or any(word in message for word in _NOT_NOW_INSIDE)
        or isinstance(exc, _NOT_NOW_TYPES)
    ):
        return Unreachable(f"{where} cannot answer now: {message}", sent=False)
    if isinstance(exc, rx.MovedError | rx.AskError):
        to: Any = exc
        asking = not isinstance(exc, rx.MovedError)
        return Redirected(to.host, int(to.port), asking=asking)
    if "WRONGTYPE" in message:
        return KeyConflict(f"{where}: a key of ours holds another kind of value")
    if isinstance(exc, rx.ResponseError):
        return _refusal(message, where)
    return Unreachable(f"no answer from {where}: {message}", sent=sent)


def _refusal(message: str, where: str) -> CoordError:
    if "OOM " in message or "used memory > 'maxmemory'" in message:
        return Refused(f"{where} is out of memory and refuses to write: {message}")
    if "unknown command" in message and "EVAL" in message.upper():
        return Unsupported(f"{where} runs no Lua scripts: {message}")
    return Refused(f"{where} refused: {message}")
