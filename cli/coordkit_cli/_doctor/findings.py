"""What the facts mean for locks: a finding each, with what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from coordkit import NotPermitted

from .facts import Facts, Way
from .flaws import Version, standing

State = Literal["ok", "warning", "unsafe", "unknown"]

OLDEST: Version = (6, 2, 0)
#: A round trip that is a sizeable part of a call's time-out, 2 s at most.
SLOW = 0.1
#: Clocks that are set by NTP differ by less.
FAR = 2.0
LOCAL = {"localhost", "127.0.0.1", "::1"}
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Finding:
    """One finding: a line for people; *values*: the facts for programs."""

    check: str
    state: State
    text: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])


def judge(facts: Facts) -> list[Finding]:
    """Return what the facts of one server mean."""
    return [each for check in _CHECKS for each in check(facts)]


def unsaid(facts: Facts, question: str) -> str:
    """Return why the answer to *question* is unknown."""
    return facts.refused.get(question, "the server does not tell").rstrip(".")


def setting(facts: Facts, name: str) -> str | None:
    """Return a setting of the server; INFO tells some that CONFIG GET refuses."""
    told = facts.config.get(name)
    return facts.info.get(name.replace("-", "_")) if told is None else told


def program(facts: Facts) -> tuple[str, Version | None]:
    """Return what runs there, "Redis" or "Valkey", and its version."""
    name = "Valkey" if "valkey_version" in facts.info else "Redis"
    number = facts.info.get(f"{name.lower()}_version", "")
    found = _VERSION.match(number)
    if found is None:
        return name, None
    major, minor, patch = map(int, found.groups())
    return name, (major, minor, patch)


def kept_in_file(facts: Facts) -> bool | None:
    """Whether the server appends every change to a file; None when it does not tell."""
    told = facts.info.get("aof_enabled", facts.config.get("appendonly"))
    return None if told is None else told in ("1", "yes")


# -- the checks --------------------------------------------------------------------------


def _server(facts: Facts) -> Iterator[Finding]:
    name, version = program(facts)
    if version is None:
        why = unsaid(facts, "INFO everything")
        yield Finding("server", "unknown", f"its version is unknown: {why}")
        return
    number = ".".join(map(str, version))
    values = {"server": name, "version": number}
    mode = facts.info.get("redis_mode") or facts.info.get("server_mode") or "unknown"
    if name == "Redis" and version < OLDEST:
        text = f"Redis {number} is older than 6.2, the oldest that coordkit works with"
        yield Finding("server", "unsafe", text, values)
        return
    yield Finding("server", "ok", f"{name} {number}, {mode}", values | {"mode": mode})


def _role(facts: Facts) -> Iterator[Finding]:
    role = facts.info.get("role")
    if role == "slave":
        text = (
            "it is a replica, and refuses to write: connect to its master, or by "
            "redis+sentinel://"
        )
        yield Finding("role", "unsafe", text, {"role": "replica"})
    elif facts.info.get("loading") == "1":
        yield Finding("role", "warning", "it is loading its data, and answers later")


def _eviction(facts: Facts) -> Iterator[Finding]:
    policy, limit = setting(facts, "maxmemory-policy"), setting(facts, "maxmemory")
    values = {"policy": policy, "maxmemory": limit}
    if policy is None:
        text = (
            f"the policy is unknown: {unsaid(facts, 'CONFIG GET maxmemory-policy')}; any "
            "other than noeviction may throw a held lock away"
        )
        yield Finding("eviction", "unknown", text, values)
    elif policy == "noeviction":
        text = (
            "noeviction: when memory is full, new locks are refused and held ones kept"
        )
        yield Finding("eviction", "ok", text, values)
    elif limit == "0":
        text = (
            f"{policy}, but without maxmemory nothing is evicted; set maxmemory-policy "
            "noeviction before you set maxmemory"
        )
        yield Finding("eviction", "warning", text, values)
    else:
        text = (
            f"{policy}: when memory is full, Redis throws held locks away, and two may "
            "hold one; set maxmemory-policy noeviction, or give locks a Redis of their own"
        )
        yield Finding("eviction", "unsafe", text, values)


def _persistence(facts: Facts) -> Iterator[Finding]:
    kept, fsync = kept_in_file(facts), setting(facts, "appendfsync")
    values = {"aof": kept, "appendfsync": fsync, "save": setting(facts, "save")}
    if kept is None:
        text = f"unknown: {unsaid(facts, 'INFO everything')}"
        yield Finding("persistence", "unknown", text, values)
    elif kept and facts.info.get("aof_last_write_status", "ok") != "ok":
        text = "the append-only file cannot be written: see the server's log"
        yield Finding("persistence", "warning", text, values)
    elif kept and fsync == "always":
        text = "append-only file, appendfsync always: what was answered is on the disk"
        yield Finding("persistence", "ok", text, values)
    elif kept and fsync is not None:
        text = (
            f"append-only file, appendfsync {fsync}: a crash of the server loses nothing, "
            "a power cut the last second or so"
        )
        yield Finding("persistence", "ok", text, values)
    elif kept:
        text = "append-only file; how often it reaches the disk is unknown: " + unsaid(
            facts, "CONFIG GET appendfsync"
        )
        yield Finding("persistence", "ok", text, values)
    else:
        text = (
            "no append-only file: a restart goes back to the last snapshot, or to nothing, "
            "and leases end early; set appendonly yes"
        )
        yield Finding("persistence", "warning", text, values)


def _replicas(facts: Facts) -> Iterator[Finding]:
    count = facts.info.get("connected_slaves")
    least = facts.config.get("min-replicas-to-write")
    if count is None:
        text = f"unknown: {unsaid(facts, 'INFO everything')}"
        yield Finding("replicas", "unknown", text)
        return
    values = {
        "replicas": int(count),
        "min_replicas_to_write": None if least is None else int(least),
        "lag": [replica.lag for replica in facts.replicas],
    }
    if count == "0":
        yield Finding("replicas", "ok", "none", values)
        return
    many = f"{count} replica{'' if count == '1' else 's'}"
    if least is None:
        why = unsaid(facts, "CONFIG GET min-replicas-to-write")
        text = f"{many}; min-replicas-to-write is unknown: {why}"
        yield Finding("replicas", "unknown", text, values)
    elif least == "0":
        text = (
            f"{many}, and min-replicas-to-write 0: a master that is cut off goes on "
            "granting until it is found; 1, with a small min-replicas-max-lag, shortens that"
        )
        yield Finding("replicas", "warning", text, values)
    else:
        text = (
            f"{many}, min-replicas-to-write {least}: a master that is cut off stops "
            f"granting after {facts.config.get('min-replicas-max-lag', '?')} s"
        )
        yield Finding("replicas", "ok", text, values)


def _flaws(facts: Facts) -> Iterator[Finding]:
    name, version = program(facts)
    if version is None:
        return
    number = ".".join(map(str, version))
    found = standing(name, version)
    values = {"cves": {flaw.name: flaw.allows for flaw in found}}
    if not found:
        text = f"none of the known flaws of Lua are in {name} {number}"
        yield Finding("flaws", "ok", text, values)
        return
    text = (
        f"by its number, {name} {number} has known flaws in Lua, for whoever may run "
        f"scripts: {', '.join(values['cves'])}; update it, unless your distribution has "
        "mended it without changing the number"
    )
    yield Finding("flaws", "warning", text, values)


def _latency(facts: Facts) -> Iterator[Finding]:
    if not facts.trips:
        yield Finding("latency", "unknown", f"unknown: {unsaid(facts, 'PING')}")
        return
    middle, worst = median(facts.trips), facts.trips[-1]
    text = f"a round trip takes {_ms(middle)}, the worst of {len(facts.trips)} {_ms(worst)}"
    values = {"median": round(middle, 6), "worst": round(worst, 6)}
    if middle > SLOW:
        text += f"; leases shorter than {100 * middle:.0f} s are lost for nothing"
        yield Finding("latency", "warning", text, values)
    else:
        yield Finding("latency", "ok", text, values)


def _clocks(facts: Facts) -> Iterator[Finding]:
    its = facts.clock
    if its is None:
        yield Finding("clock", "unknown", "the server does not tell the time")
        return
    values = {"ahead": round(its.ahead, 6), "within": round(its.within, 6)}
    text = f"the server's clock {_apart(its.ahead, its.within)} ours; no lease depends on that"
    if abs(its.ahead) - its.within > FAR:
        text += ", but cron's ticks go by the server's"
        yield Finding("clock", "warning", text, values)
    else:
        yield Finding("clock", "ok", text, values)
    for replica in facts.replicas:
        if replica.clock is None:
            text = (
                f"the clock of replica {replica.address} is unknown: it gave no answer"
            )
            yield Finding("replica clock", "unknown", text)
            continue
        ahead = replica.clock.ahead - its.ahead
        within = replica.clock.within + its.within
        text = f"the clock of replica {replica.address} {_apart(ahead, within)} its master's"
        values = {"ahead": round(ahead, 6), "within": round(within, 6)}
        if ahead + within < -FAR:
            text += ": if it is promoted, tokens may fall; set it by NTP"
            yield Finding("replica clock", "warning", text, values)
        else:
            yield Finding("replica clock", "ok", text, values)


def _apart(ahead: float, within: float) -> str:
    if abs(ahead) <= max(within, 0.001):
        return f"is, within {_ms(max(within, 0.001))}, the same as"
    where = "ahead of" if ahead > 0 else "behind"
    return f"is {_ms(abs(ahead))} (± {_ms(within)}) {where}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


_CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _server,
    _role,
    _eviction,
    _persistence,
    _replicas,
    _flaws,
    _latency,
    _clocks,
)


def reached(way: Way, facts: Facts) -> list[Finding]:
    """Return what the way to the server means: rights, and who may listen on it."""
    return [*_rights(way, facts), *_wire(way)]


def _rights(way: Way, facts: Facts) -> Iterator[Finding]:
    user = facts.user
    who = "this user" if user is None else f"the user {user!r}"
    if way.trial is not None:
        more = ""
        if isinstance(way.trial, NotPermitted):
            more = "; coordkit acl prints the rights that it needs"
        text = f"no lock could be taken and given back: {way.trial}{more}"
        yield Finding("rights", "unsafe", text, {"user": user, "works": False})
        return
    values = {"user": user, "works": True}
    if user == "default" and "CONFIG GET maxmemory" not in facts.refused:
        text = (
            "a lock was taken and given back; the user 'default' may do everything else, "
            "too: coordkit acl prints a user that may not"
        )
        yield Finding("rights", "warning", text, values)
        return
    text = f"{who} could take a lock and give it back"
    yield Finding("rights", "ok", text, values)


def _wire(way: Way) -> Iterator[Finding]:
    values = {"kind": way.kind, "tls": way.tls}
    if way.tls:
        yield Finding("wire", "ok", "TLS", values)
    elif way.kind == "unix" or set(way.hosts) <= LOCAL:
        yield Finding("wire", "ok", "not encrypted, and stays on this machine", values)
    else:
        text = (
            "not encrypted: whoever is on the way reads names and the password, and can "
            "take any lock; use rediss://"
        )
        yield Finding("wire", "warning", text, values)
