"""
Where Redis is, read from a URL: what is accepted, and why the rest is refused.

==========================================================  =========================
``redis://[user][:password]@host[:port][/db]``              one server
``unix://[user:password@]/path[?db=1]``                     one server, by its socket
``redis+sentinel://[…@]h1[:26379],h2,…/service[/db]``       the master of a service
``redis+cluster://[…@]h1[:port],h2,…``                      a Redis Cluster
==========================================================  =========================

``rediss`` for ``redis`` means TLS, to the Sentinels too; ``valkey`` and
``valkeys`` mean the same as ``redis`` and ``rediss``.  The user and password
before the ``@`` are those of the data servers; Sentinels get only what the
options ``sentinel_username`` and ``sentinel_password`` say.

A user name or password is percent-decoded.  It ends at the last ``@`` before
the first ``/``, ``?`` or ``#``; if there is none, and exactly one ``@`` further
on, a password may hold those characters as they are, unless the URL can be read
without it as well.  In options ``+`` is a space, as in HTML forms.

No error tells any part of a password, and neither does an `Address` when printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias
from unicodedata import category
from urllib.parse import quote, unquote_to_bytes

Kind: TypeAlias = Literal["tcp", "unix", "sentinel", "cluster"]
Hosts: TypeAlias = tuple[tuple[str, int], ...]

_SUFFIX: Mapping[Kind, str] = {
    "tcp": "",
    "sentinel": "+sentinel",
    "cluster": "+cluster",
}
_SCHEMES: Mapping[str, tuple[Kind, bool]] = {
    "unix": ("unix", False),
    **{
        base + suffix: (kind, base in ("rediss", "valkeys"))
        for kind, suffix in _SUFFIX.items()
        for base in ("redis", "rediss", "valkey", "valkeys")
    },
}
_DEFAULT_PORT: Mapping[Kind, int] = {"tcp": 6379, "sentinel": 26379, "cluster": 6379}

HIGHEST_PORT = 65535
_HOST = re.compile(r"(?:\[(?P<six>[^][]*)\]|(?P<name>[^][:]*))(?::(?P<port>[^:]*))?")
_DATABASE = re.compile(r"[0-9]{1,9}")
_SAFE_TO_REPEAT = re.compile(r"[A-Za-z][A-Za-z0-9_+.-]{0,40}")


def _is_true(text: str) -> bool:
    return text.lower() == "true"


class _Option(NamedTuple):
    takes: str
    pattern: str
    convert: Callable[[str], object] = str


_TEXT = _Option("some text", r"(?s:.+)")
_OPTIONS: Mapping[str, _Option] = {
    "db": _Option("a whole number", r"[0-9]{1,9}", int),
    "username": _TEXT,
    "password": _TEXT,
    "max_connections": _Option("a whole number from 1", r"[1-9][0-9]{0,6}", int),
    "client_name": _Option("printable ASCII without spaces", r"[!-~]+"),
    # accepted, because other programs need it; not used: the scripts' replies
    # are the same in both, and only version 2 works with every server and proxy
    "protocol": _Option("2 or 3", r"[23]", int),
    "ssl_ca_certs": _TEXT,
    "ssl_certfile": _TEXT,
    "ssl_keyfile": _TEXT,
    "ssl_cert_reqs": _Option("none, optional or required", r"none|optional|required"),
    "ssl_check_hostname": _Option("true or false", r"(?i:true|false)", _is_true),
    "sentinel_username": _TEXT,
    "sentinel_password": _TEXT,
}
#: what has a field of its own in an `Address`, or no use
_NOT_KEPT = frozenset({"db", "username", "password", "protocol"})
#: redis-py's own options on which the safety of a lease depends
_SET_BY_COORDKIT = re.compile(
    r"socket_.*|retry.*|timeout|health_check_interval|decode_responses|encoding.*"
    r"|legacy_responses|single_connection_client|lib_.*|driver_info|parser_class"
)


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where Redis is and how to log in; ``str`` and ``repr`` show no secret."""

    kind: Kind
    hosts: Hosts = ()
    path: str = ""
    db: int = 0
    service: str = ""
    tls: bool = False
    username: str | None = None
    password: str | None = None
    options: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)

    def __str__(self) -> str:
        who = quote(self.username or "", safe="") + (":***" if self.password else "")
        at = f"{who}@" if who else ""
        if self.kind == "unix":
            query = f"?db={self.db}" if self.db else ""
            return f"unix://{at}{quote(self.path)}{query}"
        scheme = ("rediss" if self.tls else "redis") + _SUFFIX[self.kind]
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host, port in self.hosts
        )
        path = {
            "tcp": f"/{self.db}",
            "sentinel": f"/{quote(self.service, safe='')}/{self.db}",
            "cluster": "",
        }[self.kind]
        return f"{scheme}://{at}{hosts}{path}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


