"""Rules as written: frozen, typed, each with the place where it stands."""

from dataclasses import dataclass, field
from typing import Any

from rules.fault import Fault


@dataclass(frozen=True)
class Place:
    """Where something stands: file (or other source), line and column from 1; 0 where unknown."""

    source: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class Text:
    """A condition on a string.

    ``how`` is exact, prefix, suffix, regex (RE2, unanchored), template (paths only: ``{x}`` is
    one segment), present or not.  ``present`` uses ``wanted``; ``not`` uses ``negated`` and also holds
    where the string is absent.
    """

    how: str
    value: str = ""
    wanted: bool = True
    negated: "Text | None" = None


@dataclass(frozen=True)
class ResponseMatch:
    """Conditions on the upstream's answer."""

    status: tuple[tuple[int, int], ...] = ()  # inclusive ranges
    headers: tuple[tuple[str, Text], ...] = ()
    grpc_status: tuple[int, ...] = ()


@dataclass(frozen=True)
class Match:
    """Every given part must hold; an absent (empty or None) part holds for all."""

    listener: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    protocol: tuple[str, ...] = ()
    host: Text | None = None
    path: Text | None = None
    method: tuple[str, ...] = ()
    query: tuple[tuple[str, Text], ...] = ()
    headers: tuple[tuple[str, Text], ...] = ()  # names lower-case
    grpc_service: Text | None = None
    grpc_method: Text | None = None
    attempt: tuple[int, ...] = ()
    source: tuple[str, ...] = ()  # CIDR, validated
    sni: Text | None = None
    dns_name: Text | None = None
    dns_type: tuple[str, ...] = ()
    certificate_subject: Text | None = None
    certificate_san: Text | None = None
    certificate_fingerprint: Text | None = None
    response: ResponseMatch | None = None


@dataclass(frozen=True)
class Sample:
    """Which of the matches fire.  ``percent`` is in millionths: 12.5 % is 125_000."""

    percent: int = 1_000_000
    sticky: str = ""  # "", "header:x-user-id", "cookie:sid", "query:q", "source", "path", "sni", "name"
    every: int = 0
    first: int = -1  # -1: no bound
    max_active: int = -1
    seed: int = 0


@dataclass(frozen=True)
class Schedule:
    """When a rule that is in force acts; times in seconds, 0.0: none.

    ``cron``: a window of ``duration`` opens at each tick; "": there is one window, after ``start_after``.
    """

    start_after: float = 0.0  # from when the rule came into force
    duration: float = 0.0
    ramp: float = 0.0  # the percentage climbs from 0 over this time
    cron: str = ""  # five fields
    timezone: str = "UTC"  # in which the fields are, a name of the IANA database


@dataclass(frozen=True)
class PlannedFault:
    """One entry under ``faults:``: the fault and the sample of its own, if any."""

    fault: Fault
    sample: Sample | None = None


@dataclass(frozen=True)
class Rule:
    """One rule as written; ``written`` is its plain form (dict, list, str, numbers) for JSON and hashing."""

    name: str
    place: Place
    written: dict[str, Any] = field(hash=False)
    faults: tuple[PlannedFault, ...] = ()
    description: str = ""
    enabled: bool = True
    shadow: bool = False
    priority: int = 0
    final: bool = False
    proof: bool = True
    match: Match = Match()
    sample: Sample = Sample()
    schedule: Schedule | None = None
    ttl: float | None = None  # seconds until it ends by itself; only rules of the admin endpoint have one
    files: tuple[tuple[str, str], ...] = ()  # what it was made of besides its text: path and SHA-256
