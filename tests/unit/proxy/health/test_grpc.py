"""The two messages of gRPC's health protocol, byte by byte; calls are in tests/e2e/grpc/test_health.py."""

import pytest

from proxy.health.grpc import read_response, write_request


@pytest.mark.parametrize(
    ("service", "data"),
    [
        ("", b""),
        ("shop.Cart", b"\x0a\x09shop.Cart"),
        ("x" * 127, b"\x0a\x7f" + b"x" * 127),
        ("x" * 300, b"\x0a\xac\x02" + b"x" * 300),
    ],
)
def test_requests_are_written_as_protobuf_does(service: str, data: bytes) -> None:
    assert write_request(service) == data


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 0),
        (b"\x08\x01", 1),
        (b"\x08\x02", 2),
        (b"\x08\x81\x00", 1),  # a number longer than it need be
        (b"\x08\x02\x08\x01", 1),  # of a field that comes twice the last one counts
        (b"\x10\x07\x08\x01", 1),  # other fields: a number,
        (b"\x12\x02hi\x08\x01", 1),  # a string,
        (b"\x19" + bytes(8) + b"\x08\x01", 1),  # eight bytes,
        (b"\x25" + bytes(4) + b"\x08\x01", 1),  # four bytes
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", (1 << 64) - 1),  # -1
    ],
)
def test_answers_are_read_as_protobuf_does(data: bytes, status: int) -> None:
    assert read_response(data) == status


@pytest.mark.parametrize(
    "data", [b"\x08", b"\x08\x80", b"\x12\x05hi", b"\x19\x00", b"\x0b", b"\x08" + b"\x80" * 11]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_response(data)
