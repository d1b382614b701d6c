"""Misrule's data plane: one exchange walks through these phases, in this order, each one file.

==============  ==============================  ===============================================
phase           file                            what happens there
==============  ==============================  ===============================================
accept          ``proxy/path/accept.py``        a client connects: limits, the connection's plan
tls             ``proxy/path/tls.py``           the handshake, where the listener speaks TLS
request_head    ``proxy/path/request_head.py``  the head is read, routed and matched: plan or none
request_body    ``proxy/path/request_body.py``  the body flows to the upstream
resolve         ``proxy/path/resolve.py``       the upstream's name becomes addresses
connect         ``proxy/path/connect.py``       a pooled connection, or a new one
response_head   ``proxy/path/response_head.py`` the answer's head goes to the client
response_body   ``proxy/path/response_body.py`` the answer's body flows to the client
end             ``proxy/path/end.py``           counted, logged, released: always, exactly once
==============  ==============================  ===============================================

The names are those of ``rules.phases``: rules, metric labels, log fields and docs use them too.
"""

from importlib.machinery import EXTENSION_SUFFIXES

__version__ = "0.1.0"


def build_kind() -> str:
    """Say which of the two builds runs: "compiled" or "interpreted".

    All hot modules are compiled as one group, so any one of them can tell.
    """
    from rules import phases

    return "compiled" if (phases.__file__ or "").endswith(tuple(EXTENSION_SUFFIXES)) else "interpreted"
