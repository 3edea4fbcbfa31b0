"""Options that may stand before the command or after it, and the group of groups."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from ._settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


class Lazy(click.Group):
    """
    A group whose commands are imported when they are needed.

    *where* tells of each the module and attribute, from *package*, and what it is in a
    line: so that the group's own help imports none of them.
    """

    def __init__(
        self,
        *args: Any,
        package: str,
        where: Mapping[str, tuple[str, str]],
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._package = package
        self._where = where

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Return the commands in the order in which they are told."""
        return list(self._where)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        cmd_name: str,
    ) -> click.Command | None:
        """Return the command of the module that has it."""
        if cmd_name not in self._where:
            return None
        where, told = self._where[cmd_name]
        module, _, attribute = where.partition(":")
        found: click.Command = getattr(
            importlib.import_module(module, self._package), attribute
        )
        found.short_help = told
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant; the error names those that are alike."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(
                error.command_name, possibilities=self._where, ctx=ctx
            ) from None

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands, a line each."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, told) for name, (_, told) in self._where.items()]
            )


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Take down an option that was given; the one that stands last counts."""
    settings = ctx.ensure_object(Settings)
    if param.name in ("url", "url_file", "namespace"):
        if value is not None:
            settings.options[param.name] = value
    elif param.name == "as_json":
        settings.as_json = settings.as_json or value
    else:
        settings.loudness += value if param.name == "verbose" else -value


def common(*, shown: bool = False, json: bool = True) -> Callable[[F], F]:
    """Add the options that every command has; *shown*: in its ``--help``, too."""
    options = _options(hidden=not shown)
    if json:
        text = "Write JSON, an object a line."
        options.append(_option("--json", "as_json", is_flag=True, help=text))

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _options(*, hidden: bool) -> list[Callable[[Any], Any]]:
    return [
        _option(
            "--url",
            metavar="URL",
            hidden=hidden,
            help="Where Redis is: redis://, rediss://, unix://, redis+sentinel://, "
            "redis+cluster://. Others on this machine can read it in `ps`: a URL with "
            "a password goes into a file or the environment.  [env: COORDKIT_URL, "
            "REDIS_URL]",
        ),
        _option(
            "--url-file",
            metavar="FILE",
            hidden=hidden,
            help="The same, in the first line of a file.  [env: COORDKIT_URL_FILE]",
        ),
        _option(
            "--namespace",
            metavar="NAME",
            hidden=hidden,
            help="Which names are meant: those of other namespaces are others.  "
            "[env: COORDKIT_NAMESPACE; default: default]",
        ),
        _option(
            "-q",
            "--quiet",
            count=True,
            hidden=hidden,
            help="Say nothing but the data and errors.",
        ),
        _option(
            "-v", "--verbose", count=True, hidden=hidden, help="Say more, on stderr."
        ),
    ]


def _option(*names: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(*names, callback=_note, expose_value=False, **more)
