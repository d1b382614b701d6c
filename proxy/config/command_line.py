"""The options of ``misrule run`` to a ``Config``: one listener ``web``, one upstream ``default``."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import structs

from proxy.config.checks import cross_check
from proxy.config.kinds import CONNECT
from proxy.config.options import AdminConfig, CertsConfig, Config
from proxy.config.read import read_config
from proxy.config.tables import CONFIG
from rules.params import BadValue, Path, show
from rules.text import path_text, read_value

SCHEMES: Final = {
    "http": "auto",
    "h2c": "http2",
    "grpc": "http2",
    "https": "auto",
    "grpcs": "http2",
    "tcp": "tcp",
}
OVER_TLS: Final = ("https", "grpcs")
OFF: Final = "off"
CAPTURED: Final = {"inbound": 15106, "outbound": 15101}  # where `misrule capture apply` sends connections
NO_ADMIN: Final = "--token-file: there is no admin endpoint to guard; give --admin too"

# Where in a document the value of an option stands, the more exact place first.
_PLACES: Final[tuple[tuple[Path, str], ...]] = (
    (("listeners", 0, "address"), "--listen"),
    (("upstreams",), "--upstream"),
    (("rules",), "--rules"),
    (("admin", "token_file"), "--token-file"),
    (("admin",), "--admin"),
    (("certs",), "--certs"),
    (("state_dir",), "--state-dir"),
    (("log", "level"), "--log-level"),
    (("log", "format"), "--log-format"),
    (("log", "access"), "--access"),
)


class OptionsError(Exception):
    """Options that cannot be; ``lines`` has every mistake, each with the option's name in front."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def from_options(
    listen: str,
    upstream: Sequence[str],
    rules: Sequence[str] = (),
    *,
    capture: str = "",
    admin: str = "",
    token_file: str = "",
    certs: str = "",
    state_dir: str = "",
    access: str = "",
    log_level: str = "",
    log_format: str = "",
) -> Config:
    """Make a configuration of options; "" stands for one that was not given.

    ``upstream`` are URLs such as ``http://127.0.0.1:3000`` (several: in turn), ``admin`` may be ``off``.
    ``listen`` is an address; ``h2c://`` before it: for HTTP/2 alone; ``https://``: TLS ends there.
    ``tcp://`` upstreams: bytes are passed on unread.
    ``capture``, in the place of both: inbound, outbound or both, at the ports of ``misrule capture``.
    ``certs`` is the folder of the authority that mints certificates, ``state_dir`` that of rule versions.
    Raises OptionsError with every mistake.
    """
    lines: list[str] = []
    log = {"level": log_level, "format": log_format, "access": access}
    document: dict[str, Any] = {
        "version": 1,
        **(_capturing(capture, lines) if capture else _explicit(listen, upstream, lines)),
        "rules": list(rules),
        "log": {key: value for key, value in log.items() if value},
        **_folders(certs, state_dir),
    }
    if admin and admin != OFF:
        document["admin"] = {"address": admin} | ({"token_file": token_file} if token_file else {})
    elif token_file:
        lines.append(NO_ADMIN)
    node = read_value(document, "")
    config, _ = read_config(node)
    lines += [f"{_option(problem.path)}: {problem.message}" for problem in node.document.problems]
    if lines or config is None:
        raise OptionsError(lines)
    return config


def _explicit(listen: str, upstream: Sequence[str], lines: list[str]) -> dict[str, Any]:
    """Give one listener, and the upstream behind it."""
    protocol = _protocol(upstream, lines)
    shop = {"address": _addresses(upstream, lines), "protocol": protocol, **_over_tls(upstream, lines)}
    return {
        "listeners": [{"name": "web", **_listener(listen, protocol), "routes": [{"upstream": "default"}]}],
        "upstreams": {"default": shop},
    }


def _capturing(capture: str, lines: list[str]) -> dict[str, Any]:
    """Give the listeners for captured connections of these directions."""
    if capture not in ("both", *CAPTURED):
        lines.append(f"--capture: expected inbound, outbound or both, got {show(capture)}")
        capture = "both"
    chosen = [name for name in CAPTURED if capture in (name, "both")]
    return {
        "listeners": [
            {"name": name, "address": f":{CAPTURED[name]}", "capture": "redirect"} for name in chosen
        ]
    }


def _folders(certs: str, state_dir: str) -> dict[str, Any]:
    found = {"certs": {"dir": certs} if certs else None, "state_dir": state_dir or None}
    return {key: value for key, value in found.items() if value is not None}


def _listener(listen: str, upstream: str) -> dict[str, Any]:
    """Give address, protocol and TLS of ``[scheme://]address``; other schemes are left for their reader.

    What its upstream speaks as tcp, it speaks as tcp as well, unless the scheme says otherwise.
    """
    scheme, colon, rest = listen.partition("://")
    spoken = SCHEMES.get(scheme, "auto") if colon else "auto"
    protocol = {"protocol": "tcp" if upstream == "tcp" and spoken == "auto" else spoken}
    if not colon or scheme not in SCHEMES:
        return {"address": listen, **protocol}
    tls = {"tls": {"mode": "terminate"}} if scheme in OVER_TLS else {}
    return {"address": rest.removesuffix("/"), **protocol, **tls}


