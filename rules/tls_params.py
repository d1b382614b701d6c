"""Parameters that TLS defines: flavours of certificates, alerts, versions, cipher lists, protocol names."""

import re
from typing import Any, Final

from rules.actions import (
    CLIENT_HELLO,
    CUT_ALERT,
    CUT_CLOSE,
    CUT_PAUSE,
    CUT_RESET,
    FOREVER,
    CutHandshake,
)
from rules.params import ALONE, YEAR, BadValue, Context, Duration, Param, Schema, Text, nearest, show
from rules.records import Field, Record, Values, at, exactly_one

EXPIRES_IN: Final = "expires_in"
# What a certificate may be wrong in; `certs` makes each of them.
FLAVOURS: Final = (
    "expired", "not_yet_valid", "wrong_host", "self_signed", "untrusted_root", "incomplete_chain",
    "expired_intermediate", "revoked", "weak_key", "sha1", "no_san", "wrong_eku", "name_constraint",
)  # fmt: skip

# The registry "TLS Alerts" of IANA, without the reserved ones.
ALERTS: Final[dict[str, int]] = {
    "close_notify": 0,
    "unexpected_message": 10,
    "bad_record_mac": 20,
    "record_overflow": 22,
    "handshake_failure": 40,
    "bad_certificate": 42,
    "unsupported_certificate": 43,
    "certificate_revoked": 44,
    "certificate_expired": 45,
    "certificate_unknown": 46,
    "illegal_parameter": 47,
    "unknown_ca": 48,
    "access_denied": 49,
    "decode_error": 50,
    "decrypt_error": 51,
    "too_many_cids_requested": 52,
    "protocol_version": 70,
    "insufficient_security": 71,
    "internal_error": 80,
    "inappropriate_fallback": 86,
    "user_canceled": 90,
    "missing_extension": 109,
    "unsupported_extension": 110,
    "unrecognized_name": 112,
    "bad_certificate_status_response": 113,
    "unknown_psk_identity": 115,
    "certificate_required": 116,
    "general_error": 117,
    "no_application_protocol": 120,
    "ech_required": 121,
}

TLS12: Final = 0x0303
_VERSIONS: Final[dict[str, int]] = {"1.0": 0x0301, "1.1": 0x0302, "1.2": TLS12}


class Flavour(Param[tuple[str, float]]):
    """What is wrong with a certificate; read as the flavour's name and the seconds of expires_in."""

    human = f"a certificate: {', '.join(FLAVOURS)} or {{{EXPIRES_IN}: 1h}}"

    def __init__(self) -> None:
        left = Duration(low=1.0, high=YEAR)
        self._record: Record[Values] = Record(
            {EXPIRES_IN: Field(left, doc="so long is it still valid")}, human=self.human
        )

    def parse(self, value: object, context: Context = ALONE) -> tuple[str, float]:
        """Read a flavour."""
        if type(value) is dict:
            return EXPIRES_IN, self._record.read(value)[EXPIRES_IN]
        if not isinstance(value, str):
            raise self.wrong(value)
        if value == EXPIRES_IN:
            raise BadValue(f"{EXPIRES_IN} needs a time: {{{EXPIRES_IN}: 1h}}")
        if value not in FLAVOURS:
            near = nearest(value, [*FLAVOURS, EXPIRES_IN])
            hint = f'did you mean "{near}"?' if near else f"expected {self.human}"
            raise BadValue(f"{show(value)} is no flavour of certificate; {hint}")
        return value, 0.0

    def schema(self) -> Schema:
        """Describe it."""
        return {"anyOf": [{"enum": list(FLAVOURS)}, self._record.schema()]}


