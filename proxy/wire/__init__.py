"""The codecs: bytes to messages and back, sans-IO (no asyncio, no ssl, no clock).

``h1`` reads HTTP/1.1 in both roles, ``h1_write`` writes it; docs/http1.md says what is refused and why.
``h2`` reads and writes HTTP/2 in both roles, with the header compression of ``hpack_*``; docs/http2.md.
"""
