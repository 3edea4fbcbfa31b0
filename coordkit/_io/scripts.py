"""The Lua scripts that ship with coordkit, and how to call one."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

import hiredis

from .._core.ops import Call

#: hiredis says that a command is a tuple of one.
_pack: Any = getattr(hiredis, "pack_command")  # noqa: B009  # so that it is Any


def pack(command: tuple[Any, ...]) -> bytes:
    """Return a command as it is sent."""
    packed: bytes = _pack(command)
    return packed


#: What precedes a question to a node that is only just taking its slot over.
ASKING = pack(("ASKING",))


class Script(NamedTuple):
    """A script and the digest that the server knows it by."""

    source: str
    sha: str


def _load() -> dict[str, Script]:
    found: dict[str, Script] = {}
    for entry in files("coordkit._lua").iterdir():
        if entry.name.endswith(".lua"):
            source = entry.read_text("utf-8")
            # SHA-1 is the server's choice of name for a script, not a safeguard.
            sha = sha1(source.encode(), usedforsecurity=False).hexdigest()
            found[entry.name.removesuffix(".lua")] = Script(source, sha)
    return found


SCRIPTS: dict[str, Script] = _load()


def by_digest(call: Call) -> tuple[Any, ...]:
    """Return the command that runs a script which the server has seen before."""
    return (
        "EVALSHA",
        SCRIPTS[call.script].sha,
        len(call.keys),
        *call.keys,
        *call.args,
    )


def by_source(call: Call) -> tuple[Any, ...]:
    """
    Return the command that runs a script which the server has not seen.

    Only after NOSCRIPT, which proves that nothing ran.
    """
    return (
        "EVAL",
        SCRIPTS[call.script].source,
        len(call.keys),
        *call.keys,
        *call.args,
    )