def _option(path: str) -> str:
    """Name the option whose value stands at a path."""
    return next((option for place, option in _PLACES if path.startswith(path_text(place))), path)


def _addresses(urls: Sequence[str], lines: list[str]) -> list[str]:
    """Give the addresses of the upstreams; where all are bad, one that stands in for them."""
    good = []
    for url in urls:
        try:
            good.append(upstream_address(url))
        except BadValue as bad:
            lines.append(f"--upstream: {bad}")
    if not urls:
        lines.append("--upstream: expected http://host:port, got nothing")
    return good or ["upstream.invalid:80"]


def _protocol(urls: Sequence[str], lines: list[str]) -> str:
    """Give the protocol that the upstreams' schemes ask for: one for all of them."""
    asked = {SCHEMES[scheme] for url in urls if (scheme := url.partition("://")[0]) in SCHEMES}
    if len(asked) > 1:
        lines.append("--upstream: all addresses of one upstream speak one protocol; got several schemes")
    return min(asked, default="auto")


def _over_tls(urls: Sequence[str], lines: list[str]) -> dict[str, Any]:
    """Give the section that says whether the upstreams speak TLS: all of them or none."""
    asked = {scheme in OVER_TLS for url in urls if (scheme := url.partition("://")[0]) in SCHEMES}
    if len(asked) > 1 and not lines:
        lines.append("--upstream: either all addresses of one upstream speak TLS, or none")
    return {"tls": {}} if True in asked else {}


def upstream_address(url: str) -> str:
    """Give the address in ``http://host[:port]`` (or another scheme), or ``unix:/path``; raises BadValue."""
    if url.startswith("unix:"):
        return CONNECT.parse(url)
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in SCHEMES:
        raise BadValue(
            f"expected http://host:port, https://, h2c://, grpc://, grpcs:// or tcp://, got {show(url)}"
        )
    host = rest.removesuffix("/")
    if any(mark in host for mark in "/?#@"):
        raise BadValue(
            f"expected http://host:port and no more, got {show(url)}: paths are passed on as they come"
        )
    if scheme == "tcp":
        return CONNECT.parse(host)
    port = 443 if scheme in OVER_TLS else 80
    return CONNECT.parse(host if ":" in host.rpartition("]")[2] else f"{host}:{port}")


def with_options(
    config: Config,
    rules: Sequence[str] = (),
    *,
    admin: str = "",
    token_file: str = "",
    certs: str = "",
    state_dir: str = "",
    access: str = "",
    log_level: str = "",
    log_format: str = "",
) -> Config:
    """Put options in the place of what a file says; "" and no rules: the file's word stays.

    Raises OptionsError with every mistake.
    """
    base = config.admin or AdminConfig()
    wanted = {"address": "" if admin == OFF else admin, "token_file": token_file}
    section = {key: value for key, value in wanted.items() if value}
    before = {"address": base.address} | ({"token_file": base.token_file} if base.token_file else {})
    log = {"level": log_level, "format": log_format, "access": access}
    document = {
        "listeners": [{"name": one.name, "address": one.address} for one in config.listeners],
        "upstreams": {name: {"address": one.addresses} for name, one in config.upstreams.items()},
        "admin": before | section,
        "log": {key: value for key, value in log.items() if value},
    }
    lines = _section_mistakes(document) if section or any(log.values()) else []
    if token_file and "address" not in section and config.admin is None:
        lines = [NO_ADMIN]
    if lines:
        raise OptionsError(lines)
    keep = config.admin if not section else structs.replace(base, **_read_section("admin", section))
    return structs.replace(
        config,
        rules=list(rules) or config.rules,
        certs=CertsConfig(certs) if certs else config.certs,
        state_dir=state_dir or config.state_dir,
        admin=None if admin == OFF else keep,
        log=structs.replace(config.log, **_read_section("log", document["log"])),
    )


def _section_mistakes(document: dict[str, Any]) -> list[str]:
    """Check the sections that options change, alone and against the addresses of the rest."""
    node = read_value(document, "")
    for key in ("admin", "log"):
        node.mapping()[key].get(CONFIG.fields[key].param, None)
    node.document.note_all((), [one for one in cross_check(document).troubles if one.path[:1] == ("admin",)])
    return [f"{_option(problem.path)}: {problem.message}" for problem in node.document.problems]


def _read_section(key: str, section: Any) -> dict[str, Any]:
    """Read the options of a section that are there, without those that are not."""
    read = structs.asdict(CONFIG.fields[key].param.parse(section))
    return {name: read[name] for name in section}
