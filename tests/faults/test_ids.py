"""
No id is drawn twice: by processes that are killed, from a server that is killed, too.

In full, eight million of them::

    COORDKIT_IDS=1000000 pytest tests/faults/test_ids.py
"""

from __future__ import annotations

import itertools
import os
import random
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

from faults import drawers
from support.polling import until
from support.processes import Child, worker
from support.servers import RedisServer

#: how many each of the processes draws
COUNT = int(os.environ.get("COORDKIT_IDS", "60000"))
PROCESSES = 8
#: The one who asks often and the one who wastes much are among them.
BLOCKS = (1000, 1000, 100, 100, 1000, 10_000, 1000, 64)


def test_no_id_is_drawn_twice(tmp_path: Path) -> None:
    rng, numbers = random.Random(7), itertools.count()
    with RedisServer(persistence="always") as server:

        def hire(place: int) -> Child:
            at = tmp_path / f"{next(numbers)}.ids"
            return worker(
                drawers.draw, server.url, "ids", str(at), COUNT, BLOCKS[place]
            )

        at_work = {place: hire(place) for place in range(PROCESSES)}
        until(lambda: len(list(tmp_path.glob("*.ids"))) == PROCESSES, timeout=20)
        killed = 0
        for strike in range(12):
            time.sleep(rng.uniform(0.02, 0.15))
            if strike % 4 == 3:
                server.kill()
                server.restart()
                continue
            place = rng.randrange(PROCESSES)
            if at_work[place].alive:
                at_work[place].sigkill()
                at_work[place].end()
                killed += 1
                at_work[place] = hire(place)  # draws them all, anew
        for child in at_work.values():
            assert child.wait(600) == 0, child.output()
            child.end()
        with server.client() as client:
            (key,) = client.keys("*:ids:it")
            last = int(client.get(key) or 0)
    drawn = _each_once(tmp_path, last)
    assert killed
    assert drawn >= PROCESSES * COUNT
    # A process wastes a block when it dies; a lost answer, one more.
    assert last - drawn <= (PROCESSES + killed) * max(BLOCKS) * 2


def _each_once(at: Path, last: int) -> int:
    """Check that each id was drawn once at most; return how many were."""
    seen, count = bytearray(last + 1), 0
    for page in _pages(at):
        for number in page:
            assert not seen[number], f"{number} was drawn twice"
            seen[number] = 1
        count += len(page)
    assert not seen[0]
    return count


def _pages(at: Path) -> Iterator[array[int]]:
    for path in at.glob("*.ids"):
        data = path.read_bytes()
        page = array("Q")
        page.frombytes(data[: len(data) // 8 * 8])
        assert list(page) == sorted(page), "they do not rise"
        yield page
