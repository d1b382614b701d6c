"""What only shows when two parts of the configuration are seen together.

The checks look at the values as written, not at what was read from them: so they also find
their mistakes in a file that has others.  What is not of the right shape is passed over here, since
the tables have noted it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.config.addresses import ORIGINAL_DST, Address, collide, is_loopback
from proxy.config.options import AdminConfig, HealthConfig
from rules.params import BadValue, Path, Trouble, nearest

_LISTEN: Final = Address(listen=True)
_CONNECT: Final = Address(listen=False)
_ENDS: Final = frozenset({"terminate", "auto"})  # modes in which TLS ends at the listener
_OF_REQUESTS: Final = frozenset({"http1", "http2"})  # protocols of upstreams that get requests


@dataclass
class Findings:
    """What was found: ``troubles`` forbid the start, ``warnings`` do not."""

    troubles: list[Trouble] = field(default_factory=list)
    warnings: list[Trouble] = field(default_factory=list)

    def wrong(self, path: Path, message: str) -> None:
        """Note a mistake."""
        self.troubles.append(Trouble(path, message))

    def warn(self, path: Path, message: str, at_key: bool = False) -> None:
        """Note what is most likely not meant."""
        self.warnings.append(Trouble(path, message, at_key))


def cross_check(value: object) -> Findings:
    """Check a whole configuration as written."""
    found = Findings()
    document = value if isinstance(value, dict) else {}
    _check_names(document, found)
    _check_addresses(document, found)
    _check_routes(document, found)
    _check_admin(document, found)
    _check_upstreams(document, found)
    _check_tls(document, found)
    _check_tcp(document, found)
    _check_capture(document, found)
    return found


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, dict):
            yield number, item


def _address(value: object, kind: Address = _LISTEN) -> str:
    """Give the canonical form of an address, "" where it is none."""
    try:
        return kind.parse(value)
    except BadValue:
        return ""


def _check_names(document: dict[str, Any], found: Findings) -> None:
    first: dict[str, int] = {}
    for number, listener in _items(document.get("listeners")):
        name = listener.get("name")
        if not isinstance(name, str):
            continue
        if name == "dns" and _mapping(document.get("dns")).get("listen"):
            found.wrong(("listeners", number, "name"), 'the name "dns" is taken by the DNS listener')
        if name in first:
            found.wrong(
                ("listeners", number, "name"), f'the name "{name}" is taken by listeners[{first[name]}]'
            )
        first.setdefault(name, number)


def _listening(document: dict[str, Any]) -> Iterator[tuple[Path, str, str]]:
    """Give path, what it is in words, and canonical address of everything that listens."""
    for number, listener in _items(document.get("listeners")):
        path: Path = ("listeners", number, "address")
        name = listener.get("name")
        yield (
            path,
            f'listener "{name}"' if name else f"listeners[{number}]",
            _address(listener.get("address")),
        )
    yield ("dns", "listen"), "the DNS listener", _address(_mapping(document.get("dns")).get("listen"))
    for key, default in (("admin", AdminConfig().address), ("health", HealthConfig().address)):
        section = document.get(key, False)
        if isinstance(section, dict) or section is None:
            yield (key, "address"), f"the {key} endpoint", _address(_mapping(section).get("address", default))


def _check_addresses(document: dict[str, Any], found: Findings) -> None:
    seen: list[tuple[str, str]] = []
    for path, what, address in _listening(document):
        taken = next((other for other, at in seen if address and at and collide(address, at)), None)
        if taken is not None:
            found.wrong(path, f"{address} is taken by {taken}; each needs an address of its own")
        seen.append((what, address))


def _check_routes(document: dict[str, Any], found: Findings) -> None:
    upstreams = document.get("upstreams")
    known = list(_mapping(upstreams))
    used: set[str] = set()
    for number, listener in _items(document.get("listeners")):
        path: Path = ("listeners", number, "routes")
        for at, name in _targets(listener.get("routes")):
            used.add(name)
            implied = name == ORIGINAL_DST and captures(listener)
            if isinstance(upstreams, dict | None) and name not in known and not implied:
                near = nearest(name, known)
                hint = f'did you mean "{near}"?' if near else f"upstreams: {', '.join(known) or 'none'}"
                found.wrong((*path, *at), f'there is no upstream "{name}"; {hint}')
        _check_order(listener.get("routes"), path, found)
        if captures(listener):
            used.add(ORIGINAL_DST)
    for name in known:
        if name not in used and isinstance(document.get("listeners"), list):
            found.warn(("upstreams", name), f'no route leads to the upstream "{name}"', at_key=True)


def _targets(routes: object) -> Iterator[tuple[Path, str]]:
    """Give the places where routes name upstreams."""
    for number, route in _items(routes):
        if isinstance(route.get("upstream"), str):
            yield (number, "upstream"), route["upstream"]
        several = route.get("upstreams")
        for place, item in enumerate(several if isinstance(several, list) else []):
            if isinstance(item, str):
                yield (number, "upstreams", place), item
            elif isinstance(item, dict) and isinstance(item.get("upstream"), str):
                yield (number, "upstreams", place, "upstream"), item["upstream"]


def _check_order(routes: object, path: Path, found: Findings) -> None:
    """Warn of routes that no request can reach."""
    before: list[tuple[int, object]] = []
    for number, route in _items(routes):
        match = route.get("match") or {}
        for earlier, taken in before:
            if not taken or taken == match:
                why = "takes every request" if not taken else "has the same match"
                found.warn((*path, number), f"this route is never reached: routes[{earlier}] before it {why}")
                break
        before.append((number, match))


def _check_admin(document: dict[str, Any], found: Findings) -> None:
    admin = _mapping(document.get("admin"))
    address = _address(admin.get("address", AdminConfig().address))
    if address and not is_loopback(address) and not admin.get("token_file"):
        found.wrong(
            ("admin", "address"),
            f"{address} can be reached from other machines, and whoever reaches the admin endpoint can break "
            "traffic: give a token_file (--token-file), or listen on 127.0.0.1",
        )


def _check_upstreams(document: dict[str, Any], found: Findings) -> None:
    """Refuse upstreams that are the proxy itself: requests would go round, or reach the admin endpoint."""
    listening = [(what, at, path[0] == "admin") for path, what, at in _listening(document) if at]
    for name, upstream in _mapping(document.get("upstreams")).items():
        for at, raw in _written_addresses(_mapping(upstream).get("address")):
            address = _address(raw, _CONNECT)
            itself = next((entry for entry in listening if address and _same(address, entry[1])), None)
            if itself is not None:
                why = (
                    "no traffic may reach it this way" if itself[2] else "requests would go round in circles"
                )
                found.wrong(("upstreams", name, "address", *at), f"{address} is {itself[0]}: {why}")


def _check_tls(document: dict[str, Any], found: Findings) -> None:
    """Refuse options of TLS that lack others, or that their mode has no use for."""
    for number, listener in _items(document.get("listeners")):
        if "tls" in listener:
            _check_listener_tls(("listeners", number), listener, found)
    if _mapping(document.get("certs")).get("url") and not isinstance(document.get("health"), dict):
        found.wrong(("certs", "url"), "nobody answers there: add a health listener (health: {})")
    for name, upstream in _mapping(document.get("upstreams")).items():
        _check_upstream_of_passthrough(document, name, _mapping(upstream), found)
        tls = _mapping(_mapping(upstream).get("tls"))
        if tls.get("key") and not tls.get("certificate"):
            found.wrong(("upstreams", name, "tls", "key"), "a key needs the certificate that it belongs to")
        for key in ("ca", "crl", "server_name"):
            if tls.get("verify") is False and tls.get(key):
                text = f"with verify: false nothing is verified, so {key} has no meaning"
                found.wrong(("upstreams", name, "tls", key), text)


def _check_upstream_of_passthrough(
    document: dict[str, Any], name: str, upstream: dict[str, Any], found: Findings
) -> None:
    """Refuse TLS within TLS: what is passed on unread is encrypted already."""
    for _, listener in _items(document.get("listeners")):
        leads = any(target == name for _, target in _targets(listener.get("routes")))
        if "tls" in upstream and leads and _mapping(listener.get("tls")).get("mode") == "passthrough":
            text = f'listener "{listener.get("name")}" passes TLS on as it is, so there is none of ours'
            found.wrong(("upstreams", name, "tls"), text)


def _check_listener_tls(at: Path, listener: dict[str, Any], found: Findings) -> None:
    tls = _mapping(listener["tls"])
    path: Path = (*at, "tls")
    mode = tls.get("mode", "terminate")
    if mode in ("none", "passthrough"):
        for key in tls:
            if key != "mode":
                found.wrong((*path, key), f"with mode: {mode} TLS does not end here, so {key} has no meaning")
        if mode == "passthrough":
            for number, route in _items(listener.get("routes")):
                for part in ("path", "headers"):
                    if part in _mapping(route.get("match")):
                        text = f"with tls: {{mode: passthrough}} only the host is known; {part} is not"
                        found.wrong((*at, "routes", number, "match", part), text)
        return
    if tls.get("key") and not tls.get("certificate"):
        found.wrong((*path, "key"), "a key needs the certificate that it belongs to")
    asks = tls.get("client_auth", "none") in ("optional", "required")
    if asks and not tls.get("client_ca"):
        found.wrong((*path, "client_auth"), "client certificates need client_ca: who may have signed them")
    if tls.get("client_ca") and not asks:
        found.wrong((*path, "client_ca"), "client_ca needs client_auth: optional or required")
    if tls.get("forward_client_certificate") and not asks:
        text = "forward_client_certificate needs client_auth: optional or required"
        found.wrong((*path, "forward_client_certificate"), text)


def _check_tcp(document: dict[str, Any], found: Findings) -> None:
    """Refuse what needs a request where bytes are passed on unread, and the other way round."""
    upstreams = _mapping(document.get("upstreams"))
    for number, listener in _items(document.get("listeners")):
        mode = _mapping(listener.get("tls")).get("mode", "terminate") if "tls" in listener else "none"
        unread = listener.get("protocol") == "tcp"
        if unread:
            _check_tcp_matches(("listeners", number, "routes"), listener, mode != "none", found)
        for at, name in _targets(listener.get("routes")):
            path: Path = ("listeners", number, "routes", *at)
            protocol = _mapping(upstreams.get(name)).get("protocol", "auto")
            if protocol == "tcp" and not unread and mode != "passthrough":
                found.wrong(
                    path, f'"{name}" speaks tcp, and requests are read here: use protocol: tcp for both'
                )
            elif unread and protocol in _OF_REQUESTS:
                found.wrong(
                    path, f'bytes pass unread here, and "{name}" speaks {protocol}: give it tcp or auto'
                )


def _check_tcp_matches(path: Path, listener: dict[str, Any], named: bool, found: Findings) -> None:
    """Refuse routes by what is never read; ``named``: a ClientHello names the host."""
    for number, route in _items(listener.get("routes")):
        for part in _mapping(route.get("match")):
            if part == "host" and not named:
                found.wrong(
                    (*path, number, "match", part), "of protocol: tcp only TLS names a host; here is none"
                )
            elif part in ("path", "headers"):
                found.wrong((*path, number, "match", part), f"with protocol: tcp there is no {part}")


def captures(listener: dict[str, Any]) -> bool:
    """Whether the clients of a listener are on their way to other addresses."""
    return listener.get("capture") == "redirect"


_OF_CAPTURE: Final[tuple[Path, ...]] = (("opaque_ports",), ("timeouts", "sniff"))


def _check_capture(document: dict[str, Any], found: Findings) -> None:
    """Refuse what only captured clients have where there are none, and the other way round."""
    dialled = set()
    for name, upstream in _mapping(document.get("upstreams")).items():
        if _check_dialled(name, _mapping(upstream), found):
            dialled.add(name)
    for number, listener in _items(document.get("listeners")):
        if captures(listener):
            _check_capturing(("listeners", number), listener, document, found)
            continue
        if "routes" not in listener:
            found.wrong(
                ("listeners", number), '"routes" is missing: only with capture: redirect none are needed'
            )
        for number_of_route, route in _items(listener.get("routes")):
            for part in ("port", "destination"):
                if part in _mapping(route.get("match")):
                    text = (
                        f"{part} is of the address that captured clients have dialled: use capture: redirect"
                    )
                    found.wrong(("listeners", number, "routes", number_of_route, "match", part), text)
        for at, name in _targets(listener.get("routes")):
            if name in dialled:
                text = f'"{name}" goes where captured clients have dialled: use capture: redirect'
                found.wrong(("listeners", number, "routes", *at), text)
        for path in _OF_CAPTURE:
            section = listener if len(path) == 1 else _mapping(listener.get(str(path[0])))
            if path[-1] in section:
                text = f"only captured clients have a use for {path[-1]}: add capture: redirect"
                found.wrong(("listeners", number, *path), text)


def _check_dialled(name: str, upstream: dict[str, Any], found: Findings) -> bool:
    """Check an upstream that goes where clients have dialled; whether it is one."""
    addresses = [raw for _, raw in _written_addresses(upstream.get("address"))]
    if ORIGINAL_DST not in addresses:
        if name == ORIGINAL_DST:
            text = f"this name is for where captured clients have dialled: give it address: {ORIGINAL_DST}"
            found.wrong(("upstreams", name, "address"), text)
        return False
    if len(addresses) > 1:
        text = f"{ORIGINAL_DST} stands alone: each client goes to the one address that it has dialled"
        found.wrong(("upstreams", name, "address"), text)
    for key, why in (("health", "nobody knows which to check"), ("balance", "there is nothing to choose")):
        if upstream.get(key) is not None:
            found.wrong(("upstreams", name, key), f"its addresses are those that clients dial: {why}")
    return True


def _check_capturing(path: Path, listener: dict[str, Any], document: dict[str, Any], found: Findings) -> None:
    if str(listener.get("address", "")).startswith("unix:"):
        found.wrong((*path, "address"), "connections are redirected to a port: give host:port")
    if _mapping(listener.get("tls")).get("mode", "terminate" if "tls" in listener else "none") not in _ENDS:
        return
    upstreams = _mapping(document.get("upstreams"))
    if not _mapping(upstreams.get(ORIGINAL_DST)) or "tls" not in upstreams[ORIGINAL_DST]:
        text = f"TLS ends here, and to {ORIGINAL_DST} it goes on in clear text: give that upstream tls"
        found.warn((*path, "tls"), text)


def _written_addresses(value: object) -> Iterator[tuple[Path, object]]:
    if isinstance(value, dict):
        yield ("address",), value.get("address")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield (number,), item.get("address") if isinstance(item, dict) else item
    else:
        yield (), value


def _same(upstream: str, listening: str) -> bool:
    """Whether connecting to ``upstream`` reaches what listens at ``listening`` on this machine."""
    if upstream == listening:
        return not listening.endswith(":0")
    return is_loopback(upstream) and collide(upstream.replace("localhost", "127.0.0.1"), listening)
