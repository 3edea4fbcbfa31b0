"""
One of the demo's workers.  A program.

It reads orders from its standard input, a JSON object a line, and writes there what
happened on its standard output.  It ends with its standard input, whatever it does.
"""

from __future__ import annotations

import json
import os
import sys
from queue import Queue
from threading import Thread
from typing import Any

from coordkit import CoordError, Lease, Session, StaleToken, Term
from coordkit._io.clock import now

Order = dict[str, Any]


def tell(event: str, **facts: object) -> None:
    """Say what happened, and when by the clock that all processes here share."""
    print(json.dumps({"event": event, "at": now(), **facts}), flush=True)  # noqa: T201 - it is how a worker speaks


class Worker:
    """Does what it is told to, with one lock, one fence and one election."""

    _lease: Lease
    _term: Term

    def __init__(self, order: Order) -> None:
        self._session = Session(order["url"], namespace=order["namespace"])
        self._session.ping()
        self._lock = self._session.lock(order["lock"], ttl=order["ttl"])
        self._fence = self._session.fence(order["lock"])
        self._election = self._session.election(order["lock"], ttl=order["ttl"])
        tell("ready")

    def take(self, _order: Order) -> None:
        """Wait for the lock and take it."""
        lease = self._lease = self._lock.acquire()
        tell("taken", token=lease.token, holder=lease.holder)

    def give(self, _order: Order) -> None:
        """Give it back; told before, so that who has it next has it later."""
        tell("given")
        self._lease.release()

    def stand(self, _order: Order) -> None:
        """Stand for election, and lead."""
        term = self._term = self._election.campaign()
        tell("elected", token=term.token, holder=term.holder)

    def write(self, order: Order) -> None:
        """Write through the fence, with the token; it does not look at its lease."""
        lease = self._lease
        try:
            self._fence.set(order["field"], order["value"], token=lease.token)
        except StaleToken as refusal:
            tell("refused", token=lease.token, seen=refusal.seen)
        else:
            tell("written", token=lease.token)

    def look(self, _order: Order) -> None:
        """Ask the lease whether it may still act: answered by its own clock."""
        lease = self._lease
        reason = lease.reason
        over = now() - lease.deadline
        tell("looked", held=lease.held, reason=reason and reason.value, over=over)


def listen(orders: Queue[Order]) -> None:
    """Take orders; end with the last."""
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)  # the demo is gone: whatever we wait for


def main() -> None:
    """Obey until the demo is gone."""
    orders: Queue[Order] = Queue()
    Thread(target=listen, args=(orders,), daemon=True).start()
    try:
        worker = Worker(orders.get())
        while True:
            order = orders.get()
            getattr(worker, order["do"])(order)
    except CoordError as error:
        tell("error", kind=type(error).__name__, why=str(error))


if __name__ == "__main__":
    main()
