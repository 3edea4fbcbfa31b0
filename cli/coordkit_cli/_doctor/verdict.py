"""Which columns of the README's table of guarantees this Redis gives, and when."""

from __future__ import annotations

from dataclasses import dataclass

from .facts import Facts, Way
from .findings import Finding, kept_in_file, setting

#: The columns of the table, by their headings.
KEPT, LOST, PROMOTED = (
    "one Redis, AOF",
    "one Redis, data lost",
    "replica promoted",
)


@dataclass(frozen=True)
class Column:
    """A column of the table that counts, and when."""

    name: str
    text: str


def columns(way: Way, facts: list[Facts]) -> list[Column]:
    """Return the columns that count for these servers, the usual one first."""
    return [*_kept(facts), *_lost(facts), *_promoted(way, facts)]


def _kept(facts: list[Facts]) -> list[Column]:
    persistent = [kept_in_file(each) for each in facts]
    if all(persistent):
        return [
            Column(
                KEPT,
                "as long as the server keeps its data, through its crashes and restarts, "
                "too: at most one lease at a time, and tokens rise",
            )
        ]
    if None in persistent:
        return [
            Column(
                KEPT,
                "as long as the server keeps its data; whether it does over a restart, it "
                "does not tell",
            )
        ]
    return [
        Column(
            KEPT,
            "only until the server restarts, for it keeps no append-only file: until then "
            "at most one lease at a time, and tokens rise",
        )
    ]


def _lost(facts: list[Facts]) -> list[Column]:
    consequence = (
        "then two may hold a lock for a while, tokens go on rising, and the old holder "
        "is told at its next renewal"
    )
    if any(
        setting(each, "maxmemory-policy") not in (None, "noeviction") for each in facts
    ):
        when = "whenever memory is full and Redis evicts, and after a loss of data"
    elif all(kept_in_file(each) for each in facts):
        always = all(setting(each, "appendfsync") == "always" for each in facts)
        when = (
            "after a lost disk, a FLUSHALL or an old dump that is restored"
            if always
            else "after a power cut, a lost disk, a FLUSHALL or an old dump that is restored"
        )
    else:
        when = "after each restart"
    return [Column(LOST, f"{when}: {consequence}")]


def _promoted(way: Way, facts: list[Facts]) -> list[Column]:
    counts = [each.info.get("connected_slaves") for each in facts]
    consequence = (
        "what it had not received is lost, so that two may hold a lock for a while; "
        "tokens go on rising, as long as its clock is not behind"
    )
    if way.kind == "sentinel":
        return [Column(PROMOTED, f"when Sentinel promotes a replica: {consequence}")]
    if any(count not in (None, "0") for count in counts):
        who = "the cluster" if way.kind == "cluster" else "you or your provider"
        return [Column(PROMOTED, f"when {who} promotes a replica: {consequence}")]
    if None in counts:
        text = "whether there are replicas, it does not tell; if one is promoted: "
        return [Column(PROMOTED, text + consequence)]
    return []


def unsafe(findings: list[Finding]) -> bool:
    """Whether no column counts, because one of the findings forbids it."""
    return any(finding.state == "unsafe" for finding in findings)
