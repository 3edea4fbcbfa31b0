"""
The root of the commands, and how every error becomes an exit code and one line.

No traceback reaches a user: stderr gets a line that says what happened and what to do
next.  Heavy imports happen inside the commands: `coordkit --help` knows only click.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

import click

from ._exit import Exit, Failure, Interrupted, failure, told
from ._options import Lazy, common
from ._output import note
from ._settings import Settings

PROGRAM = "coordkit"
COMMANDS = {
    "lock": (".lock:lock", "Locks: run commands under them, see who holds them."),
    "leader": (".leader:leader", "Elections: run commands where one leads, see who."),
    "group": (".group:group", "Groups: be a member while a command runs, see who is."),
    "counter": (".counter:counter", "Counters: add to them, read them, list them."),
    "ids": (".ids:ids", "Ids: numbers that nobody else gets."),
    "fence": (".fence:fence", "Fences: write only for the newest holder."),
    "ring": (".ring:ring", "Rings: which node has which key."),
    "balance": (".balance:balance", "Balancers: pick a live member of a group."),
    "cron": (".cron:cron", "Run each tick of a crontab on one host of several."),
    "doctor": (".doctor:doctor", "Say what this Redis guarantees, and what to mend."),
    "acl": (".acl:acl", "Print the access list that is enough for one namespace."),
    "demo": (".demo:demo", "Watch three processes share a lock, in some ten seconds."),
    "version": (".version:version", "Show the versions of coordkit and its parts."),
}


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from coordkit import __version__

        click.echo(f"{PROGRAM} {__version__}")
        ctx.exit()


@click.group(
    cls=Lazy,
    package=__package__,
    where=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f'{told()}\n\nCompletion: eval "$(_COORDKIT_COMPLETE=bash_source coordkit)"; '
    "or zsh_source, fish_source.",
)
@common(shown=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def root(ctx: click.Context) -> None:
    """
    Coordination for worker processes that already have a Redis: flock for a fleet.

    Try `coordkit demo`: it needs no Redis. The options below may also stand after the
    command; in place of them, the file coordkit.toml may hold url or url_file, and
    namespace.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False


def main() -> NoReturn:
    """Run the command line; the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever its encoding is
    if os.environ.get("_COORDKIT_COMPLETE"):  # the shell asks what could come next
        root.main(prog_name=PROGRAM, obj=Settings())
    settings = Settings()
    code: int
    try:
        code = _run(sys.argv[1:], settings)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except Interrupted as end:
        code = end.code
    except BrokenPipeError:
        code = Exit.HUNG_UP
        _forget_stdout()
    except Failure as known:
        note(str(known))
        code = known.code
    except Exception as error:  # noqa: BLE001 - a traceback helps no user
        problem = failure(error, settings.source)
        note(str(problem))
        code = problem.code
        if isinstance(error, OSError):
            _forget_stdout()  # what it holds could not be written
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End at once: to take redis apart, module by module, is worth nothing and takes 20 ms."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # closed, or its reader has left
            stream.flush()
    os._exit(code)


def _run(argv: list[str], settings: Settings) -> int:
    """Run one command; return the code to exit with, or raise what it raised."""
    code = int(Exit.OK)
    try:
        with root.make_context(PROGRAM, argv, obj=settings) as ctx:
            root.invoke(ctx)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.Abort:
        code = Exit.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message(), err=True)
        code = Exit.USAGE
    except click.ClickException as error:
        note(_usage(error))
        code = Exit.USAGE
    if sys.stdout is not None:
        sys.stdout.flush()  # while an error can still be told
    return code


def _usage(error: click.ClickException) -> str:
    message = error.format_message()
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message.rstrip('.')}; see: {ctx.command_path} --help" if ctx else message


def _forget_stdout() -> None:
    """Nobody reads it: the interpreter must not fail to flush it at its end, either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
