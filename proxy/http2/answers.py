"""Answers of our own in HTTP/2, and for gRPC calls with the status that means the same there."""

from typing import Final

from proxy.http2.heads import block_of_lines
from proxy.wire.grpc import encode_message
from proxy.wire.h2_block import Block
from proxy.wire.h2_field import LITERAL, Field, interned
from rules.actions import Answer

# What an HTTP status means to a gRPC client that gets no grpc-status,
# https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
_GRPC_OF_HTTP: Final[dict[int, int]] = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_UNKNOWN: Final = 2


def grpc_status_of(answer: Answer) -> int:
    """Give the gRPC status that an answer stands for."""
    if answer.grpc_status >= 0:
        return answer.grpc_status
    return _GRPC_OF_HTTP.get(answer.status, _UNKNOWN)


def plain(answer: Answer, lines: bytes) -> Block:
    """Make the head of an answer; ``lines`` are further header lines."""
    fields = [interned(b":status", b"%d" % answer.status)]
    for name, value in answer.headers:
        fields.append(Field(name.lower(), value, LITERAL))
    if answer.status >= 200 and answer.status not in (204, 304):
        fields.append(Field(b"content-length", b"%d" % len(answer.body), LITERAL))
    return Block.of(fields + block_of_lines(lines).fields)


def grpc_head(answer: Answer, lines: bytes) -> Block:
    """Make the head of an answer to a gRPC call."""
    fields = [interned(b":status", b"200"), interned(b"content-type", b"application/grpc")]
    for name, value in answer.headers:
        if name.lower() != b"content-type":
            fields.append(Field(name.lower(), value, LITERAL))
    return Block.of(fields + block_of_lines(lines).fields)


def grpc_trailers(answer: Answer) -> Block:
    """Make the trailers of an answer to a gRPC call."""
    message = answer.grpc_message
    if not message and answer.body:
        message = encode_message(answer.body.strip())
    fields = [Field(b"grpc-status", b"%d" % grpc_status_of(answer), LITERAL)]
    if message:
        fields.append(Field(b"grpc-message", message, LITERAL))
    return Block.of(fields + _extra(answer))


def trailers(answer: Answer) -> Block:
    """Make the trailers of any other answer."""
    return Block.of(_extra(answer))


def _extra(answer: Answer) -> list[Field]:
    """Give the trailers that a rule asks for, whatever the answer."""
    return [Field(name.lower(), value, LITERAL) for name, value in answer.trailers]


def together(head: Block, trailers: Block) -> Block:
    """Make one block of both: an answer that is trailers only."""
    return Block.of(head.fields + trailers.fields)
