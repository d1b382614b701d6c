"""How each kind of option is written: the parameters behind the names in ``proxy.config.options``.

Errors, JSON Schema and the checks of the command line come from the same objects.
"""

from typing import Any, Final

from proxy.config.addresses import Address, PortRange, ResolverAddress, UpstreamAddress
from rules.http_params import StatusRange
from rules.match_params import HEADERS, HOST_TEXT, PATH_TEXT, Network
from rules.params import (
    ALONE,
    BadValue,
    Bool,
    Context,
    Duration,
    Integer,
    Param,
    Schema,
    Size,
    Text,
    show,
    words,
)
from rules.records import Field, ListOf, Record, Values

NAME: Final = Text(
    "a name of a-z, 0-9, dot, dash and underscore, at most 63 characters", "[a-z0-9][a-z0-9._-]{0,62}"
)
LISTEN: Final = Address(listen=True)
CONNECT: Final = Address(listen=False)
WEIGHT: Final = Integer(1, 1_000_000)
FILE: Final = Text("the path of a file", low=1)

Weighted = tuple[str, int]


class TlsVersion(Param[str]):
    """A version of TLS, as a number or a string."""

    human = "1.2 or 1.3"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a version."""
        if value not in (1.2, 1.3, "1.2", "1.3"):
            raise self.wrong(value)
        return str(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {"enum": ["1.2", "1.3", 1.2, 1.3]}


class Workers(Integer):
    """The number of worker processes; more than one belongs to a later version."""

    def __init__(self) -> None:
        super().__init__(1, 1)

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read 1."""
        if value == "auto" or (type(value) is int and value > 1):
            raise BadValue(f"{show(value)}: more than one worker is not supported by this version yet")
        return super().parse(value, context)


def _weighted(key: str, param: Param[str]) -> Record[Weighted]:
    """Make the form ``{key: …, weight: 5}``."""

    def make(values: Values) -> Weighted:
        return (values[key], values["weight"])

    fields = {key: Field(param), "weight": Field(WEIGHT, 1, "The share of this one among all")}
    return Record(fields, make, short=key, human=f"{{{key}, weight}}")


class Several(Param[tuple[Weighted, ...]]):
    """One value or a non-empty list of values, each alone or with its weight."""

    def __init__(self, key: str, param: Param[str]) -> None:
        self.human = f"{param.human}, or a list of them"
        self._list = ListOf(_weighted(key, param), single=True, low=1)

    def parse(self, value: object, context: Context = ALONE) -> tuple[Weighted, ...]:
        """Read one or several; the same one twice is an error."""
        items = self._list.parse(value, context)
        names = [name for name, _ in items]
        twice = [name for number, name in enumerate(names) if name in names[:number]]
        if twice:
            raise BadValue(f'"{twice[0]}" is given twice')
        return items

    def schema(self) -> Schema:
        """Describe both forms."""
        return self._list.schema()


class InetListen(Address):
    """Where to listen over UDP, too: no Unix socket."""

    def __init__(self) -> None:
        super().__init__(listen=True)
        self.human = "an address (host:port, [ipv6]:port or :port)"

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read an address."""
        if isinstance(value, str) and value.startswith("unix:"):
            raise self.wrong(value)
        return super().parse(value, context)


class Resolvers(ListOf[str]):
    """Who looks names up: resolvers by their addresses, or ``system`` alone."""

    def __init__(self) -> None:
        super().__init__(ResolverAddress(), single=True, low=1)

    def parse(self, value: object, context: Context = ALONE) -> tuple[str, ...]:
        """Read them."""
        items = super().parse(value, context)
        if "system" in items and len(items) > 1:
            raise BadValue("system stands alone: its resolvers are those of /etc/resolv.conf")
        return items


ROUTE_UPSTREAMS: Final = Several("upstream", NAME)

KINDS: Final[dict[str, Param[Any]]] = {
    "access": words("all", "injected", "none"),
    "addresses": Several("address", UpstreamAddress()),
    "authority": Text("a host, with its port where it has one", r"[A-Za-z0-9._:\[\]-]+", high=260),
    "balance": words("round_robin", "least_requests", "random"),
    "bool": Bool(),
    "capture": words("none", "redirect"),
    "client_auth": words("none", "optional", "required"),
    "count": Integer(1, 1_000_000),
    "duration": Duration(low=0.001),
    "file": FILE,
    "head_size": Size(low=1024, high=1 << 20),
    "hops": Integer(0, 100),
    "host_text": HOST_TEXT,
    "hosts": ListOf(Text("a host name without port", r"[A-Za-z0-9._:\[\]-]+", high=253), single=True),
    "http_url": Text("a URL such as http://proxy.example:9906", r"http://[A-Za-z0-9._:\[\]-]+/?", high=300),
    "inet_listen": InetListen(),
    "interval": Duration(low=0.1),
    "level": words("debug", "info", "warning", "error"),
    "listen": LISTEN,
    "listener_protocol": words("auto", "http", "http1", "http2", "tcp"),
    "log_format": words("json", "text"),
    "name": NAME,
    "networks": ListOf(Network(), single=True, low=1),
    "ports": ListOf(PortRange(), single=True),
    "probing": Duration(low=1.0, high=32767.0),  # what Linux takes for TCP_KEEPIDLE
    "paths": ListOf(FILE, single=True),
    "resolvers": Resolvers(),
    "header_texts": HEADERS,
    "path_text": PATH_TEXT,
    "server_name": Text("a host name without port", r"[A-Za-z0-9._:-]+", high=253),
    "service": Text('the name of a gRPC service, or "" for the whole server', r"[!-~]*", high=1024),
    "size": Size(),
    "small": Integer(0, 10_000),
    "statuses": ListOf(StatusRange(), single=True, low=1),
    "streak": Integer(1, 1000),
    "target": Text("a path such as /healthz, of visible ASCII", r"/[!\"$-~]*", high=2048),
    "tls_mode": words("none", "terminate", "passthrough", "auto"),
    "tls_version": TlsVersion(),
    "upstream_protocol": words("auto", "http1", "http2", "tcp"),
    "when_all_unhealthy": words("use_all", "fail"),
    "workers": Workers(),
}