class Alert(Param[int]):
    """A TLS alert, as its name or its number, also an undefined one; read as the number."""

    human = "a TLS alert: a name such as bad_certificate, or a number from 0 to 255"

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read an alert."""
        if type(value) is int and 0 <= value <= 255:
            return value
        if isinstance(value, str):
            if value in ALERTS:
                return ALERTS[value]
            near = nearest(value, list(ALERTS))
            if near:
                raise BadValue(f'{show(value)} is no TLS alert; did you mean "{near}"?')
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {"anyOf": [{"enum": list(ALERTS)}, {"type": "integer", "minimum": 0, "maximum": 255}]}


# What stops a handshake: as a word alone, and what its other forms need.
_ALONE: Final[dict[str, int]] = {"stall": CUT_PAUSE, "reset": CUT_RESET, "close": CUT_CLOSE}
_NEEDS: Final[dict[str, str]] = {
    "delay": "a time: {delay: 100ms}",
    "alert": "a name: {alert: bad_certificate}",
}


class Handshake(Param[CutHandshake]):
    """What stops a handshake; how far it gets is told beside it."""

    human = "stall, reset, close, or a mapping with one of delay, stall, alert"

    def __init__(self) -> None:
        time = Duration(low=0.001)
        self._record: Record[Values] = Record(
            {
                "delay": Field(time, None, "it waits so long, then goes on"),
                "stall": Field(time, None, "as delay; the word alone: until the client gives up"),
                "alert": Field(Alert(), None, "the connection ends with this alert"),
            },
            human=self.human,
        )

    def parse(self, value: object, context: Context = ALONE) -> CutHandshake:
        """Read it, as of the ClientHello."""
        if type(value) is dict:
            values = self._record.read(value)
            how = exactly_one(values, ("delay", "stall", "alert"))
            if how == "alert":
                return CutHandshake(CLIENT_HELLO, CUT_ALERT, alert=values[how])
            return CutHandshake(CLIENT_HELLO, CUT_PAUSE, values[how])
        if not isinstance(value, str):
            raise self.wrong(value)
        if value in _ALONE:
            what = _ALONE[value]
            return CutHandshake(CLIENT_HELLO, what, FOREVER if what == CUT_PAUSE else 0.0)
        if value in _NEEDS:
            raise BadValue(f"{value} needs {_NEEDS[value]}")
        near = nearest(value, [*_ALONE, *_NEEDS])
        raise BadValue(
            f"expected {self.human}, got {show(value)}" + (f'; did you mean "{near}"?' if near else "")
        )

    def schema(self) -> Schema:
        """Describe it."""
        mapping: Any = dict(self._record.schema()["anyOf"][0])
        mapping["minProperties"] = mapping["maxProperties"] = 1
        return {"anyOf": [{"enum": list(_ALONE)}, mapping]}


class MaxVersion(Param[int]):
    """A version of TLS below the newest, as a number or a string; read as its number on the wire."""

    human = "a version of TLS to stop at: 1.0, 1.1 or 1.2"

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read a version."""
        written = str(value) if type(value) is float else value
        if not isinstance(written, str) or written not in _VERSIONS:
            raise self.wrong(value)
        return _VERSIONS[written]

    def schema(self) -> Schema:
        """Describe it."""
        return {"enum": [*_VERSIONS, *(float(version) for version in _VERSIONS)]}


CIPHERS: Final = Text(
    "a cipher list as OpenSSL writes it, such as ECDHE+AESGCM:!SHA1 or TLS_AES_128_GCM_SHA256",
    r"[A-Za-z0-9_+!@=:.-]+",
    low=1,
    high=1024,
)
_ALPN: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Alpn(Param[bytes]):
    """The one protocol that the server has (RFC 7301); ``none``: it does not know ALPN, read as b""."""

    human = "none, or the name of a protocol such as h2 or http/1.1"

    def parse(self, value: object, context: Context = ALONE) -> bytes:
        """Read a protocol's name."""
        if not isinstance(value, str) or _ALPN.fullmatch(value) is None:
            raise self.wrong(value)
        return b"" if value == "none" else value.encode()

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "string", "pattern": r"^[\u0021-\u007e]{1,255}$"}


def only_suites(ciphers: str) -> bool:
    """Tell whether a list has suites of TLS 1.3, and no other ciphers."""
    return ciphers != "" and all(name.startswith("TLS_") for name in ciphers.split(":"))


def refuse(values: Values, names: tuple[str, ...], why: str) -> None:
    """Raise BadValue at the first of these fields that has a value: it contradicts another one."""
    for name in names:
        if values[name] is not None:
            raise at((name,), why)
