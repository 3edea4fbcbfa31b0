"""
Counting under every fault: processes, lost replies, a server that is killed; by hand::

    COORDKIT_TORTURE_SECONDS=60 pytest tests/faults/test_counting.py

Nothing may be counted twice or not at all, whatever was told; what nobody was told of
may have been counted once.  COORDKIT_TORTURE_SEED repeats a plan of faults.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from coordkit import Entry, Session
from faults import tellers
from faults.audit import Books, audit
from faults.chaos import Chaos, Crew
from faults.network import QUESTION, asks
from faults.tellers import SHARDS, orders
from support.history import read
from support.polling import until
from support.proxy import Proxy
from support.servers import RedisServer

SECONDS = float(os.environ.get("COORDKIT_TORTURE_SECONDS", "6"))
SEED = os.environ.get("COORDKIT_TORTURE_SEED")
NAMESPACE = "counting"
PROCESSES = 8
TARGETS = (QUESTION, *map(asks, ("counter_add", "fence_append", "ids_take")))
FAULTS = {
    "restart": 3,
    "kill": 1,
    "freeze": 3,
    "stall": 3,
    "lose": 12,
    "halve": 3,
    "cut": 3,
    "hole": 2,
    "delay": 2,
}


def test_counting(tmp_path: Path, capsys: Any) -> None:
    seed = int(SEED) if SEED else secrets.randbelow(1_000_000)
    print(f"seed {seed}")  # noqa: T201 -- shown when it fails
    faults, books = _count(tmp_path, seed)
    told = audit(read(sorted(tmp_path.glob("*.jsonl"))), books)
    with capsys.disabled():
        struck = ", ".join(f"{n} {fault}" for fault, n in sorted(faults.items()))
        print(f"\ncounting seed={seed} {SECONDS:g} s: {told}; {struck}")  # noqa: T201


def _count(at: Path, seed: int) -> tuple[Counter[str], Books]:
    """Let them count amid the chaos, then in peace; return what struck, and the books."""
    stop = at / "stop"
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(persistence="always"))
        proxy = stack.enter_context(Proxy(server.port))

        order = orders(at, proxy.url, server.url, seed, NAMESPACE, PROCESSES)
        crew = Crew(PROCESSES, tellers.work, order, at / "test.jsonl")
        stack.callback(crew.close)
        until(lambda: len(list(at.glob("*.jsonl"))) > PROCESSES, timeout=20)
        chaos = Chaos(random.Random(seed), server, proxy, crew, TARGETS)
        chaos.let_loose(SECONDS, FAULTS)
        chaos.heal()
        time.sleep(1.0)  # in peace: what was insisted upon is answered
        crew.check()
        stop.touch()
        crew.finish(within=15.0)
        return chaos.faults, _books(server)


def _books(server: RedisServer) -> Books:
    names = ("plain", "chosen", "many 0", "many 1", "many 2", "row")
    with Session(server.url, namespace=NAMESPACE) as s:
        values = {name: s.counter(name).value() for name in names}
        values["wide"] = s.counter("wide", shards=SHARDS).value()
        ledger = s.fence("ledger")
        journal: list[Entry] = []
        while some := ledger.journal(after=len(journal)):
            journal += some
    return Books(values, journal)
