"""What the HTTP/2 codec refuses, as values.

``H2_KINDS`` is the one table of what ends a connection: the short name that logs and metrics carry, and the
error code that GOAWAY tells the peer.  ``STREAM_KINDS`` is the same for what ends one stream, by RST_STREAM.
Any exception other than H2Error that leaves the codec is a bug.
"""

from typing import Final

# Error codes (RFC 9113, section 7).
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
CONNECT_ERROR: Final = 10
ENHANCE_YOUR_CALM: Final = 11
INADEQUATE_SECURITY: Final = 12
HTTP_1_1_REQUIRED: Final = 13

CODES: Final[dict[str, int]] = {
    "NO_ERROR": NO_ERROR,
    "PROTOCOL_ERROR": PROTOCOL_ERROR,
    "INTERNAL_ERROR": INTERNAL_ERROR,
    "FLOW_CONTROL_ERROR": FLOW_CONTROL_ERROR,
    "SETTINGS_TIMEOUT": SETTINGS_TIMEOUT,
    "STREAM_CLOSED": STREAM_CLOSED,
    "FRAME_SIZE_ERROR": FRAME_SIZE_ERROR,
    "REFUSED_STREAM": REFUSED_STREAM,
    "CANCEL": CANCEL,
    "COMPRESSION_ERROR": COMPRESSION_ERROR,
    "CONNECT_ERROR": CONNECT_ERROR,
    "ENHANCE_YOUR_CALM": ENHANCE_YOUR_CALM,
    "INADEQUATE_SECURITY": INADEQUATE_SECURITY,
    "HTTP_1_1_REQUIRED": HTTP_1_1_REQUIRED,
}

# What ends a connection.
H2_KINDS: Final[dict[str, int]] = {
    "bad_preface": PROTOCOL_ERROR,
    "missing_settings": PROTOCOL_ERROR,
    "frame_too_large": FRAME_SIZE_ERROR,
    "bad_frame_size": FRAME_SIZE_ERROR,
    "bad_padding": PROTOCOL_ERROR,
    "bad_stream_id": PROTOCOL_ERROR,  # of a frame that belongs to the connection, or not, or to no stream
    "idle_stream": PROTOCOL_ERROR,
    "closed_stream": STREAM_CLOSED,
    "push": PROTOCOL_ERROR,
    "bad_continuation": PROTOCOL_ERROR,
    "bad_setting": PROTOCOL_ERROR,
    "bad_window_setting": FLOW_CONTROL_ERROR,
    "zero_increment": PROTOCOL_ERROR,
    "window_overflow": FLOW_CONTROL_ERROR,
    "window_exceeded": FLOW_CONTROL_ERROR,
    "bad_compression": COMPRESSION_ERROR,
    # the guard (h2_guard)
    "rapid_reset": ENHANCE_YOUR_CALM,
    "made_you_reset": ENHANCE_YOUR_CALM,
    "continuation_flood": ENHANCE_YOUR_CALM,
    "header_bomb": ENHANCE_YOUR_CALM,
    "ping_flood": ENHANCE_YOUR_CALM,
    "goaway_flood": ENHANCE_YOUR_CALM,
    "settings_flood": ENHANCE_YOUR_CALM,
    "priority_flood": ENHANCE_YOUR_CALM,
    "empty_data_flood": ENHANCE_YOUR_CALM,
    "unknown_frame_flood": ENHANCE_YOUR_CALM,
    "window_update_flood": ENHANCE_YOUR_CALM,
    "closed_stream_flood": ENHANCE_YOUR_CALM,
    "refused_stream_flood": ENHANCE_YOUR_CALM,
    "interim_flood": ENHANCE_YOUR_CALM,
    "control_backlog": ENHANCE_YOUR_CALM,
}

# What ends a stream.
STREAM_KINDS: Final[dict[str, int]] = {
    # a header block (h2_block)
    "bad_field_name": PROTOCOL_ERROR,
    "bad_field_value": PROTOCOL_ERROR,
    "connection_field": PROTOCOL_ERROR,
    "bad_te": PROTOCOL_ERROR,
    "bad_content_length": PROTOCOL_ERROR,
    "repeated_content_length": PROTOCOL_ERROR,
    "repeated_host": PROTOCOL_ERROR,
    "unknown_pseudo": PROTOCOL_ERROR,
    "repeated_pseudo": PROTOCOL_ERROR,
    "late_pseudo": PROTOCOL_ERROR,
    "missing_pseudo": PROTOCOL_ERROR,
    "wrong_pseudo": PROTOCOL_ERROR,
    "bad_method": PROTOCOL_ERROR,
    "bad_path": PROTOCOL_ERROR,
    "bad_scheme": PROTOCOL_ERROR,
    "bad_authority": PROTOCOL_ERROR,
    "bad_status": PROTOCOL_ERROR,
    "bad_protocol": PROTOCOL_ERROR,
    "missing_authority": PROTOCOL_ERROR,
    "host_differs": PROTOCOL_ERROR,
    "pseudo_in_trailers": PROTOCOL_ERROR,
    "head_too_large": ENHANCE_YOUR_CALM,
    "too_many_fields": ENHANCE_YOUR_CALM,
    "too_many_trailers": ENHANCE_YOUR_CALM,
    # a stream
    "length_mismatch": PROTOCOL_ERROR,
    "trailers_without_end": PROTOCOL_ERROR,
    "interim_with_end": PROTOCOL_ERROR,
    "head_in_tunnel": PROTOCOL_ERROR,
    "self_dependency": PROTOCOL_ERROR,
    "bad_priority_size": FRAME_SIZE_ERROR,
    "body_before_head": PROTOCOL_ERROR,
    "ended_stream": STREAM_CLOSED,
    "zero_increment": PROTOCOL_ERROR,
    "window_overflow": FLOW_CONTROL_ERROR,
    "window_exceeded": FLOW_CONTROL_ERROR,
    "too_many_streams": REFUSED_STREAM,
}


# What a request is answered for, with 431 (RFC 6585, section 5), where others are reset.
ANSWERED: Final = frozenset({"head_too_large", "too_many_fields"})


class H2Error(Exception):
    """The peer broke the protocol or the budgets; GOAWAY is queued and the connection is over.

    ``code`` is what GOAWAY says, ``kind`` a name of ``H2_KINDS``, ``text`` one clear line for the log.
    """

    def __init__(self, code: int, kind: str, text: str) -> None:
        super().__init__(text)
        self.code: int = code
        self.kind: str = kind
        self.text: str = text


def h2_error(kind: str, text: str) -> H2Error:
    """Make the error of a kind in the table."""
    return H2Error(H2_KINDS[kind], kind, text)
