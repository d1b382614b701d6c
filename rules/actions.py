"""What a fault may ask of the proxy: a closed list.

A fault decides, the proxy acts.  Times are seconds, ``FOREVER`` means until released.
Those that act on the bytes of bodies are in ``rules.body_actions``.  A new action is a rare change: one of
the two files, ``proxy/performer.py``, a test, a line in DECISIONS.md.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from rules.breakers.figures import Figures

FOREVER: Final = -1.0

CANCEL: Final = 8  # HTTP/2's error code for what is not wanted any more (RFC 9113, section 7)

# What follows a hold that ran out (or was never meant to: CONTINUE).
THEN_CONTINUE: Final = 0
THEN_RESET: Final = 1
THEN_CLOSE: Final = 2
THEN_ABORT: Final = 3


@mypyc_attr(allow_interpreted_subclasses=True)
class Action:
    """One thing that the proxy does to an exchange or a connection."""

    __slots__ = ()


class Wait(Action):
    """Let ``seconds`` pass, never less; nothing else changes."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds: float = seconds


class Answer(Action):
    """Answer the client with this response instead of the upstream's.

    ``headers`` are the lines as they are sent (name, value), without framing: the proxy adds
    content-length.  ``grpc_status`` -1 means: derive it from ``status`` when the call is gRPC.
    ``trailers`` go out where the protocol has room for them behind an answer of ours: HTTP/2.
    """

    __slots__ = ("body", "grpc_message", "grpc_status", "headers", "status", "trailers", "trailers_only")

    def __init__(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        grpc_status: int = -1,
        grpc_message: bytes = b"",
        trailers_only: bool = True,
        trailers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        self.status: int = status
        self.headers: list[tuple[bytes, bytes]] = headers
        self.body: bytes = body
        self.grpc_status: int = grpc_status
        self.grpc_message: bytes = grpc_message
        self.trailers_only: bool = trailers_only
        self.trailers: list[tuple[bytes, bytes]] = [] if trailers is None else trailers


class Hold(Action):
    """Let no byte pass for ``seconds`` (or ``FOREVER``), with the connection open; then do ``then``."""

    __slots__ = ("answer", "seconds", "then")

    def __init__(self, seconds: float, then: int, answer: Answer | None = None) -> None:
        self.seconds: float = seconds
        self.then: int = then
        self.answer: Answer | None = answer  # what THEN_ABORT answers


class Reset(Action):
    """End the exchange visibly broken: HTTP/2 by RST_STREAM with ``code``, all else by a true RST.

    ``connection``: a true RST in HTTP/2 too, which takes all exchanges of the connection along.
    """

    __slots__ = ("code", "connection")

    def __init__(self, code: int = CANCEL, connection: bool = False) -> None:
        self.code: int = code
        self.connection: bool = connection


class GoAway(Action):
    """Tell the client that its connection takes nothing new; what is under way may complete.

    HTTP/2: GOAWAY with this ``code``, ``debug`` data and ``last_stream_id`` (-1: the highest that came).
    ``graceful``: in two steps, so that no request is lost on its way (RFC 9113, section 6.8).  HTTP/1.1: the
    connection ends with this answer.
    """

    __slots__ = ("code", "debug", "graceful", "last_stream_id")

    def __init__(
        self, code: int = 0, debug: bytes = b"", last_stream_id: int = -1, graceful: bool = False
    ) -> None:
        self.code: int = code
        self.debug: bytes = debug
        self.last_stream_id: int = last_stream_id
        self.graceful: bool = graceful


class Close(Action):
    """End the connection with a clean FIN before the message is complete.

    HTTP/2 says GOAWAY first: ``goaway``, or one that names the exchange before this one as the last.
    ``close_notify`` False: over TLS the alert that announces the end is left out (RFC 8446, section 6.1).
    """

    __slots__ = ("close_notify", "goaway")

    def __init__(self, goaway: GoAway | None = None, close_notify: bool = True) -> None:
        self.goaway: GoAway | None = goaway
        self.close_notify: bool = close_notify


class CutBody(Action):
    """End the body of this phase here as if it were whole, against what its framing says.

    HTTP/1.1, TCP: FIN in the middle; HTTP/2: END_STREAM, without trailers.  Nothing more of it passes.
    """

    __slots__ = ()


class Nothing(Action):
    """Leave this exchange alone: it gives the fault nothing to act on, which then counts as not chosen."""

    __slots__ = ()


class WaitForDeadline(Action):
    """Wait until ``seconds`` (below 0: before) from the deadline that the caller of a gRPC call has set.

    Without a deadline there is nothing to do.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds: float = seconds


# What becomes of a message of a gRPC call.
DROP: Final = 0
REPEAT: Final = 1
HOLD_BACK: Final = 2
GARBLE: Final = 3  # its length prefix


class ShapeMessages(Action):
    """Do this to message number ``message`` (from 1; 0: to each) of one direction, as it passes.

    The direction is the phase that the fault acts at.  ``seconds`` is how long HOLD_BACK holds back.
    """

    __slots__ = ("message", "seconds", "what")

    def __init__(self, what: int, message: int, seconds: float = 0.0) -> None:
        self.what: int = what
        self.message: int = message
        self.seconds: float = seconds


class EndCall(Action):
    """End a gRPC call behind ``after`` messages of one direction; -1: where it ends by itself, but so.

    ``status`` and ``message`` are the values of grpc-status and grpc-message as they are sent, b"": left out.
    ``reset``: RST_STREAM instead of any status.
    """

    __slots__ = ("after", "message", "reset", "status")

    def __init__(self, after: int, status: bytes, message: bytes, reset: Reset | None = None) -> None:
        self.after: int = after
        self.status: bytes = status
        self.message: bytes = message
        self.reset: Reset | None = reset


# Which WINDOW_UPDATEs are not sent.
WITHHOLD_NOTHING: Final = 0
WITHHOLD_STREAM: Final = 1
WITHHOLD_CONNECTION: Final = 2


class Disturb(Action):
    """Do what only HTTP/2 has to the client's connection, for as long as the rule is in force.

    ``goaway`` and ``ping`` happen once.  ``max_streams`` and ``initial_window`` are SETTINGS, -1: as before;
    ``padding`` is bytes in each DATA frame, ``frame_size`` the most that one has of content (0: what the
    peer takes).  Withholding for a stream ends with its exchange.
    """

    __slots__ = (
        "frame_size",
        "goaway",
        "ignore_ping",
        "initial_window",
        "max_streams",
        "padding",
        "ping",
        "withhold",
    )

    def __init__(
        self,
        goaway: GoAway | None,
        withhold: int,
        max_streams: int,
        initial_window: int,
        ignore_ping: bool,
        padding: int,
        ping: bool = False,
        frame_size: int = 0,
    ) -> None:
        self.goaway: GoAway | None = goaway
        self.withhold: int = withhold
        self.max_streams: int = max_streams
        self.initial_window: int = initial_window
        self.ignore_ping: bool = ignore_ping
        self.padding: int = padding
        self.ping: bool = ping
        self.frame_size: int = frame_size

    @property
    def lasts(self) -> bool:
        """Whether there is anything besides what happens once."""
        return bool(
            self.withhold
            or self.max_streams >= 0
            or self.initial_window >= 0
            or self.ignore_ping
            or self.padding
            or self.frame_size
        )


class Consult(Action):
    """Ask the breakers that the rule keeps whether this exchange may pass, and tell them how it ends.

    ``answers`` is what the client gets where it may not, by what they say (``rules.breakers.breaker``).
    """

    __slots__ = ("answers", "draw", "figures", "key")

    def __init__(self, figures: Figures, key: bytes, answers: list[Answer], draw: float = 1.0) -> None:
        self.figures: Figures = figures
        self.key: bytes = key
        self.answers: list[Answer] = answers
        self.draw: float = draw  # for a breaker that sheds by chance


# How far a TLS handshake gets before it is cut or held up.
CLIENT_HELLO: Final = 0  # the ClientHello came, nothing was sent
SERVER_HELLO: Final = 1  # ServerHello was sent, and nothing after it
FINISHED: Final = 2  # both sides' Finished went through: the client believes that all is well

# What happens to a handshake there.
CUT_PAUSE: Final = 0
CUT_RESET: Final = 1
CUT_CLOSE: Final = 2
CUT_ALERT: Final = 3


class CutHandshake:
    """What stops a TLS handshake, and how far it gets: part of ``ShapeHandshake``.

    ``seconds``: how long CUT_PAUSE lasts (``FOREVER``: until the client gives up).  ``alert``: the number
    that CUT_ALERT sends (RFC 8446, section 6), followed by FIN.
    """

    __slots__ = ("alert", "at", "how", "seconds")

    def __init__(self, at: int, how: int, seconds: float = 0.0, alert: int = -1) -> None:
        self.at: int = at
        self.how: int = how
        self.seconds: float = seconds
        self.alert: int = alert


class ShapeHandshake(Action):
    """Shake hands over TLS in this way; on a connection that is open: end it, so that its client comes again.

    ``certificate`` is a flavour by name, "": the listener's own; ``expires_in``: the seconds that belong to
    the flavour of that name.  ``max_version`` is the greatest version of the protocol by its number on the
    wire (0x0303: TLS 1.2), 0: as ever.  ``ciphers``: a list as OpenSSL writes it, "": as ever.  ``alpn``: the
    only protocol to choose (RFC 7301), b"": choose none, None: as ever.  ``bad_record``: the first record
    behind the handshake fails authentication.
    """

    __slots__ = (
        "alpn",
        "bad_record",
        "certificate",
        "ciphers",
        "cut",
        "expires_in",
        "max_version",
        "reject_client_certificate",
    )

    def __init__(
        self,
        certificate: str = "",
        expires_in: float = 0.0,
        max_version: int = 0,
        ciphers: str = "",
        alpn: bytes | None = None,
        reject_client_certificate: bool = False,
        bad_record: bool = False,
        cut: CutHandshake | None = None,
    ) -> None:
        self.certificate: str = certificate
        self.expires_in: float = expires_in
        self.max_version: int = max_version
        self.ciphers: str = ciphers
        self.alpn: bytes | None = alpn
        self.reject_client_certificate: bool = reject_client_certificate
        self.bad_record: bool = bad_record
        self.cut: CutHandshake | None = cut


class ShapeLookup(Action):
    """Answer a look-up of a name in this way, after ``seconds``.

    ``failure`` is how it ends ("nxdomain", "servfail", "refused", "nodata", "timeout"), "": it does not fail.
    ``addresses`` stand in the place of the right ones, []: as they are; ``partial``: only half of them come.
    ``ttl`` is that of each record, -1: as it is.  ``truncated``: over UDP the answer does not fit.
    """

    __slots__ = ("addresses", "failure", "partial", "seconds", "truncated", "ttl")

    def __init__(
        self,
        failure: str = "",
        addresses: list[str] | None = None,
        ttl: int = -1,
        partial: bool = False,
        truncated: bool = False,
        seconds: float = 0.0,
    ) -> None:
        self.failure: str = failure
        self.addresses: list[str] = [] if addresses is None else addresses
        self.ttl: int = ttl
        self.partial: bool = partial
        self.truncated: bool = truncated
        self.seconds: float = seconds