def parse(url: str) -> Address:
    """Return what *url* says; `ValueError` names what is wrong and what is allowed."""
    if not isinstance(url, str):
        raise ValueError(f"a Redis URL is a str, not {type(url).__name__}")  # noqa: TRY004 - every refusal of a URL is a ValueError
    if any(category(character) in ("Cc", "Cs") for character in url):
        raise ValueError("the Redis URL contains a control character or a line end")
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise _no_scheme(url)
    if scheme.lower() == "sentinel":
        raise _of_kombu(url)
    if scheme.lower() not in _SCHEMES:
        shown = f" {scheme!r}" if _SAFE_TO_REPEAT.fullmatch(scheme) else ""
        raise ValueError(
            f"unknown scheme{shown} of the Redis URL; allowed are {', '.join(_SCHEMES)}"
        )
    readings: list[Address] = []
    wrong = None
    for userinfo, place in _splits(rest):
        try:
            readings.append(_read(scheme.lower(), userinfo, place))
        except ValueError as error:
            wrong = error
    if len(readings) == 1:
        return readings[0]
    if wrong is None or "@" in re.sub("^[^/?#]*", "", rest):
        # the text may hold a password: repeat none of it
        raise ValueError(
            "cannot tell where the password in the Redis URL ends; write / ? # @ % "
            "in a user name or password as %2F %3F %23 %40 %25"
        )
    raise wrong


def _splits(rest: str) -> list[tuple[str, str]]:
    """Return the ways in which *rest* may be user info and place."""
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    at = rest.rfind("@", 0, end)
    if at >= 0:
        return [(rest[:at], rest[at + 1 :])]
    userinfo, found, place = rest.partition("@")
    if found and "@" not in place and ":" in userinfo[:end]:
        return [("", rest), (userinfo, place)]
    return [("", rest)]


def _read(scheme: str, userinfo: str, place: str) -> Address:
    kind, tls = _SCHEMES[scheme]
    if "#" in place:
        raise ValueError("a Redis URL has no '#' part; write %23")
    place, _, query = place.partition("?")
    options = _options(scheme, query)
    authority, slash, rest = place.partition("/")
    hosts: Hosts = ()
    path = service = db = ""
    if kind == "unix":
        # An "@" in what is left would be a password's, read as a path and shown.
        if (
            authority
            or not slash
            or not rest
            or "%00" in rest
            or (userinfo and "@" in rest)
        ):
            raise ValueError(
                "write a socket as unix:///absolute/path?db=0, and an @ in it as %40"
            )
        path = "/" + _decode(rest)
    else:
        hosts = tuple(_host(text, _DEFAULT_PORT[kind]) for text in authority.split(","))
        service, db = _service(rest) if kind == "sentinel" else ("", rest)
    if kind == "tcp" and len(hosts) > 1:
        raise ValueError(
            "redis:// takes one host; several belong to redis+sentinel://h1,h2/SERVICE "
            "or to redis+cluster://h1,h2"
        )
    if kind != "unix" and "@" in rest:
        # A password's, or else a name that nobody has: never to be shown as one.
        raise ValueError(
            "write / ? # @ % in a user name or password as %2F %3F %23 %40 %25"
        )
    name, _, password = userinfo.partition(":")
    return Address(
        kind=kind,
        hosts=hosts,
        path=path,
        db=_database(kind, db, options.get("db")),
        service=service,
        tls=tls,
        username=_one("user name", _decode(name), options.get("username")),
        password=_one("password", _decode(password), options.get("password")),
        options=MappingProxyType(
            {key: value for key, value in options.items() if key not in _NOT_KEPT}
        ),
    )


def _service(path: str) -> tuple[str, str]:
    """Split ``service/db``."""
    service, _, db = path.partition("/")
    if not service:
        raise ValueError(
            "the service is missing: write redis+sentinel://host:26379/SERVICE/0"
        )
    return _decode(service), db


