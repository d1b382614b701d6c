"""tls: its fields, which of them contradict each other, and what it asks of a handshake."""

import pytest

from certs.flavour import KINDS
from rules.actions import (
    CLIENT_HELLO,
    CUT_ALERT,
    CUT_CLOSE,
    CUT_PAUSE,
    CUT_RESET,
    FINISHED,
    FOREVER,
    SERVER_HELLO,
    Nothing,
    ShapeHandshake,
)
from rules.facts import Facts
from rules.fault import ON_NEW, ON_NEXT, ON_OPEN, UPSTREAM, Fault
from rules.phases import CONNECT, TLS
from rules.tls_params import ALERTS, FLAVOURS
from tests.faults.cases import dice, problem, read

MET = Facts("web", "127.0.0.1")
MET.tls = True


def shape(fault: Fault) -> ShapeHandshake:
    decided = fault.decide(MET, dice())
    assert isinstance(decided, ShapeHandshake)
    return decided


Shape = tuple[str, float, int, str, bytes | None, bool, bool]


def said(asked: ShapeHandshake) -> Shape:
    return (
        asked.certificate,
        asked.expires_in,
        asked.max_version,
        asked.ciphers,
        asked.alpn,
        asked.reject_client_certificate,
        asked.bad_record,
    )


CASES: list[tuple[str, Shape]] = [
    *((f"{{tls: {flavour}}}", (flavour, 0.0, 0, "", None, False, False)) for flavour in FLAVOURS),
    ("{tls: {certificate: expired}}", ("expired", 0.0, 0, "", None, False, False)),
    ("{tls: {certificate: {expires_in: 1h}}}", ("expires_in", 3600.0, 0, "", None, False, False)),
    ("{tls: {max_version: 1.2}}", ("", 0.0, 0x0303, "", None, False, False)),
    ("{tls: {max_version: '1.1'}}", ("", 0.0, 0x0302, "", None, False, False)),
    ("{tls: {max_version: 1.0}}", ("", 0.0, 0x0301, "", None, False, False)),
    ("{tls: {ciphers: ECDHE+AESGCM:!SHA1}}", ("", 0.0, 0, "ECDHE+AESGCM:!SHA1", None, False, False)),
    (
        "{tls: {ciphers: TLS_AES_128_GCM_SHA256:AES128-SHA, max_version: 1.2}}",
        ("", 0.0, 0x0303, "TLS_AES_128_GCM_SHA256:AES128-SHA", None, False, False),
    ),
    ("{tls: {alpn: none}}", ("", 0.0, 0, "", b"", False, False)),
    ("{tls: {alpn: http/1.1}}", ("", 0.0, 0, "", b"http/1.1", False, False)),
    ("{tls: {client_certificate: reject}}", ("", 0.0, 0, "", None, True, False)),
    ("{tls: {bad_record: true}}", ("", 0.0, 0, "", None, False, True)),
    (
        "{tls: {certificate: sha1, max_version: 1.2, ciphers: AES128-SHA, alpn: h2}}",
        ("sha1", 0.0, 0x0303, "AES128-SHA", b"h2", False, False),
    ),
]


@pytest.mark.parametrize(("entry", "asked"), CASES)
def test_what_it_asks(entry: str, asked: Shape) -> None:
    fault = read(entry)
    assert said(shape(fault)) == asked
    assert shape(fault).cut is None
    assert (fault.phase, fault.ends_exchange, fault.needs_grpc) == (TLS, False, False)


def test_a_connection_without_a_handshake_is_left_alone() -> None:
    assert type(read("{tls: expired}").decide(Facts("web", "127.0.0.1"), dice())) is Nothing


Cut = tuple[int, int, float, int]
CUTS: list[tuple[str, Cut, bool]] = [
    ("{handshake: {delay: 100ms}}", (CLIENT_HELLO, CUT_PAUSE, 0.1, -1), False),
    ("{handshake: {stall: 2s}, at: server_hello}", (SERVER_HELLO, CUT_PAUSE, 2.0, -1), False),
    ("{handshake: stall}", (CLIENT_HELLO, CUT_PAUSE, FOREVER, -1), True),
    ("{handshake: stall, at: finished}", (FINISHED, CUT_PAUSE, FOREVER, -1), False),
    ("{handshake: reset}", (CLIENT_HELLO, CUT_RESET, 0.0, -1), True),
    ("{handshake: reset, at: client_hello}", (CLIENT_HELLO, CUT_RESET, 0.0, -1), True),
    ("{handshake: close, at: server_hello}", (SERVER_HELLO, CUT_CLOSE, 0.0, -1), False),
    ("{handshake: {alert: bad_certificate}}", (CLIENT_HELLO, CUT_ALERT, 0.0, 42), True),
    ("{handshake: {alert: close_notify}, at: finished}", (FINISHED, CUT_ALERT, 0.0, 0), False),
    ("{handshake: {alert: 255}, at: server_hello}", (SERVER_HELLO, CUT_ALERT, 0.0, 255), False),
    ("{handshake: {alert: 42}, at: finished, certificate: expired}", (FINISHED, CUT_ALERT, 0.0, 42), False),
    ("{handshake: {delay: 1s}, certificate: expired}", (CLIENT_HELLO, CUT_PAUSE, 1.0, -1), False),
    ("{handshake: close, at: server_hello, max_version: 1.2}", (SERVER_HELLO, CUT_CLOSE, 0.0, -1), False),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "asked", "ends"), CUTS)
