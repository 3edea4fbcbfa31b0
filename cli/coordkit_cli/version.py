"""`coordkit version`: what is installed here."""

from __future__ import annotations

import click

from ._options import common
from ._output import aligned, data, json_line
from ._settings import Settings


@click.command()
@common()
@click.pass_obj
def version(settings: Settings) -> None:
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
    if settings.as_json:
        data(json_line(versions))
        return
    for line in aligned(versions.items()):
        data(line)
