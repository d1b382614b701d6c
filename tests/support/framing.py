"""What is in a message, whole or not."""


def content(message: bytes) -> bytes:
    """Give the content of a message's body as far as it has come, without its chunks."""
    head, _, body = message.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    found = b""
    while b"\r\n" in body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            break
        found += body[:length]
        body = body[length + 2 :]
    return found
