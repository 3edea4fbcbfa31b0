"""
A Redis in a dict, on a clock that is handed in, running the shipped Lua files.

    store = Store(clock=lambda: 1_700_000_000_000_000)    # µs since 1970
    store.run("lock_acquire", ["{1}:lock", …], ["rid", 5000, …])   # [b"taken", b"17…"]

A run is atomic and its clock stands still, as in Redis 7.  Replies come as redis-py
hands them over with ``decode_responses=False``: bytes, int, None, list.  A script that
the server would refuse raises `ServerError`, whose text starts with the code.  A script
that is *wrong* raises `ScriptBug`, even where it caught the error with pcall: its own
run-time errors, an undeclared global, a key that is not in KEYS, an unknown command,
a wrong number of arguments.

What it does not do: replicate, persist, evict, run out of memory, check an access list,
or check that the keys of a script share a hash slot.  Numbers are spelled as Redis 7.0
spells them (``%.17g``); since 7.2 fractions and numbers from 1e17 look different.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from sim.commands import COMMANDS, Command, Status
from sim.keyspace import Keyspace, ScriptBug, ServerError, spell
from sim.lists import LISTS
from sim.lua import machine
from sim.streams import STREAMS
from sim.zcommands import ZCOMMANDS

__all__ = ["ScriptBug", "ServerError", "Store"]

_KNOWN: dict[bytes, Command] = COMMANDS | LISTS | ZCOMMANDS | STREAMS

LONGEST_TUPLE = 1000
"""A longer list goes to Lua as a table: it would not fit on Lua's stack."""


@cache
def shipped(script: str) -> str:
    """The source of a script of coordkit."""
    return files("coordkit._lua").joinpath(f"{script}.lua").read_text("utf-8")


class Store:
    """
    One server's data.

    *sources* replaces or adds scripts by name, for mutants and for tests.  *publish*
    is asked at every PUBLISH and returns the number of receivers; `published` lists
    the channels and messages in any case.  *clock* is the server's wall clock, in whole
    microseconds; it may go back.
    """

    def __init__(
        self,
        sources: Mapping[str, str] | None = None,
        publish: Callable[[bytes, bytes], int] | None = None,
        clock: Callable[[], int] = lambda: 0,
    ) -> None:
        self.db = Keyspace()
        self.db.publish = self._publish
        self.published: list[tuple[bytes, bytes]] = []
        self._receivers = publish
        self._clock = clock
        self._sources = dict(sources or {})
        self._scripts: dict[str, Any] = {}
        self._machine = machine()

    def run(
        self, script: str, keys: Iterable[str], args: Iterable[str | bytes | int]
    ) -> Any:
        """Run a script by name."""
        compiled = self._scripts.get(script)
        if compiled is None:
            source = self._sources.get(script) or shipped(script)
            compiled = self._machine.compile(script, source)
            self._scripts[script] = compiled
        names = [key.encode() for key in keys]
        self.db.declared = set(names)
        self._look_at_the_clock()
        try:
            return self._machine.run(
                self._invoke,
                compiled,
                names,
                [arg if type(arg) is bytes else str(arg).encode() for arg in args],
            )
        except ScriptBug as bug:
            bug.add_note(f"in {script}, KEYS = {names}, ARGV = {list(args)}")
            raise

    def keys(self) -> list[bytes]:
        """Every key that has not ended, sorted."""
        self._look_at_the_clock()
        self.db.sweep()
        return sorted(self.db.data)

    def do(self, command: str, *args: str | bytes | float) -> Any:
        """Run one command as an operator would, on any key (reply as from a script)."""
        words = [
            word if isinstance(word, bytes) else str(word).encode() for word in args
        ]
        self.db.declared = set(words)
        self._look_at_the_clock()
        reply = _KNOWN[command.upper().encode()](self.db, *words)
        return bytes(reply) if isinstance(reply, Status) else reply

    def flush(self) -> None:
        """Lose everything."""
        self.db.clear()

    def _look_at_the_clock(self) -> None:
        self.db.now_us = micros = self._clock()
        self.db.now_ms = micros // 1000

    def _publish(self, channel: bytes, message: bytes) -> int:
        self.published.append((channel, message))
        return self._receivers(channel, message) if self._receivers else 0

    def _invoke(self, name: bytes = b"", *args: Any) -> Any:
        """Answer one ``redis.call`` in the form that `sandbox.lua` settles."""
        command = _KNOWN.get(name) or _KNOWN.get(name.upper())  # either case will do
        if command is None:
            return self._bug(f"the simulator knows no command {name!r}")
        for arg in args:
            if type(arg) is not bytes:
                args = tuple([a if type(a) is bytes else _word(a) for a in args])
                break
        try:
            reply = command(self.db, *args)
        except ServerError as error:
            return None, b"err", str(error).encode()
        except (ScriptBug, TypeError) as error:
            return self._bug(f"{name.decode()}{args}: {error}")
        kind = type(reply)
        if kind is bytes or kind is int:
            return reply
        if reply is None:
            return False
        if isinstance(reply, list):
            items = [self._item(item) for item in reply]
            if len(items) > LONGEST_TUPLE:
                return self._machine.table(items)
            return True, *items
        return None, b"ok", reply

    def _item(self, item: Any) -> Any:
        if isinstance(item, list):
            return self._machine.table([self._item(each) for each in item])
        return False if item is None else item

    def _bug(self, text: str) -> Any:
        self._machine.report(text.encode())
        return None, b"err", b"ERR " + text.encode()


def _word(arg: Any) -> bytes:
    """An argument of ``redis.call`` as Redis reads it."""
    if type(arg) is int or type(arg) is float:
        return spell(arg)
    raise TypeError("redis.call takes strings and numbers")
