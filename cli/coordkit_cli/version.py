"""`coordkit version`: what is installed here."""

from __future__ import annotations

import click

from ._options import common
from ._output import aligned, data, json_line
from ._settings import Settings


@click.command()
@common()
@click.option("--server", is_flag=True, help="Ask the server for its version, too.")
@click.pass_obj
def version(settings: Settings, server: bool) -> None:
    """Show the versions of coordkit and of what it runs on."""
    import platform
    from importlib import metadata

    from coordkit import __version__

    versions = {
        "coordkit": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("redis", "hiredis", "click")},
        "platform": platform.platform(terse=True),
    }
    if server:
        versions["server"] = _server(settings)
    if settings.as_json:
        data(json_line(versions))
        return
    for line in aligned(versions.items()):
        data(line)


def _server(settings: Settings) -> str:
    """Return what runs at the other end, and its version."""
    from ._plain import masters, plain, sections

    with (
        settings.session() as session,
        plain(session._engine.source, masters(session)[0]) as ask,
    ):
        info = sections(ask("INFO", "server"))
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', 'of an unknown version')}"