def _options(scheme: str, query: str) -> dict[str, object]:
    """Return the options of *query*, converted."""
    kind, tls = _SCHEMES[scheme]
    allowed = [
        name
        for name in _OPTIONS
        if (tls or not name.startswith("ssl_"))
        and (kind == "sentinel" or not name.startswith("sentinel_"))
    ]
    found: dict[str, object] = {}
    for item in filter(None, query.split("&")):
        name, text = (
            _decode(part.replace("+", " ")) for part in item.partition("=")[::2]
        )
        if name not in allowed:
            raise ValueError(_refusal_of_option(name, allowed))
        if name in found:
            raise ValueError(f"option {name!r} of the Redis URL is given twice")
        option = _OPTIONS[name]
        if not re.fullmatch(option.pattern, text):
            raise ValueError(f"option {name!r} of the Redis URL takes {option.takes}")
        found[name] = option.convert(text)
    return found


def _refusal_of_option(name: str, allowed: list[str]) -> str:
    shown = repr(name) if _SAFE_TO_REPEAT.fullmatch(name) else "of this name"
    if _SET_BY_COORDKIT.fullmatch(name):
        why = f"option {shown} of the Redis URL is set by coordkit itself"
    elif name in _OPTIONS and name.startswith("ssl_"):
        why = f"option {shown} needs TLS: write rediss:// for redis://"
    elif name in _OPTIONS:
        why = f"option {shown} is for redis+sentinel:// only"
    else:
        why = f"unknown option {shown} in the Redis URL"
    return f"{why}; allowed are {', '.join(allowed)}"


def _host(text: str, default_port: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None and text.count(":") > 1 and "[" not in text:
        raise ValueError("write IPv6 addresses in brackets: redis://[::1]:6379/0")
    if match is None:
        raise ValueError("a host of the Redis URL is name, name:port or [IPv6]:port")
    name, six, port = match["name"], match["six"], match["port"]
    if six is not None:
        name = _ipv6(six.replace("%25", "%", 1))
    elif not name:
        raise ValueError(
            "a host is missing in the Redis URL; write for example redis://localhost:6379"
        )
    elif not all(character.isalnum() or character in "-._" for character in name):
        raise ValueError("a host name of the Redis URL has only letters, digits, - . _")
    if not port:
        return name, default_port
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= HIGHEST_PORT:
        # not the port itself: it may be the password of a URL that lacks @host
        raise ValueError(f"the port of host {name!r} is not a number from 1 to 65535")
    return name, int(port)


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        pass
    raise ValueError("the text in brackets in the Redis URL is not an IPv6 address")


def _database(kind: Kind, path: str, option: object) -> int:
    if path and not _DATABASE.fullmatch(path):
        raise ValueError(
            f"{path[:40]!r} in the Redis URL is not a database: it is a number, as in /0"
        )
    if path and option is not None and int(path) != option:
        raise ValueError(f"the Redis URL names two databases: /{path} and ?db={option}")
    db = int(path or str(option or 0))
    if kind == "cluster" and db:
        raise ValueError("Redis Cluster has only database 0")
    return db


def _one(what: str, written: str, option: object) -> str | None:
    if written and option is not None:
        raise ValueError(f"the Redis URL has a {what} before the @ and as an option")
    return written or (None if option is None else str(option))


def _decode(text: str) -> str:
    data = unquote_to_bytes(text)
    decoded = data.decode(errors="replace")
    if decoded.encode() != data:
        raise ValueError("a percent-encoded part of the Redis URL is not UTF-8")
    return decoded


def _no_scheme(url: str) -> ValueError:
    # a bare word is not repeated: it may be a password
    if re.fullmatch(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", url):
        return ValueError(f"{url!r} is not a URL; did you mean redis://{url}/0?")
    return ValueError(
        "the Redis URL has no '://'; write for example redis://localhost:6379/0, or "
        "unix:///path for a socket"
    )


def _of_kombu(url: str) -> ValueError:
    """Translate ``sentinel://h1:26379;sentinel://h2:26379`` of Celery."""
    hosts: list[str] = []
    login, db = "", "0"
    # a password may hold a ';': what stands before it is then no host
    for part in url.lower().split(";sentinel://" if "@" in url else ";"):
        before, at, place = part.removeprefix("sentinel://").rpartition("@")
        login = ("USER" if before.partition(":")[0] else "") + ":***@" if at else login
        host, _, path = place.partition("/")
        hosts.append(host)
        db = path if _DATABASE.fullmatch(path) else db
    if not all(re.fullmatch(r"[a-z0-9._-]+(:[0-9]{1,5})?", host) for host in hosts):
        hosts = ["host1:26379", "host2:26379"]
    return ValueError(
        "sentinel:// is the form of Celery, which keeps the service apart; write "
        f"redis+sentinel://{login}{','.join(hosts)}/SERVICE/{db}, SERVICE being its "
        "option master_name"
    )
