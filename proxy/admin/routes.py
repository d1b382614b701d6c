"""Every call in one table: the dispatcher, OpenAPI and the tests read it."""

from dataclasses import dataclass
from typing import Any, Final

from proxy.admin import breaker_views, guard, live_views, rule_views, version_views
from proxy.admin.calls import View
from proxy.admin.live_views import LiveViews
from proxy.admin.types import (
    Alive,
    BreakerSet,
    Changed,
    Connections,
    Draining,
    ExplainRequest,
    Explanation,
    Faulting,
    Ready,
    ResetDone,
    RollBack,
    RuleSet,
    RuleView,
    Stats,
    VersionDetail,
    VersionList,
)

DRY_RUN: Final = "dry_run"
LIMIT: Final = "limit"
IF_MATCH: Final = "if_match"
IF_NONE_MATCH: Final = "if_none_match"
RULE: Final = "rule"  # bodies of the rule language, described by rules.schema
RULES: Final = "rules"
PATCH: Final = "patch"
CHANGE: Final = (DRY_RUN, IF_MATCH)
PUT: Final = (*CHANGE, IF_NONE_MATCH)


@dataclass(frozen=True)
class Route:
    """One call.

    ``body``: a type, one of RULE, RULES and PATCH, or None; ``gives``: a type or a media type.
    """

    method: str
    path: str
    view: View
    gives: Any
    body: Any = None
    accepts: tuple[str, ...] = guard.JSON
    options: tuple[str, ...] = ()
    status: int = 200
    errors: tuple[int, ...] = ()
    public: bool = False  # no token is asked for, and the health listener has it too

    @property
    def summary(self) -> str:
        """What it does: the first line of the view's docstring."""
        return (self.view.__doc__ or "").strip().splitlines()[0]

    @property
    def name(self) -> str:
        """A name that no other call has."""
        return getattr(self.view, "__name__", "view")

    @property
    def parameters(self) -> tuple[str, ...]:
        """What it takes in the query."""
        return tuple(name for name in self.options if name not in (IF_MATCH, IF_NONE_MATCH))

    def match(self, path: str) -> dict[str, str] | None:
        """Give the parameters in the path, or None where it is another path."""
        wanted, given = self.path.split("/"), path.split("/")
        if len(wanted) != len(given):
            return None
        params: dict[str, str] = {}
        for want, have in zip(wanted, given, strict=True):
            if want.startswith("{") and have:
                params[want[1:-1]] = have
            elif want != have:
                return None
        return params


def make_routes(live: LiveViews, openapi: View) -> tuple[Route, ...]:
    """Make the table."""
    views = live_views
    return (
        *_rule_routes(),
        Route("GET", "/v1/breakers", breaker_views.get_breakers, BreakerSet, options=(LIMIT,)),
        Route(
            "PATCH",
            "/v1/breakers/{name}",
            breaker_views.patch_breaker,
            Changed,
            PATCH,
            guard.PATCH,
            CHANGE,
            200,
            (404, 409, 412, 422),
        ),
        Route("POST", "/v1/explain", rule_views.explain_request, Explanation, ExplainRequest, errors=(422,)),
        Route("POST", "/v1/stop", views.stop, Faulting),
        Route("POST", "/v1/resume", views.resume, Faulting),
        Route("POST", "/v1/drain", views.drain, Draining, status=202),
        Route("GET", "/v1/stats", live.stats, Stats, options=(LIMIT,)),
        Route("GET", "/v1/events", views.events, "text/event-stream", errors=(503,)),
        Route("GET", "/v1/config", views.config, dict[str, Any]),
        Route("GET", "/v1/connections", views.connections, Connections, options=(LIMIT,)),
        Route("GET", "/v1/openapi.json", openapi, dict[str, Any]),
        Route("GET", "/healthz", views.healthz, Alive, public=True),
        Route("GET", "/readyz", views.readyz, Ready, errors=(503,), public=True),
        Route("GET", "/metrics", live.metrics, "text/plain"),
    )


def _rule_routes() -> tuple[Route, ...]:
    """Make the part of it about rules and their versions."""
    one = "/v1/rules/{name}"
    rules, versions = rule_views, version_views
    return (
        Route("GET", "/v1/rules", rules.get_rules, RuleSet),
        Route("PUT", "/v1/rules", rules.put_rules, Changed, RULES, guard.RULES, CHANGE, 200, (412, 422)),
        Route("POST", "/v1/rules", rules.post_rule, Changed, RULE, guard.RULES, CHANGE, 201, (409, 412, 422)),
        Route("GET", "/v1/rules/versions", versions.get_versions, VersionList, options=(LIMIT,)),
        Route("GET", "/v1/rules/versions/{version}", versions.get_version, VersionDetail, errors=(404,)),
        Route(
            "POST",
            "/v1/rules/rollback",
            versions.roll_back,
            Changed,
            RollBack,
            options=CHANGE,
            errors=(404, 412, 422),
        ),
        Route("GET", one, rules.get_rule, RuleView, errors=(404,)),
        Route("PUT", one, rules.put_rule, Changed, RULE, guard.RULES, PUT, 200, (412, 422)),
        Route("PATCH", one, rules.patch_rule, Changed, PATCH, guard.PATCH, CHANGE, 200, (404, 412, 422)),
        Route("DELETE", one, rules.delete_rule, Changed, options=CHANGE, errors=(404, 409, 412)),
        Route("POST", one + "/reset", rules.reset_rule, ResetDone, options=(IF_MATCH,), errors=(404, 412)),
    )


def health_routes(routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """Give the calls of the health listener: nothing there shows rules, requests or configuration."""
    return tuple(route for route in routes if not route.path.startswith("/v1/"))
