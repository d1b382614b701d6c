"""What the admin endpoint takes and gives: the views build these, and OpenAPI is made from them."""

from typing import Annotated, Any

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
Time = Annotated[str, Meta(description="RFC 3339, UTC", examples=["2026-11-21T09:30:00.000Z"])]


class LimitCounts(Struct, frozen=True):
    """What is under way within a limit, and what it said."""

    connections: Count
    requests: Count
    waiting: Count
    keys: Count
    asked: Annotated[dict[str, int], Meta(description="By verdict: admitted, or what stood in the way")]


class FaultCounts(Struct, frozen=True, omit_defaults=True):
    """What one fault of a rule did."""

    fault: Annotated[str, Meta(description="Kind of the fault")]
    phase: Annotated[str, Meta(description="Phase where it acts")]
    injected: Annotated[Count, Meta(description="How often it acted")]
    shadowed: Annotated[Count, Meta(description="How often it would have acted, in mode shadow")]
    skipped: Annotated[dict[str, Count], Meta(description="Messages it could not act on, by the reason")] = {}
    limit: Annotated[LimitCounts | None, Meta(description="Of a limit that has been asked")] = None


class RuleCounts(Struct, frozen=True):
    """What a rule did since its state began."""

    matches: Count
    keyless: Annotated[Count, Meta(description="Matches without the sticky key")]
    fired: Annotated[Count, Meta(description="Firings that count against `first`")]
    active: Annotated[Count, Meta(description="Exchanges under way that it hit")]
    injected: Annotated[Count, Meta(description="Injections of all its faults")]
    shadowed: Annotated[Count, Meta(description="What would have been injected, in mode shadow")]
    faults: list[FaultCounts]


class ScheduleView(Struct, frozen=True, omit_defaults=True):
    """Where a rule stands in its schedule."""

    state: Annotated[
        str, Meta(description="waiting (for its first window, or the next one), active or ended")
    ]
    opens: Annotated[Time | None, Meta(description="When the next window opens")] = None
    closes: Annotated[Time | None, Meta(description="When the one that is open closes")] = None
    percent: Annotated[float, Meta(description="The percentage that its ramp has climbed to")] = 0.0


class RuleView(Struct, frozen=True, omit_defaults=True):
    """One rule in force (or disabled)."""

    name: str
    layer: Annotated[str, Meta(description="file or admin")]
    source: Annotated[str, Meta(description="Where it was written, with line and column where known")]
    enabled: bool
    mode: Annotated[str, Meta(description="inject or shadow")]
    rule: Annotated[dict[str, Any], Meta(description="The rule as written")]
    counts: RuleCounts
    covers: Annotated[bool, Meta(description="It takes the place of a rule of the files")] = False
    expires: Annotated[Time | None, Meta(description="When its ttl ends")] = None
    schedule: Annotated[ScheduleView | None, Meta(description="Where it stands in its schedule")] = None


class ReloadView(Struct, frozen=True):
    """How the last look at the rule files went."""

    ok: Annotated[bool, Meta(description="The files are in force as they are")]
    time: Annotated[Time | None, Meta(description="When the files last came into force")]
    problems: Annotated[list[str], Meta(description="Why they are not: the last good set stays")]


class RuleSet(Struct, frozen=True):
    """The set in force."""

    version: Count
    sha256: Annotated[str, Meta(description="Of the set's canonical form")]
    created: Time
    source: Annotated[str, Meta(description="What made this version")]
    stopped: Annotated[bool, Meta(description="The red button is pressed: nothing is injected")]
    reload: ReloadView
    rules: list[RuleView]


class Changed(Struct, frozen=True):
    """What a change did, or would do."""

    version: Annotated[Count, Meta(description="The version in force now")]
    sha256: Annotated[str, Meta(description="Of the set; with dry_run of the set that would be")]
    dry_run: bool
    added: list[str]
    changed: list[str]
    removed: list[str]


class VersionView(Struct, frozen=True):
    """One version of the rules: who made it, out of what."""

    version: Count
    sha256: Annotated[str, Meta(description="Of the set's canonical form")]
    created: Time
    author: Annotated[str, Meta(description="Who made it: local, token, a user's uid, files or ttl")]
    client: Annotated[str, Meta(description="From where; empty for files and ttl")]
    source: Annotated[str, Meta(description="What it was made by")]
    layer: Annotated[str, Meta(description="file or admin")]
    added: list[str]
    changed: list[str]
    removed: list[str]


class VersionList(Struct, frozen=True):
    """The versions that are kept."""

    version: Annotated[Count, Meta(description="The one in force")]
    lasting: Annotated[bool, Meta(description="They outlive a restart: there is a state_dir")]
    versions: Annotated[list[VersionView], Meta(description="Newest first, at most `limit` of them")]


class VersionRule(Struct, frozen=True):
    """A rule of a version."""

    layer: Annotated[str, Meta(description="file or admin")]
    rule: Annotated[dict[str, Any], Meta(description="The rule as written")]


class VersionDetail(Struct, frozen=True):
    """One version with its rules."""

    about: VersionView
    rules: list[VersionRule]
    before: Annotated[Count | None, Meta(description="The version before, of those that are kept")]
    diff: Annotated[list[str], Meta(description="From that one to this: a unified diff of each rule")]


class RollBack(Struct, frozen=True, forbid_unknown_fields=True):
    """Which version shall be in force again."""

    version: Annotated[int, Meta(ge=1, description="One that is kept")]


class Faulting(Struct, frozen=True):
    """The state of the red button."""

    stopped: bool
    version: Count


class Draining(Struct, frozen=True):
    """The proxy ends, and takes nothing new."""

    draining: bool
    grace: Annotated[float, Meta(description="Seconds after which it has ended, whatever is under way")]
    connections: Annotated[Count, Meta(description="Clients' connections that are still open")]


