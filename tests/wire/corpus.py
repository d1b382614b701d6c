"""Messages for hypothesis: good ones from a grammar, and what becomes of them when bytes are changed."""

from hypothesis import strategies as st

from tests.wire.cases import CASES
from tests.wire.malformed import SMALL

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALUE = "".join(chr(c) for c in (9, *range(32, 127), *range(128, 256)))
TARGET = "".join(chr(c) for c in range(33, 127) if c != 35)

NAMES = st.one_of(
    st.text(TOKEN, min_size=1, max_size=12),
    st.sampled_from(["X-A", "accept", "COOKIE", "Via", "User-Agent", "x-user-tier", "hosts", "te"]),
)
VALUES = st.text(VALUE, max_size=20)
FIELD_LINES = st.tuples(NAMES, st.sampled_from([":", ": ", ":\t "]), VALUES).map("".join)

SPECIAL = st.sampled_from(
    [
        "Content-Length: 5",
        "content-length: 0",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length:",
        "Transfer-Encoding: chunked",
        "TRANSFER-ENCODING: Chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Host: b",
        "Connection: close",
        "Connection: keep-alive",
        "Connection: upgrade, x-a",
        "Connection: host",
        "Upgrade: websocket",
        "Expect: 100-continue",
        "Expect: x",
        "TE: trailers",
        "X : 1",
        " folded",
        "no colon",
    ]
)
REQUEST_LINES = st.one_of(
    st.tuples(
        st.sampled_from(["GET", "POST", "OPTIONS", "get", "CONNECT"]), st.text(TARGET, max_size=15)
    ).map(lambda part: f"{part[0]} /{part[1]} HTTP/1.1"),
    st.sampled_from(
        [
            "GET / HTTP/1.0",
            "POST / HTTP/1.1",
            "GET http://b:80/c?d HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET / HTTP/1.2",
            "GET / HTTP/2.0",
            "GET  / HTTP/1.1",
            "GET /",
        ]
    ),
)
STATUS_LINES = st.one_of(
    st.tuples(st.integers(100, 999), st.text(VALUE, max_size=10)).map(lambda p: f"HTTP/1.1 {p[0]} {p[1]}"),
    st.sampled_from(
        ["HTTP/1.0 200 OK", "HTTP/1.1 304", "HTTP/1.1 100 Continue", "HTTP/2.0 200 OK", "HTTP/1.1 99 x"]
    ),
)
LINE_ENDS = st.sampled_from(["\r\n"] * 12 + ["\n", "\r", "\r\r\n", "\r\n "])
CHUNK = st.tuples(
    st.binary(max_size=9),
    st.sampled_from([b""] * 6 + [b";a=b", b";", b" ", b" ;x"]),
    st.sampled_from([b"%x", b"%X", b"0%x"]),
).map(lambda c: (c[2] % len(c[0])) + c[1] + b"\r\n" + c[0] + b"\r\n")
BODIES = st.one_of(
    st.binary(max_size=12),
    st.tuples(
        st.lists(CHUNK, max_size=3), st.sampled_from([b"0\r\n\r\n", b"0\r\nX: 1\r\n\r\n", b"0\r\n", b""])
    ).map(lambda body: b"".join(body[0]) + body[1]),
)


@st.composite
def heads(draw: st.DrawFn, first_lines: st.SearchStrategy[str]) -> bytes:
    """A head: usually good, sometimes with one of the things that are refused."""
    lines = [draw(first_lines)]
    if draw(st.integers(0, 9)):
        lines.append("Host: a")
    lines += draw(st.lists(FIELD_LINES, max_size=4))
    lines += draw(st.lists(SPECIAL, max_size=2))
    text = "".join(
        line + draw(LINE_ENDS) if draw(st.integers(0, 5)) == 0 else line + "\r\n" for line in lines
    )
    return text.encode("latin-1") + b"\r\n"


def messages(first_lines: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """A head and bytes that may be its body, and more."""
    return st.tuples(heads(first_lines), BODIES).map(b"".join)


REQUESTS = messages(REQUEST_LINES)
RESPONSES = messages(STATUS_LINES)

KNOWN = [case.data for case in CASES] + [bad.data for bad in SMALL]
ODD = [
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\x00",
    b"\xff",
    b"0",
    b"chunked",
    b"HTTP/1.1",
    b"#",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One or two messages of the tables, with some bytes changed, put in or taken out."""
    data = bytearray(draw(st.sampled_from(KNOWN)) + draw(st.sampled_from([b"", *KNOWN])))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        change = draw(st.integers(0, 2))
        if change == 0:
            data[at : at + 1] = draw(st.sampled_from(ODD))
        elif change == 1:
            data[at:at] = draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=3)))
        else:
            del data[at : at + draw(st.integers(1, 5))]
    return bytes(data)


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """These bytes in some pieces."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