def test_what_stops_the_handshake_and_where(fields: str, asked: Cut, ends: bool) -> None:
    """Only what ends it at the ClientHello leaves nothing to the faults behind it."""
    fault = read(f"{{tls: {fields}}}")
    cut = shape(fault).cut
    assert cut is not None
    assert (cut.at, cut.how, cut.seconds, cut.alert) == asked
    assert fault.ends_exchange is ends


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_by_its_name(name: str) -> None:
    cut = shape(read(f"{{tls: {{handshake: {{alert: {name}}}}}}}")).cut
    assert cut is not None
    assert cut.alert == ALERTS[name]


def test_each_flavour_can_be_made() -> None:
    assert sorted([*FLAVOURS, "expires_in"]) == sorted(KINDS)


def test_each_alert_has_a_number_of_its_own() -> None:
    assert len(set(ALERTS.values())) == len(ALERTS)


@pytest.mark.parametrize(
    ("fields", "on"),
    [("expired", ON_NEXT), ("{bad_record: true, on: next}", ON_NEXT), ("{alpn: none, on: new}", ON_NEW),
     ("{certificate: no_san, on: open}", ON_OPEN)],
)  # fmt: skip
def test_when_it_acts(fields: str, on: int) -> None:
    assert read(f"{{tls: {fields}}}").on == on


