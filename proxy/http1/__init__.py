"""HTTP/1.1 on both sides of an exchange.

``client_leg`` and ``upstream_leg`` write, ``client`` and ``upstream`` read and lead on along the path; the
codec itself is in ``proxy.wire``.
"""
