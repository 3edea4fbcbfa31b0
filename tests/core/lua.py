"""The Lua scripts, taken apart: header and body, keys and words, globals."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lupa import lua51

import coordkit

_CALL = re.compile(r"redis\.p?call\(")
_WORD = re.compile(r"'([a-z_ ]{3,})'")


class Script(NamedTuple):
    """One script."""

    name: str
    source: str

    @property
    def header(self) -> list[str]:
        """The comment that it begins with."""
        lines = self.source.splitlines()
        end = next(n for n, line in enumerate(lines) if not line.startswith("--"))
        return lines[:end]

    @property
    def body(self) -> str:
        """The code, without comments."""
        code = self.source.splitlines()[len(self.header) :]
        return "\n".join(re.sub(r"\s*--.*", "", line) for line in code)

    def described(self, table: str) -> dict[str, str]:
        """What the header says of KEYS or ARGV: each index, and the first word on it."""
        line = re.compile(rf"--   {table}\[(.+?)\]\s+(\S+)")
        found = [line.match(text) for text in self.header]
        pairs = [(match[1], match[2]) for match in found if match]
        assert len(pairs) == len(dict(pairs)), "described twice"
        return dict(pairs)

    @property
    def returns(self) -> str:
        """All that the header says of what is returned."""
        text = "\n".join(line.removeprefix("--").strip() for line in self.header)
        return text.partition("\nreturns ")[2].partition("\npublishes ")[0]

    def told(self, *, with_others: bool = False) -> set[str]:
        """The words that the header says are answered, as those of another script too."""
        words = set(_WORD.findall(self.returns))
        for other in re.findall(r"\bas (\w+_\w+)", self.returns) if with_others else ():
            words |= SCRIPTS[other].told()
        return words

    def calls(self) -> Iterator[tuple[str, list[str]]]:
        """Each ``redis.call``: its command, and the texts of its arguments."""
        for found in _CALL.finditer(self.body):
            command, *arguments = _arguments(self.body, found.end())[0]
            yield command.strip("'"), arguments

    def answers(self) -> set[str]:
        """The words that the body can answer: its literals, but for commands and comparisons."""
        code = re.sub(r"[=~]= '[^']*'", "", self.body)
        while found := _CALL.search(code):
            end = _arguments(code, found.end())[1]
            code = code[: found.start()] + code[end:]
        words = set(_WORD.findall(code))
        return words | TOMBS if "return {before}" in code else words

    def globals(self) -> tuple[set[str], set[str]]:
        """The globals that the script reads, and those that it assigns."""
        bytes_only: dict[str, Any] = {"encoding": None}
        lua: Any = lua51.LuaRuntime(**bytes_only)
        dump = lua.eval(
            "function(text) return string.dump(assert(loadstring(text))) end"
        )
        return _Bytecode(dump(self.source.encode())).globals()


def place(index: str) -> tuple[int, int]:
    """What an index of a header means: by how much it grows with i, and where it begins."""
    one = re.fullmatch(r"(\d+)", index)
    if one:
        return 0, int(one[1])
    many = re.fullmatch(r"(?:(\d+)\*)?i([+-]\d+)?", index)
    assert many, index
    stride = int(many[1] or 1)
    return stride, stride + int(many[2] or 0)


def _arguments(code: str, start: int) -> tuple[list[str], int]:
    """The arguments of the call whose bracket is open before *start*; where it closes."""
    depth, quoted, pieces, at = 1, False, [""], start
    while True:
        character = code[at]
        quoted ^= character == "'"
        if not quoted:
            depth += (character in "({[") - (character in ")}]")
        if depth == 0:
            return [piece.strip() for piece in pieces], at + 1
        if depth == 1 and character == "," and not quoted:
            pieces.append("")
        else:
            pieces[-1] += character
        at += 1


class _Bytecode:
    """
    What ``string.dump`` of Lua 5.1 writes, on a machine of 64 bits, little-endian.

    After 12 bytes of its own comes a function: where it stands, four bytes, then its
    instructions, its constants, the functions inside of it, and names for debugging.
    """

    GETGLOBAL, SETGLOBAL = 5, 7

    def __init__(self, code: bytes) -> None:
        self._code = code
        self._at = 12
        self._found: dict[int, set[str]] = {
            self.GETGLOBAL: set(),
            self.SETGLOBAL: set(),
        }

    def globals(self) -> tuple[set[str], set[str]]:
        """The globals that are read, and those that are assigned."""
        self._function()
        assert self._at == len(self._code), "not all of it was understood"
        return self._found[self.GETGLOBAL], self._found[self.SETGLOBAL]

    def _function(self) -> None:
        self._text()
        self._take("ii4B")
        instructions = [self._take("I") for _ in range(self._take("i"))]
        constants = [self._constant() for _ in range(self._take("i"))]
        for instruction in instructions:
            if instruction & 0x3F in self._found:
                self._found[instruction & 0x3F].add(str(constants[instruction >> 14]))
        for _ in range(self._take("i")):
            self._function()
        self._take(f"{self._take('i')}i")  # lines
        for _ in range(self._take("i")):
            self._text()  # locals
            self._take("ii")
        for _ in range(self._take("i")):
            self._text()  # upvalues

    def _constant(self) -> Any:
        match self._take("B"):
            case 0:
                return None
            case 1:
                return self._take("B")
            case 3:
                return self._take("d")
            case _:
                return self._text()

    def _text(self) -> str:
        size = self._take("Q")
        self._at += size
        return self._code[self._at - size : self._at].rstrip(b"\0").decode()

    def _take(self, form: str) -> Any:
        values = struct.unpack_from("<" + form, self._code, self._at)
        self._at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values


SCRIPTS = {
    path.stem: Script(path.stem, path.read_text("utf-8"))
    for path in sorted((Path(coordkit.__file__).parent / "_lua").glob("*.lua"))
}
#: What tombstones say: a release that finds one answers with it.
TOMBS = {
    word
    for script in SCRIPTS.values()
    for command, arguments in script.calls()
    if command == "SET"
    for word in _WORD.findall(arguments[1])
}
