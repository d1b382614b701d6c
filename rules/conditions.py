"""The parts of a match, compiled: each looks at one thing of the facts.

A rule matches when all of its parts hold.  Each part can also say what it wanted and what it
saw, for ``misrule explain``.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from rules.facts import GRPC, PROTOCOLS, Facts
from rules.matchers import Matcher
from rules.reading import Network, address, grpc_names, query_values

ATTEMPT_HEADER: Final = b"x-envoy-attempt-count"
LONGEST_SEEN: Final = 120  # characters of a value that an explanation shows


def show(value: bytes | None) -> str:
    """Show a value to a person: quoted, shortened, "absent" where there is none."""
    if value is None:
        return "absent"
    text = value.decode("utf-8", "backslashreplace")
    if len(text) > LONGEST_SEEN:
        text = text[:LONGEST_SEEN] + "…"
    return f'"{text}"'


def show_all(values: list[bytes] | None) -> str:
    """Show the values of a repeated name."""
    if not values:
        return "absent"
    return ", ".join([show(value) for value in values])


@mypyc_attr(allow_interpreted_subclasses=True)
class Condition:
    """One part of a match: its path in the rule and what it wants, in words.

    ``of_exchange``: it looks at a request, so that it cannot hold for a connection where none is under way.
    """

    def __init__(self, part: str, wanted: str, of_exchange: bool) -> None:
        self.part: str = part
        self.wanted: str = wanted
        self.of_exchange: bool = of_exchange

    def holds(self, facts: Facts) -> bool:
        """Say whether the part holds for these facts."""
        raise NotImplementedError

    def seen(self, facts: Facts) -> str:
        """Show what the part looked at."""
        raise NotImplementedError


class ListenerCondition(Condition):
    """The exchange came in at one of these listeners."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__("listener", " or ".join(names), False)
        self._names: frozenset[str] = frozenset(names)

    def holds(self, facts: Facts) -> bool:
        """Look up the listener's name."""
        return facts.listener in self._names

    def seen(self, facts: Facts) -> str:
        """Show the listener's name."""
        return facts.listener


class UpstreamCondition(Condition):
    """The route chose one of these upstreams."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__("upstream", " or ".join(names), True)
        self._names: frozenset[str] = frozenset(names)

    def holds(self, facts: Facts) -> bool:
        """Look up the upstream's name."""
        return facts.upstream in self._names

    def seen(self, facts: Facts) -> str:
        """Show the upstream's name."""
        return facts.upstream or "none"


class ProtocolCondition(Condition):
    """The exchange speaks one of these protocols."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__("protocol", " or ".join(names), True)
        bits = 0
        for name in names:
            bits |= PROTOCOLS[name]
        self._bits: int = bits

    def holds(self, facts: Facts) -> bool:
        """Compare the bits."""
        return facts.protocols & self._bits != 0

    def seen(self, facts: Facts) -> str:
        """Show the protocols' names."""
        return ", ".join([name for name, bit in PROTOCOLS.items() if facts.protocols & bit]) or "none"


class HostCondition(Condition):
    """The host, in lower case and without port."""

    def __init__(self, matcher: Matcher) -> None:
        super().__init__("host", matcher.wanted, True)
        self._matcher: Matcher = matcher

    def holds(self, facts: Facts) -> bool:
        """Test the host; an empty one is absent."""
        return self._matcher.test(facts.host or None)

    def seen(self, facts: Facts) -> str:
        """Show the host."""
        return show(facts.host or None)


class PathCondition(Condition):
    """The path as it came, without the query."""

    def __init__(self, matcher: Matcher) -> None:
        super().__init__("path", matcher.wanted, True)
        self._matcher: Matcher = matcher

    def holds(self, facts: Facts) -> bool:
        """Test the path."""
        return self._matcher.test(facts.path or None)

    def seen(self, facts: Facts) -> str:
        """Show the path."""
        return show(facts.path or None)


