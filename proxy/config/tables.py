"""The tables that read the configuration, made from the types of ``proxy.config.options``."""

from collections.abc import Callable
from typing import Any, Final, get_type_hints

from msgspec import NODEFAULT, Meta, Struct, structs

from proxy.config.addresses import ORIGINAL_DST
from proxy.config.kinds import KINDS, NAME, ROUTE_UPSTREAMS
from proxy.config.options import Config, HealthCheck, RouteConfig, RouteMatch, UpstreamConfig
from rules.params import Duration, Integer, Param, Size
from rules.records import Field, ListOf, MapOf, Record, Values, at, exactly_one

Make = Callable[[Values], Any]


def written(value: object, param: Param[Any]) -> object:
    """Write a value as a file would have it: 10.0 seconds as ``10s``, 65536 bytes as ``64KiB``."""
    if isinstance(param, Duration) and isinstance(value, float):
        return _with_unit(round(value * 1000), (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)))
    if isinstance(param, Size) and isinstance(value, int):
        return _with_unit(value, (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)))
    return value


def _with_unit(amount: int, units: tuple[tuple[str, int], ...]) -> str:
    unit, size = next(((unit, size) for unit, size in units if amount % size == 0 and amount), units[-1])
    return f"{amount // size}{unit}"


def described(kind: type[Struct]) -> dict[str, tuple[str, Meta, object]]:
    """Give the options of a section: field name -> key in a file, description, default (None: made anew)."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in structs.fields(kind):
        for meta in getattr(hints[field.name], "__metadata__", ()):
            absent = field.default_factory is not NODEFAULT
            found[field.name] = (field.encode_name, meta, None if absent else field.default)
    return found


def param_of(meta: Meta) -> Param[Any]:
    """Give the parameter that reads an option."""
    extra: dict[str, Any] = meta.extra or {}
    kind, of = extra["kind"], extra.get("of")
    if of is None:
        return KINDS[kind]
    if kind == "sections":
        return ListOf(record_of(of), low=1)
    if kind == "named":
        return MapOf(NAME, record_of(of), human="a mapping of names to sections")
    return record_of(of)


def record_of(kind: type[Struct], make: Make | None = None) -> Record[Any]:
    """Make the table that reads one section into its type."""
    if kind is RouteConfig:
        return ROUTE
    fields: dict[str, Field] = {}
    names: dict[str, str] = {}
    for name, (key, meta, default) in described(kind).items():
        names[key] = name
        fields[key] = _field(param_of(meta), default, meta.description or "")
    later: dict[str, str] = getattr(kind, "LATER", {})
    make = make or {UpstreamConfig: _upstream, HealthCheck: _health}.get(kind) or kind_maker(kind, names)
    return Record(fields, make, later=later, human="a mapping")


def _field(param: Param[Any], default: object, doc: str) -> Field:
    if default is NODEFAULT:
        return Field(param, doc=doc)
    plain = isinstance(default, str | int | float | bool) and default != ""
    return Field(param, written(default, param) if plain else None, doc)


def kind_maker(kind: type[Struct], names: dict[str, str]) -> Make:
    """Give the function that makes a section of the values by key; what is absent keeps its default."""

    def make(values: Values) -> Struct:
        given = {names[key]: value for key, value in values.items() if value is not None}
        return kind(
            **{name: list(v) if isinstance(v, tuple) and name in LISTS else v for name, v in given.items()}
        )

    return make


# Options that are lists in their types; tables read tuples.
LISTS: Final = frozenset({"addresses", "hosts", "listeners", "routes", "rules"})


def _upstream(values: Values) -> UpstreamConfig:
    given = {key: value for key, value in values.items() if value is not None}
    addresses = given.pop("address")
    health = given.get("health")
    if health is not None and health.grpc is not None and given["protocol"] == "http1":
        raise at(("health", "grpc"), "gRPC is spoken over HTTP/2, and the protocol of this upstream is http1")
    return UpstreamConfig(
        name="",  # the key that it stands under; filled in by the reader of the whole
        addresses=[address for address, _ in addresses],
        weights=[weight for _, weight in addresses],
        **given,
    )


def _health(values: Values) -> HealthCheck:
    """Make a check of exactly one kind; what only another kind has is a mistake."""
    kind = exactly_one({**values, "tcp": values["tcp"] or None}, ("http", "grpc", "tcp"))
    given = {key: value for key, value in values.items() if value is not None}
    for key, of in (("expect", ("http",)), ("host", ("http", "grpc"))):
        if key in given and kind not in of:
            raise at((key,), f"a {kind} check has no use for it; only with {' or '.join(of)}")
    return HealthCheck(**given)


def _route(values: Values) -> RouteConfig:
    which = exactly_one(values, ("upstream", "upstreams"))
    targets = ((values["upstream"], 1),) if which == "upstream" else values["upstreams"]
    return RouteConfig(targets=targets, match=values["match"] or RouteMatch())


def _config(values: Values) -> Config:
    given: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
        if value is not None
    }
    named = given.get("upstreams", ())
    given["upstreams"] = {name: structs.replace(one, name=name) for name, one in named}
    del given["version"]
    return _with_dialled(Config(**given))


def _with_dialled(config: Config) -> Config:
    """Let all that no route of a capturing listener takes go where its client has dialled."""
    last = RouteConfig(targets=((ORIGINAL_DST, 1),))
    listeners = [
        structs.replace(one, routes=[*one.routes, last])
        if one.capture == "redirect" and not any(route.match.catches_all for route in one.routes)
        else one
        for one in config.listeners
    ]
    used = any(last in one.routes for one in listeners if one.capture == "redirect")
    implied = {ORIGINAL_DST: UpstreamConfig(ORIGINAL_DST, [ORIGINAL_DST], [1])} if used else {}
    return structs.replace(config, listeners=listeners, upstreams={**implied, **config.upstreams})


ROUTE: Final[Record[RouteConfig]] = Record(
    {
        "match": Field(record_of(RouteMatch), None, "Which requests; absent: all"),
        "upstream": Field(NAME, None, "Where they go"),
        "upstreams": Field(ROUTE_UPSTREAMS, None, "Where they go, by weight"),
    },
    _route,
    human="a route",
)


VERSION: Final = Integer(1, 1)
VERSION.human = "1, the version of this format"


def _whole() -> Record[Config]:
    record = record_of(Config, _config)
    fields = {"version": Field(VERSION, doc="The version of this format: 1"), **record.fields}
    return Record(fields, _config, later=record.later, human="a mapping")


CONFIG: Final[Record[Config]] = _whole()
