"""The options that all commands which run another have, and the types of their values."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ._duration import DURATION
from ._exit import Exit, Failure

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class SignalName(click.ParamType[int]):
    """A signal, by name or number."""

    name = "signal"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return its number."""
        text = str(value).upper()
        known = {known.name: known.value for known in signal.Signals}
        number = known.get(text, known.get(f"SIG{text}", 0))
        if text.isdecimal() and int(text) in signal.valid_signals():
            number = int(text)
        if not number:
            self.fail(
                f"{value!r} is no signal: write TERM, INT, HUP, QUIT, USR1, USR2, KILL "
                "or another name of `kill -l`",
                param,
                ctx,
            )
        return number


#: What is done when the lease is lost: the stop signal, then SIGKILL.
STOP = (-1, True)


class OnLost(click.ParamType[tuple[int, bool]]):
    """What is done when the lease is lost: a signal (0: none), and whether SIGKILL follows."""

    name = "stop|signal:SIG|ignore"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, bool]:
        """Return the signal and whether SIGKILL follows; -1 is the stop signal."""
        word, _, name = str(value).partition(":")
        if value == "stop":
            return STOP
        if value == "ignore":
            return 0, False
        if word != "signal":
            self.fail(f"{value!r} is neither stop, signal:SIG nor ignore", param, ctx)
        return SIGNAL.convert(name, param, ctx), False


class WritableFd(click.ParamType[int]):
    """A file descriptor that we were started with and may write to."""

    name = "fd"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return it; the command does not inherit it, unless it is stdout or stderr."""
        if not str(value).isdecimal():
            self.fail(f"{value!r} is no number of a file descriptor", param, ctx)
        fd = int(str(value))
        if ctx is not None and ctx.resilient_parsing:
            return fd
        posix(ctx)
        import fcntl

        try:
            mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        except (OSError, OverflowError):
            self.fail(f"{fd} is not open: add {fd}>FILE, for instance", param, ctx)
        if mode == os.O_RDONLY:
            self.fail(f"{fd} is open for reading only", param, ctx)
        if fd > 2:  # noqa: PLR2004 - what is no standard stream
            os.set_inheritable(fd, False)  # noqa: FBT003 - its only parameter
        return fd


SIGNAL = SignalName()


def posix(ctx: click.Context | None) -> None:
    """Refuse to go on where there are no process groups and signals."""
    if not hasattr(os, "fork"):
        what = "it" if ctx is None else ctx.command_path
        raise Failure(
            f"{what} needs POSIX, for process groups and signals; the library works "
            "here as well",
            Exit.CONFIG,
        )


# -- the options ------------------------------------------------------------------------


def _files(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Have the shell complete the words of the command as it does file names."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


WORDS = click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[--] COMMAND...",
    shell_complete=_files,
    help="What to run, with its own options.",
)


def ttl_option(ttl: float, crash: str) -> Callable[[Any], Any]:
    """Return ``--ttl``, *ttl* seconds unless given; *crash*: what it means."""
    return click.option(
        "--ttl",
        type=DURATION,
        default=ttl,
        metavar="DUR",
        help=f"How long the lease lasts without renewal: {crash}.  [default: {ttl:g}s]",
    )


ON_LOST = click.option(
    "--on-lost",
    type=OnLost(),
    default="stop",
    help="When the lease is lost: stop the command (exit code 76), send it a signal, or "
    "let it run beside the next holder.  [default: stop]",
)
OPTIONS = (
    click.option(
        "-k",
        "--kill-after",
        type=DURATION,
        metavar="DUR",
        help="How long the command has between the stop signal and SIGKILL.  "
        "[default: 10s, or what fits into the lease]",
    ),
    click.option(
        "--stop-signal",
        type=SIGNAL,
        default="TERM",
        metavar="SIG",
        help="What the command is asked to end with.  [default: TERM]",
    ),
    click.option(
        "--max-runtime",
        type=DURATION,
        metavar="DUR",
        help="End the command after so long; exit code 124.",
    ),
    ON_LOST,
    click.option(
        "--leave-group",
        is_flag=True,
        help="Leave what the command has started in the background alone when it ends.",
    ),
    click.option(
        "-c",
        "script",
        metavar="STRING",
        help="Run STRING by /bin/sh, in place of COMMAND.",
    ),
    click.option(
        "--pass-url",
        is_flag=True,
        help="Leave COORDKIT_URL and REDIS_URL, which may hold a password, in the "
        "environment of the command.",
    ),
    click.option(
        "--status-file",
        metavar="FILE",
        help="Keep what has become of it in FILE, as an object of JSON.",
    ),
    click.option(
        "--event-fd",
        type=WritableFd(),
        metavar="N",
        help="Write what happens to this file descriptor, an object of JSON a line.",
    ),
    click.option(
        "--explain",
        is_flag=True,
        help="Show when what would happen, and the keys in Redis; run nothing.",
    ),
)
