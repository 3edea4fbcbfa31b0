"""The library's log, on stderr: a line for each message, and no traceback."""

from __future__ import annotations

import logging

from ._output import printable

_LEVELS = (logging.CRITICAL, logging.ERROR, logging.INFO, logging.DEBUG)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"coordkit: {printable(record.getMessage())}"


def listen(loudness: int) -> None:
    """Show what the library logs: errors, unless more (-v, -vv) or less (-q) was asked for."""
    log = logging.getLogger("coordkit")
    log.setLevel(_LEVELS[max(0, min(loudness + 1, len(_LEVELS) - 1))])
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Line())
        log.addHandler(handler)
        log.propagate = False
