"""Active health checks: each address of an upstream is asked again and again whether it is well.

``outcome`` says what a check may see, ``tally`` what many of them mean, ``probe`` asks by TCP, HTTP/1.1 and
HTTP/2, ``grpc`` by gRPC's health protocol, ``checks`` runs them all.  Exchanges never pass here: they only
meet what ``Upstream.mark`` was told.
"""
