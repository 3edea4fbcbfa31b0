"""Leaders, candidates and what becomes of them as they are told: in a line, and in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._duration import spoken
from .._output import instant

if TYPE_CHECKING:
    from coordkit import Candidate, ElectionInfo, Leader
    from coordkit._core.terms import ElectionEvent


def who(leader: Leader) -> str:
    """Return who leads, in which term."""
    return f"{leader.identity} (term {leader.token})"


def info_record(info: ElectionInfo) -> dict[str, Any]:
    """Return an election as it is written in JSON; times in seconds."""
    leader = info.leader
    return {
        "name": info.name,
        "state": info.state,
        "leader": None if leader is None else leader_record(leader),
        "candidates": [_candidate(candidate) for candidate in info.candidates],
        "paused_by": info.paused_by,
        "reason": info.reason,
    }


def leader_record(leader: Leader) -> dict[str, Any]:
    """Return a leader as it is written in JSON; times in seconds."""
    return {
        "identity": leader.identity,
        "term": leader.token,
        "since": leader.since,
        "expires_in": leader.expires_in,
        "priority": leader.priority,
        "holder": leader.holder,
        "meta": leader.meta,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "identity": candidate.identity,
        "priority": candidate.priority,
        "holder": candidate.holder,
        "meta": candidate.meta,
    }


# -- what is told of changes ----------------------------------------------------------


def event_record(event: ElectionEvent) -> dict[str, Any]:
    """Return an event as it is written in JSON; times in seconds."""
    from coordkit import Elected, Missed, Paused, Resumed, Suspended, Unpaused, Vacant

    match event:
        case Elected(leader):
            return {"event": "elected", **leader_record(leader), "at": leader.since}
        case Vacant():
            ended = {"how": event.how, "why": event.why}
            return _change("vacant", event.identity, event.at, term=event.token) | ended
        case Paused():
            return _change("paused", event.identity, event.at) | {"why": event.why}
        case Unpaused():
            return _change("unpaused", event.identity, event.at)
        case Missed():
            return {"event": "missed", "after_term": event.token}
        case Suspended():
            return {"event": "suspended", "why": event.why}
        case Resumed():
            return {"event": "resumed", "silent": event.silent}


def _change(event: str, identity: str, at: float, **more: Any) -> dict[str, Any]:
    return {"event": event, "identity": identity, **more, "at": at}


def event_line(event: ElectionEvent) -> str:
    """Return an event in one line."""
    from coordkit import Elected, Missed, Paused, Resumed, Suspended, Unpaused, Vacant

    match event:
        case Elected(leader):
            return (
                f"{instant(leader.since)}  {leader.identity} leads, term {leader.token}"
            )
        case Vacant(token=0):
            return "nobody leads, and nobody did so far"
        case Vacant():
            verb = "has resigned" if event.how == "resigned" else "was lost"
            why = f": {event.why}" if event.why else ""
            ended = f"{event.identity} {verb}, term {event.token}{why}"
            return f"{instant(event.at)}  {ended}"
        case Paused():
            why = f": {event.why}" if event.why else ""
            return f"{instant(event.at)}  paused by {event.identity}{why}"
        case Unpaused():
            by = (
                f"resumed by {event.identity}"
                if event.identity
                else "the pause is over"
            )
            return f"{instant(event.at)}  {by}"
        case Missed():
            return f"changes after term {event.token} are not known any more"
        case Suspended():
            return f"no answer: {event.why}"
        case Resumed():
            return f"answers again, after {spoken(event.silent)}"
