"""The fence: checks the tokens that a lock hands out."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import StaleToken
from .asking import ask, insist
from .keys import check_name
from .ops import Call, Op
from .reply import number, text

LARGEST_VALUE = 65_536
#: Tokens are exact up to here in JSON, Lua and SQL alike.
LARGEST_TOKEN = 2**53


def token_number(token: int) -> int:
    """Return *token* if it can be one: an int between 1 and 2^53."""
    if isinstance(token, bool) or not isinstance(token, int):
        raise TypeError(f"a token is an int, not {type(token).__name__}: {token!r}")
    if not 1 <= token <= LARGEST_TOKEN:
        raise ValueError(f"token {token} is not between 1 and {LARGEST_TOKEN}")
    return token


def stored_value(value: str | bytes) -> bytes:
    """Return *value* as it is stored: at most 64 KiB."""
    if not isinstance(value, str | bytes):
        raise TypeError(
            f"a value is a str or bytes, not {type(value).__name__}: {value!r:.80}"
        )
    stored = value.encode() if isinstance(value, str) else value
    if len(stored) > LARGEST_VALUE:
        raise ValueError(
            f"the value is {len(stored)} bytes long; allowed are {LARGEST_VALUE}"
        )
    return stored


@dataclass(frozen=True, slots=True)
class Guard:
    """One fence: its name, its key, and how long a question may take, in seconds."""

    name: str
    key: str
    timeout: float

    def check(self, token: int) -> Op[None]:
        """Admit *token*; `StaleToken` when a newer one was seen."""
        return self._admit(token_number(token))

    def set(self, field: str, value: str | bytes, token: int) -> Op[None]:
        """Write *value* if *token* is admitted; else `StaleToken`."""
        admitted = token_number(token)
        return self._admit(admitted, check_name(field, "field"), stored_value(value))

    def get(self, field: str) -> Op[bytes | None]:
        """Return what was written last, as bytes; None when nothing was."""
        return self._get(check_name(field, "field"))

    def seen(self) -> Op[int]:
        """Return the highest token admitted so far; 0 when there is none."""
        reply = yield from ask(Call("fence_get", (self.key,), ("",), self.timeout))
        return number(reply.value[0])

    def _admit(self, token: int, field: str = "", value: bytes = b"") -> Op[None]:
        args = (token, field, value)
        call = Call("fence_check", (self.key,), args, self.timeout)
        reply = yield from insist(call)
        if text(reply.value[0]) != "admitted":
            raise StaleToken(self.name, token, number(reply.value[1]))

    def _get(self, field: str) -> Op[bytes | None]:
        reply = yield from ask(Call("fence_get", (self.key,), (field,), self.timeout))
        value: bytes | None = reply.value[1]
        return value
