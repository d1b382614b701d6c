"""The nine phases of an exchange, in order.

One list for everything: rules (``at: response_head``), the files of ``proxy/path/``,
metric labels, log fields and docs use these names.  Hot code compares the integers.
"""

from typing import Final

ACCEPT: Final = 0
TLS: Final = 1
REQUEST_HEAD: Final = 2
REQUEST_BODY: Final = 3
RESOLVE: Final = 4
CONNECT: Final = 5
RESPONSE_HEAD: Final = 6
RESPONSE_BODY: Final = 7
END: Final = 8

COUNT: Final = 9

BODIES: Final = (REQUEST_BODY, RESPONSE_BODY)  # the phases in which content flows

NAMES: Final[tuple[str, ...]] = (
    "accept",
    "tls",
    "request_head",
    "request_body",
    "resolve",
    "connect",
    "response_head",
    "response_body",
    "end",
)
