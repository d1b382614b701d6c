"""HTTP/2 against the `h2` library: the same input to both, frame by frame, until either refuses one.

``python -m tests.fuzz.h2 --count 1000000`` for a long run; tests/wire/test_h2_fuzz.py has a short one.

Both must accept the same frames and see the same in them: heads, content, trailers, ends, resets.  An input
that only one of them refuses is a disagreement, unless it is among those that are explained below.
An exception other than H2Error that leaves our codec is a bug whatever the input.  In what pieces an input
comes must not matter either: ours is given it as a whole, too (and decodes blocks before their turn then).
"""

import argparse
import sys
import time
from random import Random

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from proxy.wire.h2 import CLIENT, SERVER, H2Settings
from tests.conformance.peer import ACK, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame
from tests.fuzz.h2_inputs import pieces
from tests.wire.h2_drive import GET, Drive, Event, parse

_HTTP1 = "RFC 9110 forbids it, and HTTP/1.1 could not pass it on; the library does not look"

Explanations = list[tuple[int | None, str, str]]

# Where we refuse what the library takes: the type of the frame (None: any), the kind of our refusal, and why.
OURS_ALONE: Explanations = [
    (None, "bad_path", _HTTP1),
    (None, "bad_method", _HTTP1),
    (None, "bad_scheme", _HTTP1),
    (None, "bad_authority", _HTTP1),
    (None, "bad_field_name", _HTTP1),
    (None, "bad_field_value", _HTTP1),
    (None, "bad_status", "three digits, and not 101 (RFC 9113, 8.6); the library does not look"),
    (None, "repeated_content_length", "two parsers could take either; the library takes the last"),
    (None, "repeated_host", "two parsers could take either; the library takes the last"),
    (
        HEADERS,
        "head_in_tunnel",
        "nothing but DATA follows CONNECT (RFC 9113, 8.5); the library takes trailers",
    ),
    (None, "length_mismatch", "the library compares with DATA alone, not where a head or trailers end it"),
    (None, "frame_too_large", "the head of the frame says it; the library waits for all of the frame"),
    (RST_STREAM, "idle_stream", "a connection error (RFC 9113, 6.4); the library passes over it"),
    (SETTINGS, "bad_setting", "of several values for one setting the library looks at the last"),
    (SETTINGS, "bad_window_setting", "of several values for one setting the library looks at the last"),
    (HEADERS, "bad_stream_id", "a server may not send requests (RFC 9113, 8.4); the library takes one"),
    (HEADERS, "bad_frame_size", "the library takes a priority that reaches into the padding"),
]
# Where the library refuses what we take: the type of the frame, what the library says, and why.
THEIRS_ALONE: Explanations = [
    (10, "FrameDataMissingError", "it reads ALTSVC (RFC 7838), which is an unknown frame to us"),
    (None, "ProtocolError: Received frame with invalid header", "it looks at the head before the rest came"),
    (WINDOW_UPDATE, "ProtocolError: Received frame with non-compliant data", "it minds the reserved bit"),
    (HEADERS, "ProtocolError: Received frame with invalid padding", "it refuses a frame of padding alone"),
]


_CLOSED = "in state ConnectionState.CLOSED"  # the library's word for whatever comes after GOAWAY


class Disagreement(AssertionError):
    """Both sides see different things in the same input."""


class Theirs:
    """The library's connection, with the same view as ours."""

    def __init__(self, role: int) -> None:
        config = h2.config.H2Configuration(
            client_side=role == CLIENT,
            header_encoding=None,
            normalize_inbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.why = ""
        preface = b"" if role == CLIENT else PREFACE
        self.connection.receive_data(preface + frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, ACK, 0, b""))
        if role == CLIENT:
            for sid in (1, 3, 5):
                self.connection.send_headers(sid, GET, end_stream=sid != 5)
        self.connection.data_to_send()

    def feed(self, data: bytes) -> list[Event]:
        """Feed and give what it saw; sets ``why`` when it refused."""
        try:
            events = self.connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self.why = f"{type(error).__name__}: {error}"
            return []
        for came in parse(self.connection.data_to_send()):
            if came.kind in (RST_STREAM, GOAWAY):
                self.why = f"sent frame {came.kind} with code {came.code}"
        return [seen for event in events for seen in _theirs(event)]


def _theirs(event: object) -> list[Event]:
    if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
        return [("head", event.stream_id, [tuple(field) for field in event.headers or ()])]
    if isinstance(event, h2.events.InformationalResponseReceived):
        return [("interim", event.stream_id, [tuple(field) for field in event.headers or ()])]
    if isinstance(event, h2.events.TrailersReceived):
        return [("trailers", event.stream_id, [tuple(field) for field in event.headers or ()])]
    if isinstance(event, h2.events.DataReceived):
        return [("data", event.stream_id, event.data)] if event.data else []
    if isinstance(event, h2.events.StreamEnded):
        return [("end", event.stream_id)]
    if isinstance(event, h2.events.StreamReset):
        return [("reset", event.stream_id, int(event.error_code or 0))]
    if isinstance(event, h2.events.ConnectionTerminated):
        return [("goaway",)]
    return []  # an answer to no PING of ours is nothing to us


