"""One connection through the proxy: its bytes, its requests and their replies."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from support.resp import Splitter, head

_SUBSCRIBES = frozenset(
    prefix + verb
    for prefix in (b"", b"P", b"S")
    for verb in (b"SUBSCRIBE", b"UNSUBSCRIBE")
)
_MESSAGES = frozenset((b"MESSAGE", b"PMESSAGE", b"SMESSAGE"))
_REPLICA = frozenset((b"SYNC", b"PSYNC"))  # what follows are no replies


class Strike(Enum):
    """What may happen to a reply."""

    LOSE_AND_CLOSE = "lost_reply"
    LOSE_SILENTLY = "silenced"
    HALVE = "cut_mid_reply"


class End(Enum):
    """What may follow the bytes of one direction."""

    OF_STREAM = auto()
    OF_CONNECTION = auto()


@dataclass
class Request:
    """A command that was sent and still awaits so many replies."""

    name: bytes
    sent: bytes
    replies: int


class Pipe:
    """One direction of a connection: what is still to be written to its sink."""

    def __init__(self, sink: socket.socket) -> None:
        self.sink = sink
        self.queue: deque[tuple[float, bytes | End]] = deque()
        self.blocked = False  # the sink takes no more at present

    def put(self, what: bytes | End, due: float) -> None:
        """Let *what* follow at *due*, and not before what was put earlier."""
        if what:
            self.queue.append((due, what))

    def flush(self, now: float) -> End | None:
        """Write what is due; return the end that was reached, if one was."""
        self.blocked = False
        while self.queue and self.queue[0][0] <= now and not self.blocked:
            due, data = self.queue.popleft()
            if isinstance(data, End):
                return data
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:  # it is gone: reading from it will tell, too
                continue
            if sent < len(data):
                self.queue.appendleft((due, data[sent:]))
                self.blocked = True
        return None


class Link:
    """One client's connection and the one made for it to the server."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        count: Callable[[bytes], None],
        strike: Callable[[Request], Strike | None],
    ) -> None:
        self.client = client
        self.server = server
        self.to_server = Pipe(server)
        self.to_client = Pipe(client)
        self.silent = False  # nothing reaches the client any more
        self.client_open = True
        self.server_open = True
        self._requests = Splitter(inline=True)
        self._replies = Splitter()
        self._unanswered: deque[Request] = deque()
        self._subscribed = False
        self._count = count
        self._strike = strike

    @property
    def pipes(self) -> tuple[Pipe, Pipe]:
        return self.to_server, self.to_client

    @property
    def held(self) -> bool:
        """Whether bytes of it have not arrived yet."""
        return any(pipe.queue for pipe in self.pipes)

    @property
    def over(self) -> bool:
        """Whether nobody is left to tell of the end of it."""
        return self.silent and not self.client_open and not self.server_open

    def from_client(self, chunk: bytes) -> bytes:
        """Count the requests that *chunk* completes; return what is to be passed on."""
        requests = self._requests.feed(chunk)
        for request in requests:
            self._register(request)
        return b"".join(requests) + self._unread(self._requests)

    def from_server(self, chunk: bytes) -> tuple[bytes, End | None]:
        """Return what is to be passed on, and whether the connection then ends."""
        if self.silent:
            return b"", None
        passed = bytearray()
        for reply in self._replies.feed(chunk):
            request = self._answered(reply)
            match self._strike(request) if request else None:
                case Strike.LOSE_AND_CLOSE:
                    return bytes(passed), End.OF_CONNECTION
                case Strike.LOSE_SILENTLY:
                    self.silent = True
                    return bytes(passed), None
                case Strike.HALVE:
                    passed += reply[: len(reply) // 2]
                    return bytes(passed), End.OF_CONNECTION
                case None:
                    passed += reply
        return bytes(passed) + self._unread(self._replies), None

    def client_ended(self, due: float) -> None:
        """Let the end of the client's stream follow what it sent."""
        self.client_open = False
        self.to_server.put(self._requests.take_rest(), due)
        self.to_server.put(End.OF_STREAM, due)

    def server_ended(self, due: float) -> None:
        """Let the end of the connection follow what the server sent."""
        self.server_open = False
        if not self.silent:
            self.to_client.put(self._replies.take_rest(), due)
            self.to_client.put(End.OF_CONNECTION, due)

    def _unread(self, side: Splitter) -> bytes:
        return side.take_rest() if side.opaque else b""

    def _register(self, request: bytes) -> None:
        if self._requests.opaque:
            return
        name, length = head(request)
        if not name:
            words = request.split()
            if not words or request[:1] == b"*":
                return  # an empty command: the server answers nothing
            name, length = words[0].upper(), len(words)
        self._count(name)
        self._subscribed |= name in _SUBSCRIBES
        self._replies.opaque |= name in _REPLICA
        many = max(length - 1, 1) if name in _SUBSCRIBES else 1
        self._unanswered.append(Request(name, request, many))

    def _answered(self, reply: bytes) -> Request | None:
        """Return the request that *reply* completes; None for a message."""
        request = self._unanswered[0] if self._unanswered else None
        if request is None or self._replies.opaque:
            return None
        kind, _ = head(reply)
        confirms = self._subscribed and kind in _SUBSCRIBES
        message = self._subscribed and kind in _MESSAGES
        if (confirms and kind != request.name) or message:
            return None
        if reply[:1] == b">" and not confirms:
            return None
        request.replies -= 1
        if confirms and request.replies > 0:
            return None
        return self._unanswered.popleft()
