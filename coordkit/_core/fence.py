"""The fence: checks the tokens that a lock hands out."""

from __future__ import annotations

from ..errors import StaleToken
from .keys import check_name
from .ops import Call, Op
from .reply import number, text

#: How long a question may take; the caller is in the middle of its work.
TIMEOUT = 2.0
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


def admit(
    name: str, key: str, token: int, field: str = "", value: bytes = b""
) -> Op[None]:
    """Admit *token*, and write with it; `StaleToken` when a newer one was seen."""
    reply = yield Call("fence_check", (key,), (token, field, value), TIMEOUT)
    if text(reply.value[0]) != "admitted":
        raise StaleToken(name, token, number(reply.value[1]))


def write(name: str, key: str, token: int, field: str, value: str | bytes) -> Op[None]:
    """Check the arguments, then `admit`."""
    return admit(
        name, key, token_number(token), check_name(field, "field"), stored_value(value)
    )


def get(key: str, field: str) -> Op[bytes | None]:
    """Return what was written last, as bytes; None when nothing was."""
    reply = yield Call("fence_get", (key,), (field,), TIMEOUT)
    value: bytes | None = reply.value[1]
    return value


def seen(key: str) -> Op[int]:
    """Return the highest token admitted so far; 0 when there is none."""
    reply = yield Call("fence_get", (key,), ("",), TIMEOUT)
    return number(reply.value[0])