BAD: list[tuple[str, str, str]] = [
    ("{}", "", "expected at least one of certificate, max_version, ciphers, alpn"),
    ("{on: open}", "", "expected at least one of certificate"),
    ("[]", "", "expected the flavour of a certificate such as expired, or a mapping"),
    ("expird", "", '"expird" is no flavour of certificate; did you mean "expired"?'),
    ("untrusted", "", 'did you mean "untrusted_root"?'),
    ("zebra", "", "expected a certificate: expired, not_yet_valid, wrong_host"),
    ("5", "", "got 5"),
    ("{certificate: expires_in}", "certificate", "needs a time: {expires_in: 1h}"),
    ("{certificate: {expires_in: 3600}}", "certificate.expires_in", "a bare number has no unit"),
    ("{certificate: {expires_in: 10ms}}", "certificate.expires_in", "from 1s to 8760h"),
    ("{expires_in: 1h}", "expires_in", 'unknown key "expires_in"'),
    ("{handshake: delay}", "handshake", "delay needs a time: {delay: 100ms}"),
    ("{handshake: {delay: 100}}", "handshake.delay", "a bare number has no unit"),
    ("{handshake: {delay: 0ms}}", "handshake.delay", "from 1ms to 24h"),
    ("{handshake: alert}", "handshake", "alert needs a name: {alert: bad_certificate}"),
    ("{handshake: stal}", "handshake", 'did you mean "stall"?'),
    ("{handshake: true}", "handshake", "expected stall, reset, close, or a mapping"),
    ("{handshake: {reset: 1s}}", "handshake.reset", 'unknown key "reset"'),
    ("{handshake: {}}", "handshake", "expected exactly one of delay, stall, alert; got none"),
    ("{handshake: {delay: 1s, alert: 1}}", "handshake", "got delay and alert"),
    ("{handshake: {alert: bad_certficate}}", "handshake.alert", 'did you mean "bad_certificate"?'),
    ("{handshake: {alert: UNKNOWN_CA}}", "handshake.alert", 'did you mean "unknown_ca"?'),
    ("{handshake: {alert: 256}}", "handshake.alert", "or a number from 0 to 255, got 256"),
    ("{handshake: {alert: zebra}}", "handshake.alert", 'or a number from 0 to 255, got "zebra"'),
    ("{handshake: reset, at: request_head}", "at", "expected client_hello, server_hello or finished"),
    ("{handshake: reset, at: serverhello}", "at", 'did you mean "server_hello"?'),
    ("{certificate: expired, at: finished}", "at", "and there is none"),
    ("{max_version: 1.3}", "max_version", "1.0, 1.1 or 1.2, got 1.3"),
    ("{max_version: TLS1.2}", "max_version", 'or 1.2, got "TLS1.2"'),
    ("{max_version: 1}", "max_version", "got 1"),
    ("{ciphers: ''}", "ciphers", "expected a cipher list as OpenSSL writes it"),
    ("{ciphers: 'AES 128'}", "ciphers", "expected a cipher list as OpenSSL writes it"),
    ("{ciphers: [AES128-SHA]}", "ciphers", "got a list"),
    ("{alpn: ''}", "alpn", "expected none, or the name of a protocol such as h2"),
    ("{alpn: [h2]}", "alpn", "got a list"),
    ("{client_certificate: require}", "client_certificate", "expected reject"),
    ("{bad_record: false}", "bad_record", "expected true, or no bad_record"),
    ("{bad_record: 1}", "bad_record", "expected true or false"),
    ("{handshake: reset, certificate: expired}", "certificate", "ends before a client can meet this"),
    ("{handshake: close, alpn: none}", "alpn", "ends before a client can meet this"),
    ("{handshake: stall, at: server_hello, certificate: sha1}", "certificate", "ends before a client"),
    ("{handshake: stall, at: finished, bad_record: true}", "bad_record", "ends before a client"),
    ("{handshake: reset, at: finished, client_certificate: reject}", "client_certificate", "ends before"),
    ("{client_certificate: reject, bad_record: true}", "bad_record", "no record follows a handshake"),
    ("{ciphers: TLS_AES_128_GCM_SHA256, max_version: 1.2}", "ciphers", "and max_version is older"),
    ("{on: sometimes}", "on", "expected next, new or open"),
    ("{certificat: expired}", "certificat", 'did you mean "certificate"?'),
    ("{side: both, certificate: expired}", "side", "expected client or upstream"),
    ("{side: upstream, ciphers: AES128-SHA}", "ciphers", "has no such trouble"),
    ("{side: upstream, alpn: none}", "alpn", "has no such trouble"),
    ("{side: upstream, bad_record: true}", "bad_record", "for reset with side: upstream"),
    ("{side: upstream, handshake: reset, at: finished}", "at", "for reset, close and stall with side"),
    ("{side: upstream, max_version: 1.2}", "max_version", "expected 1.0 or 1.1"),
    ("{side: upstream, certificate: {expires_in: 1h}}", "certificate", "still valid is no trouble"),
    ("{side: upstream, certificate: expired, on: open}", "on", "leave out on"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{tls: {fields}}}")
    assert found.startswith(f"tls.{path}: " if path else "tls: ")
    assert words in found


LATE = {
    "host: a": "host",
    "path: /a": "path",
    "method: GET": "method",
    "protocol: http2": "protocol",
    "upstream: a": "upstream",
    "headers: {a: b}": "headers",
}


@pytest.mark.parametrize("match", LATE)
def test_it_cannot_look_at_requests(match: str) -> None:
    found = problem("{tls: expired}", f"{{{match}}}")
    assert found == f"tls: tls acts at tls, but match.{LATE[match]} is known only from request_head on"


@pytest.mark.parametrize(
    "fields",
    ["{certificate: expired}", "{handshake: {stall: 1s}}", "{handshake: reset, at: server_hello}",
     "{max_version: 1.1}", "{client_certificate: reject}"],
)  # fmt: skip
def test_an_upstream_is_so_when_it_is_connected_to(fields: str) -> None:
    fault = read(f"{{tls: {{side: upstream, {fields[1:-1]}}}}}", "{path: /a, upstream: shop}")
    assert (fault.phase, fault.side, fault.on, fault.ends_exchange) == (CONNECT, UPSTREAM, ON_NEXT, False)
    assert type(fault.decide(Facts("web", ""), dice())) is ShapeHandshake


def test_what_it_can_look_at() -> None:
    match = "{listener: web, source: 127.0.0.1, sni: {suffix: .example}}"
    assert read("{tls: {certificate: expired, sample: {sticky: sni}}}", match).KIND == "tls"


@pytest.mark.parametrize(
    "fault", ["delay: {fixed: 1s, at: tls}", "reset: {at: tls}", "close: {at: tls}", "stall: {at: tls}"]
)
def test_other_kinds_act_there_too(fault: str) -> None:
    assert read(f"{{{fault}}}", "{sni: a.example}").phase == TLS
