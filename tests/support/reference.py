"""
The reference of the command line, made of what `--help` says.

``PYTHONPATH=tests python -m support.reference`` writes docs/cli.md anew; a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from coordkit_cli.main import PROGRAM, root

PAGE = Path(__file__).parent.parent.parent / "docs" / "cli.md"
TO_MAKE = "PYTHONPATH=tests python -m support.reference"
WIDTH = 80

HEAD = f"""\
# The command line

Made of what `--help` says, by `{TO_MAKE}`: change it there.

Durations are `500ms`, `10s`, `1.5m`, `2h` or `1d`; a bare number is seconds. What stands on the
standard output is the answer and nothing else; messages go to the standard error, prefixed
`coordkit:`. With `--json` the answer is an object a line, with `"v":1`; fields are only ever
added. `NO_COLOR` is respected, and so is a standard output that is no terminal.

An option beats `COORDKIT_URL`, `COORDKIT_URL_FILE` and `COORDKIT_NAMESPACE` in the environment,
which beat `REDIS_URL`, which beats `coordkit.toml` in the working directory, which beats the one
in the user's directory for settings, which beats `redis://localhost:6379/0`.

## Exit codes

| code | meaning |
| --- | --- |
| the command's own | `… run` and `group join` pass it on; 128 + N when signal N ended it |
| 0 | yes, done, or not needed |
| 1 | a question was answered *no* |
| 3 | `leader status`: nobody leads |
| 64 | usage: nothing was done |
| 69 | Redis gave no answer, or refused; the command was never started |
| 70 | a bug: please report it |
| 75 | not acquired: others keep it |
| 76 | the lease was lost, and the command was stopped |
| 77 | not permitted by the server |
| 78 | bad or unsafe configuration |
| 124 | the command was stopped after `--max-runtime` |
| 125 | the guard could not do its part |
| 126, 127 | the command cannot be executed, or is not there |
| 130, 143 | interrupted, or terminated, while waiting |
| 141 | whoever read the output has closed it |

`cron check` has the exit codes of the Monitoring Plugins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
"""


def commands(
    command: click.Command = root, path: tuple[str, ...] = (PROGRAM,)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its path, in the order in which they are told."""
    yield path, command
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                inner = command.get_command(ctx, name)
                assert inner is not None
                yield from commands(inner, (*path, name))


def help_of(path: tuple[str, ...], command: click.Command) -> str:
    """Return what ``--help`` says in a terminal of 80 columns."""
    settings = root.context_settings
    ctx = click.Context(
        command, info_name=" ".join(path), terminal_width=WIDTH, **settings
    )
    return command.get_help(ctx).rstrip()


def page() -> str:
    """Return the whole of it, as Markdown."""
    parts = [HEAD]
    for path, command in commands():
        title = " ".join(path)
        parts.append(f"\n## {title}\n\n```text\n{help_of(path, command)}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"{PAGE}\n")
