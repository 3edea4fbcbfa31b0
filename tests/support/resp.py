"""Cut a stream of the Redis protocol (RESP2 and RESP3) into whole elements."""

from __future__ import annotations

_SIMPLE = frozenset(b"+-:_#,(")
_SIZED = frozenset(b"$=!")  # a length, then so many bytes
_NESTED = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}


class NotResp(ValueError):
    """The bytes are no Redis protocol."""


def element_end(data: bytes | bytearray, start: int = 0) -> int | None:
    """Return where the element that begins at *start* ends, None if incomplete."""
    position, missing = start, 1
    while missing:
        line_end = data.find(b"\r\n", position)
        if line_end < 0:
            if position < len(data) and not _known(data[position]):
                raise NotResp(bytes(data[position : position + 40]))
            return None
        kind = data[position]
        number = bytes(data[position + 1 : line_end])
        position = line_end + 2
        missing -= 1
        if kind in _SIZED:
            size = _integer(number)
            position += size + 2 if size >= 0 else 0  # a null has no body
        elif kind in _NESTED:
            missing += max(_integer(number), 0) * _NESTED[kind]
            missing += kind == ord("|")  # an attribute precedes what it describes
        elif kind not in _SIMPLE:
            raise NotResp(bytes([kind]) + number[:40])
    return position if position <= len(data) else None


def _known(kind: int) -> bool:
    return kind in _SIMPLE or kind in _SIZED or kind in _NESTED


def _integer(number: bytes) -> int:
    try:
        return int(number)
    except ValueError:
        raise NotResp(number[:40]) from None


def head(element: bytes) -> tuple[bytes, int]:
    """Return the first word of an array (upper case, b"" if none) and its length."""
    if element[:1] not in (b"*", b">"):
        return b"", 0
    lines = element.split(b"\r\n", 3)
    word = lines[2] if lines[1][:1] == b"$" else b""
    return word.upper(), int(lines[0][1:])


class Splitter:
    """
    Take bytes as they come, give whole elements; keep the incomplete rest.

    Once it met what is no Redis protocol it is *opaque*: it gives bytes as they come.
    """

    def __init__(self, *, inline: bool = False) -> None:
        """*inline*: a line that starts like no array is a command of its own."""
        self.opaque = False
        self._rest = bytearray()
        self._inline = inline

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the elements that *chunk* completes."""
        self._rest += chunk
        found: list[bytes] = []
        start = 0
        try:
            while start < len(self._rest) and (end := self._end(start)) is not None:
                found.append(bytes(self._rest[start:end]))
                start = end
        except NotResp:
            self.opaque = True
        del self._rest[:start]
        return found

    def take_rest(self) -> bytes:
        """Return what is not given yet, and forget it."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest

    def _end(self, start: int) -> int | None:
        if self.opaque:
            return len(self._rest)
        if not self._inline or self._rest[start] == ord("*"):
            return element_end(self._rest, start)
        newline = self._rest.find(b"\n", start)
        return newline + 1 if newline >= 0 else None
