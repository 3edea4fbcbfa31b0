"""`coordkit acl`: the least that a user of Redis needs for one namespace."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ._exit import Exit, Failure
from ._options import common
from ._output import data, json_line, note
from ._settings import Settings

if TYPE_CHECKING:
    from coordkit import Session

#: How scripts are run, and what a session asks besides.
_ASKED = (
    *("evalsha", "eval", "subscribe", "unsubscribe"),
    *("ping", "select", "client|setname"),
)
#: How a client finds the nodes of a cluster, and follows a slot that moves.
_IN_A_CLUSTER = ("cluster|slots", "asking")
#: By the release that brought it: an older one refuses a line with a word it does not know.
_NEWER = {(7, 2): ("client|setinfo",)}
_CALLED = re.compile(r"redis\.call\('([A-Z]+)'")
#: What scripts ask without changing anything.
READING = frozenset(
    {
        *("exists", "get", "hexists", "hget", "hgetall", "hlen", "hmget", "lrange"),
        *("pttl", "strlen", "time", "type", "xrange", "zcard", "zcount", "zrange"),
        *("zrangebyscore", "zrank", "zrevrange", "zscore"),
    }
)
_USER = re.compile(r"[^\s\x00-\x1f]{1,128}")
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.\d+)?")
#: To be replaced by whoever types the line.
TO_FILL_IN = ">PASSWORD"


@click.command()
@common()
@click.option(
    "--user", default="coordkit", metavar="NAME", help="What to call the user."
)
@click.option(
    "--read-only",
    is_flag=True,
    help="For whoever only looks: lock list and show, leader status, list and history, "
    "cron status, history and check, counter get and list, fence get, and what of ring "
    "changes nothing.",
)
@click.option(
    "--server-version",
    metavar="X.Y",
    help="Write it for that Redis or Valkey, without asking it.",
)
@click.pass_obj
def acl(
    settings: Settings, user: str, read_only: bool, server_version: str | None
) -> None:
    """
    Print the ACL SETUSER line that gives a user what coordkit needs, and nothing else.

    It is for this server and this namespace: all keys and channels of others stay out of
    reach, and so do FLUSHALL, KEYS, SCAN and CONFIG. Put a password in the place of
    PASSWORD. In an aclfile the same words follow "user NAME".
    """
    if not _USER.fullmatch(user):
        raise Failure(f"{user!r} is no name for a user: leave out spaces", Exit.USAGE)
    with settings.session() as session:
        version = _given(server_version) or _asked(session)
        clustered = session._engine.source.clustered
        namespace = session.namespace
    words = rules(namespace, version, clustered=clustered, read_only=read_only)
    line = " ".join(["ACL SETUSER", user, "reset", "on", TO_FILL_IN, *words])
    if settings.as_json:
        record = {"user": user, "namespace": namespace, "rules": words, "line": line}
        data(json_line(record | {"server_version": ".".join(map(str, version))}))
        return
    data(line)
    if settings.loudness > 0:
        note(_words(version))


def rules(
    namespace: str,
    version: tuple[int, int],
    *,
    clustered: bool = False,
    read_only: bool = False,
) -> list[str]:
    """Return the words of an access list, for a server of this version."""
    from coordkit._core.keys import LAYOUT

    asked = [*_ASKED, *(_IN_A_CLUSTER if clustered else ())]
    asked += [c for since, more in _NEWER.items() if version >= since for c in more]
    called = scripted()
    if read_only:
        called &= READING
        asked = [command for command in asked if "subscribe" not in command]
    channels = "resetchannels" if read_only else f"&{LAYOUT}:{namespace}:*"
    allowed = [f"+{command}" for command in [*asked, *sorted(called - {*asked})]]
    return [f"~{LAYOUT}:{namespace}:*", channels, "-@all", *allowed]


def scripted() -> frozenset[str]:
    """Return every command that a script of coordkit calls."""
    from coordkit._io.scripts import SCRIPTS

    sources: Iterable[str] = (script.source for script in SCRIPTS.values())
    return frozenset(
        name.lower() for source in sources for name in _CALLED.findall(source)
    )


def _given(server_version: str | None) -> tuple[int, int] | None:
    if server_version is None:
        return None
    found = _VERSION.fullmatch(server_version)
    if found is None or (int(found[1]), int(found[2])) < (6, 2):
        raise Failure(
            f"{server_version!r} is no version from 6.2 on: write 6.2, 7.0 or 8.0",
            Exit.USAGE,
        )
    return int(found[1]), int(found[2])


def _asked(session: Session) -> tuple[int, int]:
    from coordkit import Refused, Unreachable

    from ._plain import masters, plain, sections

    try:
        with plain(session._engine.source, masters(session)[0]) as ask:
            info = sections(ask("INFO", "server"))
    except (Refused, Unreachable) as error:
        raise Failure(
            f"{error}; name the version instead: --server-version 7.0",
            Exit.NOT_PERMITTED
            if isinstance(error, PermissionError)
            else Exit.UNREACHABLE,
        ) from None
    told = info.get("redis_version", "")  # Valkey tells here which Redis it is like
    found = _VERSION.match(told)
    if found is None:
        raise Failure(
            f"the server tells the version {told!r}; name it: --server-version 7.0",
            Exit.CONFIG,
        )
    return int(found[1]), int(found[2])


def _words(version: tuple[int, int]) -> str:
    if version < (7, 0):
        return (
            "Redis 6.2 knows neither %R~ and %W~ nor selectors; none is needed: without a "
            "command that writes, no key can be written"
        )
    return (
        "%R~ would forbid every script, for Redis counts EVALSHA as reading and writing; "
        "what keeps a reader from writing is that it has no command to write with"
    )