class MethodCondition(Condition):
    """The request's method; methods are case-sensitive (RFC 9110, 9.1)."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__("method", " or ".join(names), True)
        self._names: frozenset[bytes] = frozenset([name.encode() for name in names])

    def holds(self, facts: Facts) -> bool:
        """Look up the method."""
        return facts.method in self._names

    def seen(self, facts: Facts) -> str:
        """Show the method."""
        return show(facts.method or None)


class HeaderCondition(Condition):
    """A request header; repeated ones as ``Matcher.any`` says."""

    def __init__(self, name: str, matcher: Matcher) -> None:
        super().__init__(f"headers.{name}", matcher.wanted, True)
        self.name: bytes = name.lower().encode()
        self.matcher: Matcher = matcher

    def holds(self, facts: Facts) -> bool:
        """Test the header's values."""
        return self.matcher.any(facts.headers.get(self.name))

    def seen(self, facts: Facts) -> str:
        """Show the header's values."""
        return show_all(facts.headers.get(self.name))


class QueryCondition(Condition):
    """A query parameter, decoded; repeated ones as ``Matcher.any`` says."""

    def __init__(self, name: str, matcher: Matcher) -> None:
        super().__init__(f"query.{name}", matcher.wanted, True)
        self._name: bytes = name.encode()
        self._matcher: Matcher = matcher

    def holds(self, facts: Facts) -> bool:
        """Test the parameter's values."""
        return self._matcher.any(query_values(facts.query, self._name))

    def seen(self, facts: Facts) -> str:
        """Show the parameter's values."""
        return show_all(query_values(facts.query, self._name))


class GrpcCondition(Condition):
    """The service or the method of a gRPC call, from its path ``/package.Service/Method``."""

    def __init__(self, is_service: bool, matcher: Matcher) -> None:
        super().__init__("grpc.service" if is_service else "grpc.method", matcher.wanted, True)
        self._at: int = 0 if is_service else 1
        self._matcher: Matcher = matcher

    def _name(self, facts: Facts) -> bytes | None:
        names = grpc_names(facts.path)
        if names is None:
            return None
        return names[0] if self._at == 0 else names[1]

    def holds(self, facts: Facts) -> bool:
        """Test the name; what is not a gRPC call never holds."""
        return facts.protocols & GRPC != 0 and self._matcher.test(self._name(facts))

    def seen(self, facts: Facts) -> str:
        """Show the name."""
        return show(self._name(facts)) if facts.protocols & GRPC else "not a gRPC call"


class AttemptCondition(Condition):
    """The caller's retry number; a header that is absent or no number says: the first."""

    def __init__(self, attempts: tuple[int, ...]) -> None:
        super().__init__("attempt", " or ".join([str(attempt) for attempt in attempts]), True)
        self._attempts: frozenset[int] = frozenset(attempts)

    def _attempt(self, facts: Facts) -> int:
        values = facts.headers.get(ATTEMPT_HEADER)
        if not values or len(values[0]) > 9 or not values[0].isdigit():
            return 1
        return int(values[0])

    def holds(self, facts: Facts) -> bool:
        """Look up the number."""
        return self._attempt(facts) in self._attempts

    def seen(self, facts: Facts) -> str:
        """Show the number."""
        return str(self._attempt(facts))


class SourceCondition(Condition):
    """The client's address lies in one of these ranges."""

    def __init__(self, ranges: tuple[str, ...]) -> None:
        """Read the ranges; ValueError if one is none."""
        super().__init__("source", " or ".join(ranges), False)
        self._networks: list[Network] = [Network(text) for text in ranges]

    def holds(self, facts: Facts) -> bool:
        """Look for a range that holds the address; a client without one (unix socket) is in none."""
        number = address(facts.source)
        for network in self._networks:  # a generator would cost more
            if network.holds(number):
                return True
        return False

    def seen(self, facts: Facts) -> str:
        """Show the address."""
        return facts.source or "no address"


class SniCondition(Condition):
    """The server name that the client asked for in its TLS handshake."""

    def __init__(self, matcher: Matcher) -> None:
        super().__init__("sni", matcher.wanted, False)
        self._matcher: Matcher = matcher

    def holds(self, facts: Facts) -> bool:
        """Test the name, in lower case."""
        return self._matcher.test(None if facts.sni is None else facts.sni.lower())

    def seen(self, facts: Facts) -> str:
        """Show the name."""
        return show(facts.sni)


