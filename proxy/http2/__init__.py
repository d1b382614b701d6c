"""HTTP/2 on both sides of an exchange; the codec itself is in ``proxy.wire``.

``heads`` translates heads between the protocols.  A connection (``client``, ``upstream``) carries many
exchanges: each has a stream (``client_stream``, ``upstream_stream``) as its side.
"""
