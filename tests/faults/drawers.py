"""The workers that draw ids, as fast as they can, and write each down."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

from coordkit import Session, Unreachable

#: An id is on record before so many more are drawn.
PAGE = 512


def draw(url: str, namespace: str, at: str, count: int, block: int) -> None:
    """Draw so many ids; what is in the file when this process dies, it has drawn."""
    file = os.open(Path(at), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with Session(url, namespace=namespace, timeout=1.0) as s:
        ids = s.ids("it", block=block)
        while count:
            page = array("Q")
            try:
                for _ in range(min(PAGE, count)):
                    page.append(next(ids))
            except Unreachable:
                pass  # the server is being killed
            os.write(file, page.tobytes())
            count -= len(page)