class Ours:
    """Our connection, with the same view."""

    def __init__(self, role: int) -> None:
        self.drive = Drive(role, H2Settings(initial_window=65535, connection_window=65535))
        self.why = ""
        if role == CLIENT:
            for sid in (1, 3, 5):
                self.drive.ask(end=sid != 5)
        self.drive.connection.take()

    def feed(self, data: bytes) -> list[Event]:
        """Feed and give what it saw; sets ``why`` when it refused."""
        self.drive.now += 1.0
        events = self.drive.feed(data)
        for event in events:
            if event[0] in ("error", "refused"):
                self.why = str(event[1])
            elif event[0] == "reset" and event[2] and event[2] != "goaway":
                self.why = str(event[2])
        for came in self.drive.written():
            if came.kind in (RST_STREAM, GOAWAY) and not self.why:
                self.why = f"sent frame {came.kind} with code {came.code}"
        return [seen for event in events for seen in _ours(event)]


def _ours(event: Event) -> list[Event]:
    name = event[0]
    if name in ("head", "interim", "trailers"):
        seen: list[Event] = [(name, event[1], event[2])]
        return [*seen, ("end", event[1])] if event[3] else seen
    if name == "data":
        seen = [(name, event[1], event[2])] if event[2] else []
        return [*seen, ("end", event[1])] if event[4] else seen
    if name == "reset":
        return [("reset", event[1], event[3])] if not event[2] else []
    return [event] if name in ("end", "goaway") else []


def explained(ours: str, theirs: str, piece: bytes) -> str:
    """Give the explanation of a refusal by one side alone, "" when there is none."""
    kind = piece[3] if len(piece) > 3 else -1
    for wanted, start, why in OURS_ALONE if ours else THEIRS_ALONE:
        if (ours or theirs).startswith(start) and wanted in (None, kind):
            return why
    return ""


def check(role: int, data: list[bytes]) -> str:
    """Give both an input; gives how it ended, raises Disagreement."""
    ours, theirs = Ours(role), Theirs(role)
    for place, piece in enumerate(data):
        seen, wanted = ours.feed(piece), theirs.feed(piece)
        if ours.why and theirs.why:
            return "refused by both"
        if ("goaway",) in seen and theirs.why.endswith(_CLOSED):
            return "goaway"  # and the piece goes on behind it
        if ours.why or theirs.why:
            if explained(ours.why, theirs.why, piece):
                return f"explained: {ours.why or theirs.why}"
            raise Disagreement(f"frame {place}, {piece[:80].hex()}: ours {ours.why!r}, theirs {theirs.why!r}")
        if seen != wanted:
            raise Disagreement(f"frame {place}, {piece[:80].hex()}: ours {seen}, theirs {wanted}")
        if ("goaway",) in seen:
            return "goaway"  # theirs takes nothing any more after that
    return "accepted"


def check_at_once(role: int, data: list[bytes]) -> None:
    """Give ours an input in pieces and as a whole; raises Disagreement."""
    single, whole = Ours(role).drive, Ours(role).drive
    wanted: list[Event] = []
    for piece in data:
        wanted += single.feed(piece)
        if single.error is not None:
            break
    seen = whole.feed(b"".join(data))
    if seen != wanted:
        raise Disagreement(f"at once: {seen}, in pieces: {wanted}")


def run(count: int, seed: int, verbose: bool = False) -> dict[str, int]:
    """Check so many inputs; gives how they ended; raises Disagreement with what is needed to see it again."""
    ends: dict[str, int] = {}
    began = time.monotonic()
    for number in range(count):
        random = Random(f"{seed}/{number}")
        role = SERVER if random.random() < 0.6 else CLIENT
        data = pieces(random, role == SERVER)
        try:
            end = check(role, data)
            check_at_once(role, data)
        except Exception as error:
            note = f"seed {seed} number {number} role {role}: {[piece.hex() for piece in data]}"
            raise Disagreement(f"{type(error).__name__}: {error}; {note}") from error
        ends[end] = ends.get(end, 0) + 1
        if verbose and number % 10000 == 9999:
            print(f"{number + 1} in {time.monotonic() - began:.0f} s", flush=True)
    return ends


def main() -> None:
    """``python -m tests.fuzz.h2 [--count N] [--seed N]``."""
    parser = argparse.ArgumentParser(description="Fuzz HTTP/2 against the h2 library.")
    parser.add_argument("--count", type=int, default=10000, help="inputs (default: 10000)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ends = run(arguments.count, arguments.seed, verbose=True)
    for end, times in sorted(ends.items(), key=lambda item: -item[1]):
        print(f"{times:9} {end}", file=sys.stdout)


if __name__ == "__main__":
    main()
