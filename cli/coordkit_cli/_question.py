"""A question to whoever sits at the terminal, and Ctrl-C as an answer to it."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

import click


def agreed(question: str) -> bool:
    """Ask *question* on stderr; return whether the answer is yes. The end of input is no answer."""
    if os.name != "posix":
        return click.confirm(question, err=True)
    with _signals_in_a_pipe() as signalled:
        while True:
            click.echo(f"{question} [y/N]: ", nl=False, err=True)
            select.select([sys.stdin, signalled], [], [])
            line = sys.stdin.readline()
            if not line:
                raise click.Abort
            answer = line.strip().lower()
            if answer in ("y", "yes"):
                return True
            if answer in ("", "n", "no"):
                return False
            click.echo("Error: invalid input", err=True)


@contextmanager
def _signals_in_a_pipe() -> Generator[int]:
    """
    Make a pipe readable when a signal comes.

    `input` alone misses a signal that comes between its prompt and its wait: it would
    be noticed at the next line that is typed.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)
