"""What the codecs refuse, as values.

``KINDS`` is the one table of refusals: the short name that logs and metrics carry, and the status
that a client is answered with.  Any other exception that leaves a codec is a bug.
"""

from typing import Final

KINDS: Final[dict[str, int]] = {
    # the line ends and bytes of a head
    "bare_lf": 400,
    "bare_cr": 400,
    "control_character": 400,
    "empty_lines": 400,
    # the first line
    "bad_request_line": 400,
    "bad_status_line": 400,
    "bad_target": 400,
    "uri_too_long": 414,
    "bad_version": 505,
    "http09": 505,
    "http2_preface": 505,
    "connect": 501,
    # the fields
    "bad_field_name": 400,
    "space_before_colon": 400,
    "missing_colon": 400,
    "obs_fold": 400,
    "head_too_large": 431,
    "too_many_fields": 431,
    "missing_host": 400,
    "repeated_host": 400,
    "bad_host": 400,
    "nominated_field": 400,
    "bad_expectation": 417,
    # framing
    "bad_content_length": 400,
    "repeated_content_length": 400,
    "length_and_coding": 400,
    "coding_in_http10": 400,
    "bad_coding": 400,
    "unknown_coding": 501,
    # the body
    "bad_chunk_size": 400,
    "bad_chunk_extension": 400,
    "chunk_line_too_long": 400,
    "bad_chunk_end": 400,
    "trailers_too_large": 431,
    "too_many_trailers": 431,
    "truncated": 400,
}


class ProtocolError(Exception):
    """The peer broke the protocol; the connection cannot be used any more.

    ``status`` is the answer to a client (the path maps what an upstream did wrong to 502), ``kind`` a
    name of ``KINDS``, ``text`` one clear line for the log.
    """

    def __init__(self, status: int, kind: str, text: str) -> None:
        super().__init__(text)
        self.status: int = status
        self.kind: str = kind
        self.text: str = text


def refusal(kind: str, text: str) -> ProtocolError:
    """Make the error of a kind in the table."""
    return ProtocolError(KINDS[kind], kind, text)
