"""The command that is to be run: where it is, and what it gets to see of us."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from ._exit import Exit, Failure
from ._output import printable
from ._settings import WITHHELD
from ._shim import Command

#: These may hold a password.
SECRETS = ("COORDKIT_URL", "REDIS_URL")
SHELL = "/bin/sh"
#: A longer command is cut in a message.
WIDEST = 60


def command_of(
    words: Sequence[str],
    script: str | None,
    *,
    url_from: str,
    url_file: str,
    pass_url: bool,
) -> Command:
    """
    Return what is to be run: *words*, or a script of the shell.  126 or 127 if it cannot.

    *url_from*: what has named our server.
    """
    argv = list(words) if script is None else [SHELL, "-c", script]
    environ = {
        name: value
        for name, value in os.environ.items()
        if pass_url or name not in SECRETS
    }
    environ.pop(WITHHELD, None)
    if url_from in ("--url", *SECRETS) and url_from not in environ:
        environ[WITHHELD] = "1"
    if url_file:
        environ["COORDKIT_URL_FILE"] = os.path.abspath(url_file)
    return Command(_found(argv[0]), argv, environ)


def shown(argv: Sequence[str]) -> str:
    """Return a command in a few words."""
    line = printable(shlex.join(argv))
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…"


def _found(word: str) -> str:
    """Return the file that a shell would run for *word*."""
    places = [""] if "/" in word else os.get_exec_path()
    there = [
        path
        for path in (os.path.join(place, word) for place in places)
        if word and os.path.exists(path)
    ]
    for path in there:
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    if there:
        raise Failure(
            f"{there[0]!r} cannot be executed; nothing was done", Exit.NOT_EXECUTABLE
        )
    where = "there is no" if "/" in word else "nowhere on PATH is a"
    raise Failure(f"{where} command {word!r}; nothing was done", Exit.NOT_FOUND)
