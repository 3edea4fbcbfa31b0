"""Members and what becomes of them as they are told: in a line, and in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._duration import spoken

if TYPE_CHECKING:
    from coordkit import MemberInfo
    from coordkit._core.members import GroupEvent

HEADING = ("IDENTITY", "STATE", "WEIGHT", "LOAD", "ZONE", "EXPIRES IN", "SUSPICION")


def row(member: MemberInfo) -> tuple[str, ...]:
    """Return a member as a row below `HEADING`."""
    most = "" if member.capacity is None else f"/{member.capacity:g}"
    return (
        member.identity,
        member.state,
        f"{member.weight:g}",
        f"{member.load:g}{most}",
        member.zone or "-",
        spoken(member.expires_in),
        f"{member.suspicion:.2f}",
    )


def record(member: MemberInfo) -> dict[str, Any]:
    """Return a member as it is written in JSON; times in seconds."""
    return {
        "identity": member.identity,
        "state": member.state,
        "weight": member.weight,
        "capacity": member.capacity,
        "load": member.load,
        "zone": member.zone,
        "token": member.token,
        "since": member.since,
        "expires_in": member.expires_in,
        "suspicion": round(member.suspicion, 3),
        "holder": member.holder,
        "meta": member.meta,
    }


def event_record(event: GroupEvent) -> dict[str, Any]:
    """Return an event as it is written in JSON; times in seconds."""
    from coordkit import Changed, Died, Joined, Left, Members, Resumed, Suspended

    match event:
        case Members():
            known = {"version": event.version, "birth": event.birth}
            members = [record(member) for member in event]
            return {"event": "members", **known, "members": members}
        case Died():
            many = {"together": event.together, "of": event.of, "mass": event.mass}
            return _change("died", event.version, event.member) | many
        case Changed():
            before = {"before": record(event.before)}
            return _change("changed", event.version, event.member) | before
        case Joined():
            return _change("joined", event.version, event.member)
        case Left():
            return _change("left", event.version, event.member)
        case Suspended():
            return {"event": "suspended", "why": event.why}
        case Resumed():
            return {"event": "resumed", "silent": event.silent}


def _change(event: str, version: int, member: MemberInfo) -> dict[str, Any]:
    return {"event": event, "version": version, "member": record(member)}


def event_line(event: GroupEvent) -> str:
    """Return an event in one line."""
    from coordkit import Changed, Died, Joined, Left, Members, Resumed, Suspended

    match event:
        case Members():
            names = ", ".join(member.identity for member in event) or "nobody"
            return f"version {event.version}: {names}"
        case Died():
            many = f", {event.together} of {event.of} at once" if event.mass else ""
            return f"version {event.version}: {event.member.identity} has died{many}"
        case Changed(member, version, before):
            return f"version {version}: {member.identity} {_what(before, member)}"
        case Joined(member, version):
            return f"version {version}: {member.identity} has joined"
        case Left(member, version):
            return f"version {version}: {member.identity} has left"
        case Suspended():
            return f"no answer: {event.why}"
        case Resumed():
            return f"answers again, after {spoken(event.silent)}"


def _what(before: MemberInfo, now: MemberInfo) -> str:
    """Say what a member has reported."""
    changed = [
        f"{name} {old} -> {new}"
        for name in ("state", "load", "weight", "capacity", "zone")
        if (old := getattr(before, name)) != (new := getattr(now, name))
    ]
    return ", ".join(changed) or "has new meta"