class ResetDone(Struct, frozen=True):
    """The state of a rule began anew."""

    name: str
    version: Count


class ExplainRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A request to ask about; nothing is sent, drawn or counted."""

    method: str = "GET"
    path: Annotated[str, Meta(description="Path, with its query if it has one")] = "/"
    host: Annotated[str, Meta(description="Without port; default: the host header")] = ""
    headers: Annotated[
        dict[str, str | list[str]], Meta(description="By name; a list where a field is repeated")
    ] = {}
    listener: Annotated[str, Meta(description="Default: the first one")] = ""
    upstream: Annotated[str, Meta(description="Default: what the listener's routes give")] = ""
    source: Annotated[str, Meta(description="The client's IP address")] = "127.0.0.1"
    protocol: Annotated[
        str | list[str], Meta(description="http1, http2, grpc, websocket, tcp; several where several hold")
    ] = "http1"
    sni: str = ""
    response: Annotated[
        "ExplainResponse | None", Meta(description="The answer, for rules that look at it")
    ] = None


class ExplainResponse(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer of the request that is asked about."""

    status: Annotated[int, Meta(ge=100, le=999)] = 200
    headers: dict[str, str | list[str]] = {}
    grpc_status: Annotated[int, Meta(ge=-1, description="-1: none")] = -1


class Explanation(Struct, frozen=True):
    """What each rule makes of a request."""

    version: Count
    stopped: Annotated[bool, Meta(description="The red button is pressed: nothing would be injected")]
    upstream: Annotated[str, Meta(description="Where the routes send the request; empty: nowhere")]
    rules: Annotated[
        list[dict[str, Any]],
        Meta(
            description="One entry for each rule by rank: outcome, conditions with what was wanted and seen"
        ),
    ]


class Connections(Struct, frozen=True):
    """What is open."""

    total: Count
    connections: Annotated[list[dict[str, Any]], Meta(description="At most `limit` of them")]


class Percentiles(Struct, frozen=True):
    """Durations in ms, estimated from the histogram's buckets; null where nothing was seen."""

    p50: float | None
    p90: float | None
    p99: float | None


class Window(Struct, frozen=True):
    """What happened in a stretch of time."""

    seconds: float
    requests: Count
    rate: Annotated[float, Meta(description="Requests a second")]
    codes: dict[str, int]
    duration_ms: Percentiles
    duration_without_injection_ms: Percentiles


class RouteStats(Struct, frozen=True):
    """Figures of one listener's traffic to one upstream."""

    listener: str
    upstream: str
    active: int
    bytes_in: Count
    bytes_out: Count
    recent: Annotated[Window, Meta(description="The last minute, or since the start")]
    total: Annotated[Window, Meta(description="Since the start")]


class RuleStats(Struct, frozen=True):
    """Figures of one rule."""

    name: str
    matches: Count
    matches_rate: Annotated[float, Meta(description="A second, over the last minute")]
    injected: Count
    injected_rate: Annotated[float, Meta(description="A second, over the last minute")]
    shadowed: Count
    active: Count


class EndpointStats(Struct, frozen=True):
    """What health checks found at one address of an upstream."""

    upstream: str
    address: str
    state: Annotated[str, Meta(description="unknown (used like healthy), healthy or unhealthy")]
    since: Time
    last: Annotated[str, Meta(description="What the newest check saw; empty before the first")]
    checks: Annotated[dict[str, int], Meta(description="How many, by outcome")]


class Stats(Struct, frozen=True):
    """Figures of all traffic."""

    version: Count
    uptime: Annotated[float, Meta(description="Seconds")]
    stopped: bool
    held: Annotated[Count, Meta(description="Exchanges that a fault delays or stalls now")]
    routes: list[RouteStats]
    rules: list[RuleStats]
    endpoints: Annotated[list[EndpointStats], Meta(description="Addresses that are checked")]


class Alive(Struct, frozen=True):
    """The process answers."""

    status: str


class Ready(Struct, frozen=True):
    """Whether traffic should be sent here, and why not."""

    ready: bool
    listeners: Annotated[bool, Meta(description="They accept connections")]
    rules: Annotated[bool, Meta(description="A rule set is in force")]
    draining: bool
    version: Count
    reload: Annotated[str, Meta(description="ok, or failed: the last good rules are in force")]


class BreakerKey(Struct, frozen=True):
    """The breaker of one key."""

    key: Annotated[str, Meta(description="The upstream, listener/upstream, header value; empty: the rule")]
    state: Annotated[str, Meta(description="closed, half_open or open")]
    seconds: Annotated[float, Meta(description="How long it has been so, were it not forced")]
    calls: Annotated[Count, Meta(description="Outcomes in the window")]
    failures: Count
    slow: Count
    consecutive_failures: Count
    active: Annotated[int, Meta(description="Calls that were let through and are under way")]
    admitted: Count
    refused: Count


class BreakerView(Struct, frozen=True):
    """The breaker of one rule, with all its keys."""

    rule: str
    fault: Annotated[Count, Meta(description="Its place in the rule, from 0")]
    enabled: bool
    figures: Annotated[dict[str, Any], Meta(description="As they count, defaults included")]
    admitted: Count
    refused: Count
    transitions: Annotated[dict[str, int], Meta(description="How many, by the new state")]
    keys_in_all: Count
    evicted: Annotated[Count, Meta(description="Keys that had to make room for others")]
    keys: Annotated[list[BreakerKey], Meta(description="At most `limit` of them, newest use first")]


class BreakerSet(Struct, frozen=True):
    """All breakers."""

    version: Count
    stopped: Annotated[bool, Meta(description="The red button is pressed: none refuses anything")]
    breakers: list[BreakerView]
