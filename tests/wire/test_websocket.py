"""The key of a WebSocket's handshake, and what answers it."""

import pytest
from websockets.utils import accept_key, generate_key

from proxy.wire.websocket import KEY_SIZE, accept_of, is_key, key_of


def test_the_example_of_the_rfc() -> None:
    """RFC 6455, section 1.3."""
    key = key_of(b"the sample nonce")
    assert (key, accept_of(key)) == (b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")


@pytest.mark.parametrize("chance", [bytes(KEY_SIZE), b"\xff" * KEY_SIZE, bytes(range(KEY_SIZE))])
def test_as_the_package_websockets_does(chance: bytes) -> None:
    key = key_of(chance)
    assert is_key(key)
    assert accept_of(key) == accept_key(key.decode()).encode()
    assert is_key(generate_key().encode())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"dGhlIHNhbXBsZSBub25jZQ",
        b"dGhlIHNhbXBsZSBub25jZQ=",
        b"dGhlIHNhbXBsZSBub25jZQ== ",
        b"dGhlIHNhbXBsZSBub25jZQ\n==",
        b"dGhlIHNhbXBsZSBub25j!Q==",
        b"c2l4dGVlbiBieXRlcyBvciBz",  # 18 bytes
        b"========================",
    ],
)
def test_what_is_no_key(value: bytes) -> None:
    assert not is_key(value)
