"""ClientHellos to read: written by hand, and made by OpenSSL."""

import ssl


def vector(width: int, *parts: bytes) -> bytes:
    """Write a vector: its length in ``width`` bytes, and what it holds."""
    whole = b"".join(parts)
    return len(whole).to_bytes(width, "big") + whole


def extension(kind: int, data: bytes) -> bytes:
    """Write one extension."""
    return kind.to_bytes(2, "big") + vector(2, data)


def server_name(name: bytes, kind: int = 0) -> bytes:
    """Write the extension ``server_name``."""
    return extension(0, vector(2, bytes([kind]), vector(2, name)))


def message(
    extensions: bytes | None, legacy: bytes = b"\3\3", session: bytes = b"", ciphers: bytes = b"\x13\1"
) -> bytes:
    """Write the handshake message; ``extensions`` None: it ends before them."""
    body = legacy + b"r" * 32 + vector(1, session) + vector(2, ciphers) + vector(1, b"\0")
    body += b"" if extensions is None else vector(2, extensions)
    return b"\1" + vector(3, body)


def records(handshake: bytes, size: int = 16384) -> bytes:
    """Cut a handshake message into records of at most ``size`` bytes."""
    parts = [handshake[at : at + size] for at in range(0, len(handshake), size)]
    return b"".join(b"\x16\3\1" + vector(2, part) for part in parts)


def of_openssl(name: str | None, *alpn: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """Have Python's ssl make one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = newest
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()
