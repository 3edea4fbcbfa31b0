"""
A faulty network: a TCP proxy in front of a Redis server, which also counts.

It runs in one thread of the test process.  Each call of a test takes effect before it
returns.  Bytes are passed on in whole requests and whole replies, in order; pub/sub
messages pass as they come.  It reads plain RESP: in front of a TLS port, a replica's
link or anything else it does not understand it passes the bytes on, uncounted.

The faults are those of TCP, so nothing is lost in the middle of a connection: after
`black_hole` and `heal` the held bytes arrive late, and a connection that lost a reply
never carries another one.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Literal, Self, TypeVar

from support.link import End, Link, Pipe, Request, Strike

T = TypeVar("T")

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time: close() sends RST


@dataclass
class _Fault:
    """A strike that waits for its *left* next matching replies."""

    strike: Strike
    left: int
    match: bytes | None


class Proxy:
    """A proxy on a port of its own before the server at *target_port*."""

    def __init__(self, target_port: int, *, host: str = "127.0.0.1") -> None:
        self._target = (host, target_port)
        self._host = host
        self._listener = socket.create_server((host, 0), backlog=512)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._clear_counts()
        self._faults: list[_Fault] = []
        self._delay = {"to_server": 0.0, "to_client": 0.0}
        self._holding = self._refusing = self._closed = False
        self._links: set[Link] = set()
        self._orders: deque[Callable[[], None]] = deque()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        _proxies.add(self)

    @property
    def url(self) -> str:
        """The URL of database 0 through the proxy."""
        return f"redis://{self._host}:{self.port}/0"

    # -- counts ----------------------------------------------------------------------

    @property
    def requests(self) -> int:
        """Commands that clients sent, each one of a pipeline, handshakes included."""
        return self._do(lambda: sum(self._commands.values()))

    @property
    def commands(self) -> Counter[str]:
        """The same by command, in capitals: `commands["EVALSHA"]`."""
        return self._do(lambda: Counter(self._commands))

    @property
    def connections(self) -> int:
        """Connections of clients accepted, and not refused."""
        return self._do(lambda: self._accepted)

    @property
    def open_connections(self) -> int:
        """Those that neither the client nor the proxy has closed."""
        return self._do(lambda: sum(link.client_open for link in self._links))

    @property
    def struck(self) -> Counter[str]:
        """
        Faults that came to pass.

        The keys: `lost_reply`, `silenced`, `cut_mid_reply`, `cut`, `refused`.
        """
        return self._do(lambda: Counter(self._struck))

    def reset_counts(self) -> None:
        """Count from zero again."""
        self._do(self._clear_counts)

    # -- faults ----------------------------------------------------------------------

    def lose_reply(
        self, n: int = 1, match: bytes | None = None, *, close: bool = True
    ) -> None:
        """
        Lose the next *n* replies to requests that contain *match*.

        The server has executed the request.  Then the connection is closed, or (not
        *close*) nothing reaches its client any more, while its requests still pass.
        """
        strike = Strike.LOSE_AND_CLOSE if close else Strike.LOSE_SILENTLY
        self._do(lambda: self._faults.append(_Fault(strike, n, match)))

    def cut_mid_reply(self, n: int = 1, match: bytes | None = None) -> None:
        """Pass half of the next *n* such replies, then close the connection."""
        self._do(lambda: self._faults.append(_Fault(Strike.HALVE, n, match)))

    def delay(
        self,
        seconds: float,
        direction: Literal["both", "to_server", "to_client"] = "both",
    ) -> None:
        """Let what comes from now on arrive *seconds* later, each way; 0 ends it."""
        ways = self._delay.keys() if direction == "both" else (direction,)
        self._do(lambda: self._delay.update(dict.fromkeys(ways, seconds)))

    def black_hole(self) -> None:
        """Take everything and pass nothing, both ways, not even the end of a stream."""
        self._do(lambda: setattr(self, "_holding", True))

    def refuse(self) -> None:
        """Close new connections at once; those that are there stay."""
        self._do(lambda: setattr(self, "_refusing", True))

    def cut(self) -> None:
        """Close all connections now, by RST."""
        self._do(self._cut)

    def heal(self, *, deliver: bool = True) -> None:
        """
        End every fault; what was held or delayed arrives now, as after a partition.

        Not *deliver*: the connections with such bytes are cut instead.  A connection
        that lost a reply is closed in any case.
        """
        self._do(lambda: self._heal(deliver))

    def close(self) -> None:
        """Close everything and end the thread; the counts stay readable."""
        if not self._closed:
            self._do(lambda: setattr(self, "_closed", True))
            self._thread.join(5.0)
            assert not self._thread.is_alive(), "the proxy's thread does not end"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- the thread ------------------------------------------------------------------

    def _do(self, order: Callable[[], T]) -> T:
        """Let the thread carry out *order*, and return what it returns."""
        if self._closed:
            return order()
        done: Future[T] = Future()

        def obey() -> None:
            try:
                done.set_result(order())
            except Exception as error:  # noqa: BLE001 -- raised where it was ordered
                done.set_exception(error)

        self._orders.append(obey)
        self._waker.send(b"!")
        return done.result(timeout=10.0)

    def _run(self) -> None:
        try:
            while not self._closed:
                for key, _ in self._selector.select(self._time_to_next()):
                    key.data()
                for link in list(self._links):
                    self._flush(link)
        finally:
            self._cut()
            self._abandon()

    def _woken(self) -> None:
        self._wake.recv(4096)
        while self._orders:
            self._orders.popleft()()

    def _time_to_next(self) -> float | None:
        if self._holding:
            return None
        pipes = (pipe for link in self._links for pipe in link.pipes)
        due = [pipe.queue[0][0] for pipe in pipes if pipe.queue and not pipe.blocked]
        return max(min(due) - time.monotonic(), 0.0) if due else None

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it went away again
            return
        if self._refusing:
            self._struck["refused"] += 1
            _reset(client)
            return
        self._accepted += 1
        try:
            server = socket.create_connection(self._target, timeout=1.0)
        except OSError:
            _reset(client)
            return
        link = Link(client, server, self._count, self._strike)
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links.add(link)

    def _read(self, link: Link, source: socket.socket) -> None:
        """Take what *source* sent, or the end of it."""
        if link not in self._links:  # dropped in this same turn
            return
        try:
            chunk = source.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if source is link.client:
            due = time.monotonic() + self._delay["to_server"]
            if chunk:
                link.to_server.put(link.from_client(chunk), due)
            else:
                link.client_ended(due)
        else:
            due = time.monotonic() + self._delay["to_client"]
            if chunk:
                self._answer(link, chunk, due)
            else:
                link.server_ended(due)
        if link.over:
            self._drop(link)

    def _answer(self, link: Link, chunk: bytes, due: float) -> None:
        passed, end = link.from_server(chunk)
        link.to_client.put(passed, due)
        if end is not None:
            link.to_client.put(end, due)
            link.silent = True  # nothing may follow that end

    def _flush(self, link: Link) -> None:
        """Write what is due, and watch the sockets for what is then of interest."""
        for pipe in () if self._holding else link.pipes:
            end = pipe.flush(time.monotonic())
            if end is End.OF_CONNECTION:
                self._drop(link)
                return
            if end is End.OF_STREAM:
                with suppress(OSError):  # the sink may be gone
                    pipe.sink.shutdown(socket.SHUT_WR)
        self._watch(link, link.client, link.client_open, link.to_client)
        self._watch(link, link.server, link.server_open, link.to_server)

    def _watch(self, link: Link, end: socket.socket, reads: bool, pipe: Pipe) -> None:
        writes = pipe.blocked and not self._holding
        events = reads * selectors.EVENT_READ | writes * selectors.EVENT_WRITE
        known = self._selector.get_map().get(end)
        if known is None and events:
            self._selector.register(end, events, partial(self._read, link, end))
        elif known is not None and not events:
            self._selector.unregister(end)
        elif known is not None and known.events != events:
            self._selector.modify(end, events, known.data)

    def _drop(self, link: Link, *, reset: bool = False) -> None:
        self._links.discard(link)
        for end in (link.client, link.server):
            if end in self._selector.get_map():
                self._selector.unregister(end)
            if reset:
                _reset(end)
            else:
                end.close()

    # -- orders, carried out by the thread -------------------------------------------

    def _clear_counts(self) -> None:
        self._commands: Counter[str] = Counter()
        self._struck: Counter[str] = Counter()
        self._accepted = 0

    def _count(self, name: bytes) -> None:
        self._commands[name.decode(errors="replace")] += 1

    def _strike(self, request: Request) -> Strike | None:
        for fault in self._faults:
            if fault.left > 0 and (fault.match is None or fault.match in request.sent):
                fault.left -= 1
                self._struck[fault.strike.value] += 1
                return fault.strike
        return None

    def _cut(self) -> None:
        self._struck["cut"] += len(self._links)
        for link in list(self._links):
            self._drop(link, reset=True)

    def _heal(self, deliver: bool) -> None:
        self._faults.clear()
        self._delay = dict.fromkeys(self._delay, 0.0)
        self._holding = self._refusing = False
        for link in list(self._links):
            if link.held and not deliver:
                self._drop(link, reset=True)
            elif link.silent and not link.to_client.queue:
                self._drop(link)
            for pipe in link.pipes:
                pipe.queue = deque((0.0, what) for _, what in pipe.queue)

    def _abandon(self) -> None:
        """Close our descriptors; in a forked child: its copies, which it cannot use."""
        self._closed = True
        for link in self._links:
            link.client.close()
            link.server.close()
        self._selector.close()
        for end in (self._listener, self._wake, self._waker):
            end.close()


def _reset(end: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()


_proxies: weakref.WeakSet[Proxy] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Drop a forked child's copies: else nothing that we close is closed."""
    for proxy in list(_proxies):
        proxy._abandon()


os.register_at_fork(after_in_child=_leave_to_parent)
