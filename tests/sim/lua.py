"""
The Lua interpreter in which simulated servers run their scripts.

There is one for the process, since making one and compiling every script costs more
than an episode.  That is sound because a script cannot write to anything that
outlives its run (`sandbox.lua`); each distinct source text is compiled once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from lupa.lua51 import LuaError, LuaRuntime, lua_type

from sim.keyspace import ScriptBug, ServerError

Invoke = Callable[..., Any]


class Machine:
    """Compile scripts and run them; `invoke` answers their ``redis.call``."""

    def __init__(self) -> None:
        # One by one, these are unknown to the type stubs that pyright brings along.
        options: dict[str, Any] = {
            "encoding": None,
            "unpack_returned_tuples": True,
            "register_eval": False,
            "register_builtins": False,
        }
        self._lua: Any = LuaRuntime(**options)
        self._bugs: list[str] = []
        sandbox = Path(__file__).with_name("sandbox.lua").read_bytes()
        self._compile, self._run, self._spell = self._lua.execute(
            sandbox, self.report, self._sha1hex, self._encode, self._decode
        )
        self._compiled: dict[tuple[str, str], Any] = {}

    def report(self, text: bytes) -> None:
        """Note what a script must never do, however it goes on."""
        self._bugs.append(text.decode(errors="replace"))

    def table(self, items: list[Any]) -> Any:
        """A Lua array."""
        return self._lua.table_from(items)

    def compile(self, name: str, source: str) -> Any:
        """The script as a Lua function; *name* is for its error messages."""
        known = self._compiled.get((name, source))
        if known is None:
            try:
                known = self._compile(source.encode(), name.encode())
            except LuaError as error:
                raise ScriptBug(f"{name} does not compile: {error}") from error
            self._compiled[name, source] = known
        return known

    def run(
        self, invoke: Invoke, script: Any, keys: list[bytes], args: list[bytes]
    ) -> Any:
        """Run a compiled script; return what redis-py would make of its reply."""
        kind, *parts = self._run(invoke, script, len(keys), *keys, *args)
        if self._bugs:
            bugs = "; ".join(dict.fromkeys(self._bugs))
            self._bugs.clear()
            raise ScriptBug(bugs)
        if kind == b"list":
            items = parts[1:]
            return [
                item if type(item) is bytes else self._plain(item) for item in items
            ]
        if kind == b"error":
            raise ServerError(parts[0].decode(errors="replace"))
        return self._plain(parts[0])

    def _plain(self, value: Any) -> Any:
        if value is None or value is False:
            return None
        if value is True:
            return 1
        if isinstance(value, (bytes, int)):
            return value
        if isinstance(value, float):
            return int(value)
        if lua_type(value) != "table":
            return None
        kind, *parts = self._spell(value)
        if kind == b"error":
            return ServerError(parts[0].decode(errors="replace"))
        if kind == b"list":
            return [self._plain(item) for item in parts[1:]]
        return self._plain(parts[0])

    @staticmethod
    def _sha1hex(text: bytes) -> bytes:
        return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()

    def _encode(self, value: Any) -> bytes:
        return json.dumps(self._unlua(value), separators=(",", ":")).encode()

    def _unlua(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if lua_type(value) != "table":
            raise TypeError("cjson cannot spell this value")
        pairs = dict(value.items())
        if pairs and all(isinstance(key, int) for key in pairs):
            return [self._unlua(pairs[i]) for i in range(1, len(pairs) + 1)]
        return {
            key.decode() if isinstance(key, bytes) else str(key): self._unlua(part)
            for key, part in pairs.items()
        }

    def _decode(self, text: bytes) -> Any:
        return self._lua_of(json.loads(text))

    def _lua_of(self, value: Any) -> Any:
        if value is None:
            raise ValueError("the simulator's cjson knows no null")
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, list):
            return self._lua.table_from([self._lua_of(part) for part in value])
        if isinstance(value, dict):
            pairs = {key.encode(): self._lua_of(part) for key, part in value.items()}
            return self._lua.table_from(pairs)
        return value


@cache
def machine() -> Machine:
    """The one interpreter of this process."""
    return Machine()
