"""tls: a handshake that goes wrong for one reason and no other."""

from typing import ClassVar, Final

from rules.actions import (
    CLIENT_HELLO,
    CUT_PAUSE,
    FINISHED,
    FOREVER,
    SERVER_HELLO,
    Action,
    CutHandshake,
    Nothing,
    ShapeHandshake,
)
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import CLIENT, UPSTREAM, Fault
from rules.fault_fields import on_field, settle_on
from rules.params import BadValue, Bool, Choice
from rules.phases import CONNECT, TLS
from rules.records import Field, Record, Values, at
from rules.tls_params import (
    CIPHERS,
    EXPIRES_IN,
    TLS12,
    Alpn,
    Flavour,
    Handshake,
    MaxVersion,
    only_suites,
    refuse,
)

_NOTHING: Final = Nothing()
_SHAPES: Final = (
    "certificate", "max_version", "ciphers", "alpn", "client_certificate", "bad_record",
)  # fmt: skip
# What a client cannot meet any more once the handshake was ended so early.
_LOST: Final[dict[int, tuple[str, ...]]] = {
    CLIENT_HELLO: _SHAPES,
    SERVER_HELLO: ("certificate", "client_certificate", "bad_record"),
    FINISHED: ("client_certificate", "bad_record"),
}
_PLACES: Final[dict[str, int]] = {
    "client_hello": CLIENT_HELLO,
    "server_hello": SERVER_HELLO,
    "finished": FINISHED,
}


class TlsFault(Fault):
    """The client meets a server with this defect, also where it holds a session ticket."""

    KIND: ClassVar[str] = "tls"
    PARAMS: ClassVar[Record[Values]] = Record(
        {
            "certificate": Field(Flavour(), None, "what is wrong with the certificate"),
            "handshake": Field(Handshake(), None, "what holds up or ends the handshake"),
            "at": Field(
                Choice(_PLACES), None, "how far the handshake gets before: client_hello, unless given"
            ),
            "max_version": Field(MaxVersion(), None, "the server speaks no newer version of TLS"),
            "ciphers": Field(CIPHERS, None, "the server has these ciphers only"),
            "alpn": Field(Alpn(), None, "the server has this protocol only; none: it knows no ALPN"),
            "client_certificate": Field(
                Choice({"reject": True}), None, "the server asks for a certificate, and takes none"
            ),
            "bad_record": Field(Bool(), None, "true: the first record behind the handshake is damaged"),
            "side": Field(
                Choice({"client": CLIENT, "upstream": UPSTREAM}),
                "client",
                "upstream: what this proxy answers where the upstream is so; that itself is not touched",
            ),
            "on": on_field(),
        },
        short="certificate",
        human="the flavour of a certificate such as expired, or a mapping such as {handshake: reset}",
    )

    def __init__(self, shape: ShapeHandshake, side: int) -> None:
        super().__init__(CONNECT if side == UPSTREAM else TLS)
        self.shape: ShapeHandshake = shape
        self.side = side
        cut = shape.cut
        # What comes later in the handshake leaves room for others before it.
        self.ends_exchange = side == CLIENT and cut is not None and cut.at == CLIENT_HELLO and _ends(cut)

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        if values["bad_record"] is False:
            raise at(("bad_record",), "expected true, or no bad_record")
        cut: CutHandshake | None = values["handshake"]
        if cut is None and values["at"] is not None:
            raise at(("at",), "at: says where handshake: acts, and there is none")
        if cut is None and all(values[name] is None for name in _SHAPES):
            raise BadValue(f"expected at least one of {', '.join((*_SHAPES, 'handshake'))}")
        if values["side"] == UPSTREAM:
            _check_upstream(values)
        if values["client_certificate"] is not None:
            refuse(values, ("bad_record",), "no record follows a handshake whose client is rejected")
        if values["max_version"] is not None and only_suites(values["ciphers"] or ""):
            refuse(values, ("ciphers",), "these are ciphers of TLS 1.3, and max_version is older")
        if cut is not None:
            cut = CutHandshake(values["at"] or CLIENT_HELLO, cut.how, cut.seconds, cut.alert)
            if _ends(cut):
                refuse(values, _LOST[cut.at], "the handshake ends before a client can meet this")
        flavour, expires_in = values["certificate"] or ("", 0.0)
        shape = ShapeHandshake(
            flavour,
            expires_in,
            values["max_version"] or 0,
            values["ciphers"] or "",
            values["alpn"],
            values["client_certificate"] is not None,
            values["bad_record"] is not None,
            cut,
        )
        fault = TlsFault(shape, values["side"])
        settle_on(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Shape the handshake of a connection that has one."""
        return self.shape if self.side == UPSTREAM or facts.tls else _NOTHING


def _ends(cut: CutHandshake) -> bool:
    """Tell whether nothing follows; nor does anything follow a stall without a time."""
    return cut.how != CUT_PAUSE or cut.seconds == FOREVER


def _check_upstream(values: Values) -> None:
    """Raise BadValue for what would change nothing in what this proxy answers, or has no meaning there."""
    refuse(values, ("ciphers", "alpn"), "side: upstream has no such trouble: this proxy takes what there is")
    refuse(values, ("bad_record",), "what comes behind the handshake is for reset with side: upstream")
    if values["at"] == FINISHED:
        raise at(("at",), "what comes behind the handshake is for reset, close and stall with side: upstream")
    refuse(values, ("on",), "side: upstream acts on requests, and leaves connections alone: leave out on")
    if values["max_version"] is not None and values["max_version"] >= TLS12:
        raise at(("max_version",), "this proxy speaks 1.2 with upstreams too: expected 1.0 or 1.1")
    if values["certificate"] is not None and values["certificate"][0] == EXPIRES_IN:
        raise at(("certificate",), "a certificate that is still valid is no trouble to this proxy")