class DnsNameCondition(Condition):
    """The name that is looked up; of an upstream with several hosts any one will do."""

    def __init__(self, matcher: Matcher) -> None:
        super().__init__("dns.name", matcher.wanted, False)
        self._matcher: Matcher = matcher

    def holds(self, facts: Facts) -> bool:
        """Test the names."""
        return self._matcher.any(facts.names or None)

    def seen(self, facts: Facts) -> str:
        """Show the names."""
        return show_all(facts.names)


class DnsTypeCondition(Condition):
    """The type of the records that are asked for."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__("dns.type", " or ".join(names), False)
        self._names: frozenset[bytes] = frozenset([name.encode() for name in names])

    def holds(self, facts: Facts) -> bool:
        """Look up the types; only what is looked up has one."""
        if facts.names:
            for name in facts.name_types:
                if name in self._names:
                    return True
        return False

    def seen(self, facts: Facts) -> str:
        """Show the types."""
        return show_all(facts.name_types if facts.names else None)


class CertificateCondition(Condition):
    """One thing of the certificate that the client has shown; a client without one has none of them."""

    def __init__(self, which: str, matcher: Matcher) -> None:
        super().__init__(f"client_certificate.{which}", matcher.wanted, False)
        self._which: str = which
        self._matcher: Matcher = matcher

    def _values(self, facts: Facts) -> list[bytes] | None:
        shown = facts.client_certificate
        if shown is None:
            return None
        if self._which == "san":
            return shown.names
        return [shown.subject if self._which == "subject" else shown.fingerprint]

    def holds(self, facts: Facts) -> bool:
        """Test it; of several names any one will do."""
        return self._matcher.any(self._values(facts))

    def seen(self, facts: Facts) -> str:
        """Show it."""
        return show_all(self._values(facts))


class StatusCondition(Condition):
    """The status of the upstream's answer lies in one of these ranges (both ends included)."""

    def __init__(self, ranges: tuple[tuple[int, int], ...]) -> None:
        words = [str(low) if low == high else f"{low}-{high}" for low, high in ranges]
        super().__init__("response.status", " or ".join(words), True)
        self._lows: list[int] = [pair[0] for pair in ranges]
        self._highs: list[int] = [pair[1] for pair in ranges]

    def holds(self, facts: Facts) -> bool:
        """Look for a range that holds the status."""
        status = facts.response_status
        for at in range(len(self._lows)):  # a generator would cost more
            if self._lows[at] <= status <= self._highs[at]:
                return True
        return False

    def seen(self, facts: Facts) -> str:
        """Show the status."""
        return str(facts.response_status)


class ResponseHeaderCondition(Condition):
    """A header of the upstream's answer; repeated ones as ``Matcher.any`` says."""

    def __init__(self, name: str, matcher: Matcher) -> None:
        super().__init__(f"response.headers.{name}", matcher.wanted, True)
        self._name: bytes = name.lower().encode()
        self._matcher: Matcher = matcher

    def holds(self, facts: Facts) -> bool:
        """Test the header's values."""
        return self._matcher.any(facts.response_headers.get(self._name))

    def seen(self, facts: Facts) -> str:
        """Show the header's values."""
        return show_all(facts.response_headers.get(self._name))


class GrpcStatusCondition(Condition):
    """The grpc-status of the upstream's answer is one of these."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        super().__init__("response.grpc_status", " or ".join([str(number) for number in numbers]), True)
        self._numbers: frozenset[int] = frozenset(numbers)

    def holds(self, facts: Facts) -> bool:
        """Look up the status; one that is not known (-1) never holds."""
        return facts.grpc_status >= 0 and facts.grpc_status in self._numbers

    def seen(self, facts: Facts) -> str:
        """Show the status."""
        return "absent" if facts.grpc_status < 0 else str(facts.grpc_status)


def all_hold(conditions: list[Condition], facts: Facts) -> bool:
    """Say whether every condition holds."""
    for condition in conditions:  # a generator would cost more
        if not condition.holds(facts):
            return False
    return True
