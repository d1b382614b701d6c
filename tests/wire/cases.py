"""The table of good messages: bytes, and what they mean, to be read and to be written."""

from dataclasses import dataclass, field

from proxy.wire.h1 import CHUNKED, LENGTH, NO_BODY, REQUEST, RESPONSE, UNTIL_CLOSE


@dataclass(frozen=True)
class Case:
    """One message; ``says`` are attributes of its Head, ``passed`` the head as it is passed on."""

    name: str
    role: int
    head: bytes
    says: dict[str, object]
    passed: bytes
    body: bytes = b""  # as it comes
    content: bytes = b""
    trailers: bytes = b""
    raw: bytes | None = None  # as it is passed on in raw mode, where that is not as it came
    to_head: bool = False
    eof: bool = False

    @property
    def data(self) -> bytes:
        return self.head + self.body

    def __str__(self) -> str:
        return self.name


def lines(*text: str) -> bytes:
    """A head of these lines."""
    return "".join(line + "\r\n" for line in (*text, "")).encode("latin-1")


def get(name: str, *fields: str, line: str = "GET /a HTTP/1.1", cut: str = "", **says: object) -> Case:
    """A request without body; ``cut``: start of the lines that are not passed on, separated by |."""
    cuts = tuple(part for part in cut.split("|") if part)
    kept = [f for f in fields if not cuts or not f.lower().startswith(cuts)]
    return Case(name, REQUEST, lines(line, *fields), says, lines(line, *kept))


HOST = "Host: a"
OK = "HTTP/1.1 200 OK"


@dataclass(frozen=True)
class Chunked:
    """A chunked body as it comes and what it means."""

    name: str
    body: bytes
    content: bytes
    trailers: bytes = b""
    raw: bytes | None = None
    marks: tuple[int, ...] = field(default=())


CHUNKED_BODIES = [
    Chunked("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    Chunked("no chunk", b"0\r\n\r\n", b""),
    Chunked("zeros", b"000\r\n\r\n", b""),
    Chunked("two chunks", b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", b"hello, world"),
    Chunked("hex", b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    Chunked("leading zeros", b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    Chunked("CRLF as content", b"4\r\n\r\n\r\n\r\n2\r\n0\r\r\n0\r\n\r\n", b"\r\n\r\n0\r"),
    Chunked("extension", b"5;a=b;c\r\nhello\r\n0;x\r\n\r\n", b"hello"),
    Chunked("empty extension", b"5;\r\nhello\r\n0\r\n\r\n", b"hello"),
    Chunked("quoted extension", b'5; a = "b; \\" \xe9"\r\nhello\r\n0\r\n\r\n', b"hello"),
    Chunked("long extension", b"1;" + b"x" * 1023 + b"\r\na\r\n0\r\n\r\n", b"a"),
    Chunked("trailer", b"1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n", b"a", b"X-Sum: 7\r\n"),
    Chunked("trailers", b"1\r\na\r\n0\r\nX: 1\r\ny:\r\n\r\n", b"a", b"X: 1\r\ny:\r\n"),
    Chunked(
        "forbidden trailers",
        b"1\r\na\r\n0\r\nContent-Length: 9\r\nx: 1\r\nHOST: b\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"a",
        b"x: 1\r\n",
        b"1\r\na\r\n0\r\nx: 1\r\n\r\n",
    ),
    Chunked(
        "only forbidden trailers",
        b"1\r\na\r\n0\r\nAuthorization: b\r\nConnection: x\r\nUpgrade: h2c\r\nSet-Cookie: a=b\r\n\r\n",
        b"a",
        b"",
        b"1\r\na\r\n0\r\n\r\n",
    ),
]

GETS = [
    get("smallest", HOST, method=b"GET", path=b"/a", host=b"a", keep_alive=True, framing=NO_BODY),
    get("port", "Host: A.Example:8080", authority=b"A.Example:8080", host=b"a.example"),
    get("empty port", "Host: a:", host=b"a"),
    get("ipv6", "Host: [::1]:80", host=b"[::1]"),
    get("encoded host", "Host: a%2fb", host=b"a%2fb"),
    get("spaces about a value", "Host: \t a \t ", authority=b"a", host=b"a"),
    get("no space", "Host:a", host=b"a"),
    get("query", HOST, line="GET /a?b=c?d HTTP/1.1", path=b"/a", query=b"b=c?d"),
    get("empty query", HOST, line="GET /a? HTTP/1.1", path=b"/a", query=b"", origin=b"/a?"),
    get("two slashes", HOST, line="GET //a/../b HTTP/1.1", path=b"//a/../b"),
    get("odd characters", HOST, line='GET /"<>\\^`{|} HTTP/1.1', path=b'/"<>\\^`{|}'),
    get("asterisk", HOST, line="OPTIONS * HTTP/1.1", method=b"OPTIONS", path=b"*", target=b"*"),
    get("odd method", HOST, line="m-Search!#$%&'*+.^_`|~ / HTTP/1.1", method=b"m-Search!#$%&'*+.^_`|~"),
    get("obs-text", HOST, "X: caf\xe9 \xff", host=b"a"),
    get("empty value", HOST, "X:", "Y: ", host=b"a"),
    get("tab in value", HOST, "X: a\tb", host=b"a"),
    get("odd field name", HOST, "!#$%&'*+-.^_`|~09aZ: 1", host=b"a"),
    get("close", HOST, "Connection: close", cut="connection", keep_alive=False),
    get("keep-alive", HOST, "Connection: Keep-Alive", cut="connection", keep_alive=True),
    get("close wins", HOST, "connection: keep-alive, CLOSE", cut="connection", keep_alive=False),
    get("two connections", HOST, "connection: close", "X: 1", "connection: x", cut="con|x", keep_alive=False),
    get("empty options", HOST, "Connection: , ,", cut="connection", keep_alive=True),
    get("odd options", HOST, "Connection: a b;c", "a b;c-d: 1"[6:], cut="connection", keep_alive=True),
    get("nominated", HOST, "X-A: 1", "Connection: x-a, X-B", "x-b: 2", "x-c: 3", cut="connection|x-a|x-b"),
    get("hop by hop", HOST, "Keep-Alive: 5", "Proxy-Connection: x", "TE: trailers", cut="keep|proxy|te"),
    get("trailer is passed on", HOST, "Trailer: x-sum", host=b"a"),
    get("upgrade without option", HOST, "Upgrade: websocket", cut="upgrade", upgrade=b""),
    get(
        "upgrade",
        HOST,
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        cut="up|con",
        upgrade=b"websocket",
    ),
    get(
        "upgrades", HOST, "Connection: upgrade", "Upgrade: a/1", "Upgrade: b", cut="up|con", upgrade=b"a/1, b"
    ),
    get(
        "h2c is not passed on",
        HOST,
        "Upgrade: H2C",
        "Connection: upgrade, http2-settings",
        "HTTP2-Settings: A",
        cut="up|con|http2",
        upgrade=b"",
    ),
    get(
        "option without upgrade", HOST, "Connection: upgrade", cut="connection", upgrade=b"", keep_alive=True
    ),
    get("zero length", HOST, "Content-Length: 0", framing=LENGTH, length=0),
    get("expect without body", HOST, "Expect: 100-Continue", expect_continue=True),
    get(
        "not the names", HOST, "Hosts: b", "content-lengt: 5", "x-transfer-encoding: a", host=b"a", length=-1
    ),
]


def _request(name: str, line: str, fields: list[str], passed: list[str], **says: object) -> Case:
    return Case(name, REQUEST, lines(line, *fields), says, lines(*passed))


REWRITTEN = [
    _request("1.0", "GET / HTTP/1.0", [], ["GET / HTTP/1.1", "host: "], minor=0, keep_alive=False, host=b""),
    _request("1.0 with host", "GET / HTTP/1.0", [HOST], ["GET / HTTP/1.1", HOST], minor=0, host=b"a"),
    _request(
        "1.0 kept",
        "GET / HTTP/1.0",
        [HOST, "Connection: keep-alive"],
        ["GET / HTTP/1.1", HOST],
        keep_alive=True,
    ),
    _request(
        "1.0 closed",
        "GET / HTTP/1.0",
        [HOST, "Connection: close"],
        ["GET / HTTP/1.1", HOST],
        keep_alive=False,
    ),
    _request(
        "1.0 expect",
        "GET / HTTP/1.0",
        [HOST, "Expect: 100-continue"],
        ["GET / HTTP/1.1", HOST],
        expect_continue=False,
    ),
    _request(
        "1.0 upgrade",
        "GET / HTTP/1.0",
        [HOST, "Connection: upgrade", "Upgrade: x"],
        ["GET / HTTP/1.1", HOST],
        upgrade=b"",
        keep_alive=False,
    ),
    _request("1.2", "GET / HTTP/1.2", [HOST], ["GET / HTTP/1.1", HOST], minor=1, keep_alive=True),
    _request(
        "absolute",
        "GET http://B:80/c?d HTTP/1.1",
        ["X: 1", HOST, "Y: 2"],
        ["GET /c?d HTTP/1.1", "host: B:80", "X: 1", "Y: 2"],
        host=b"b",
        authority=b"B:80",
        path=b"/c",
        query=b"d",
    ),
    _request("absolute, no path", "GET HTTPS://b HTTP/1.1", [HOST], ["GET / HTTP/1.1", "host: b"], path=b"/"),
    _request(
        "absolute, query only",
        "GET http://b?x HTTP/1.1",
        [HOST],
        ["GET /?x HTTP/1.1", "host: b"],
        path=b"/",
        query=b"x",
    ),
    _request("absolute 1.0", "GET http://b/ HTTP/1.0", [], ["GET / HTTP/1.1", "host: b"], host=b"b"),
    _request(
        "absolute OPTIONS", "OPTIONS http://b HTTP/1.1", [HOST], ["OPTIONS * HTTP/1.1", "host: b"], path=b"*"
    ),
    _request(
        "absolute OPTIONS, path",
        "OPTIONS http://b/ HTTP/1.1",
        [HOST],
        ["OPTIONS / HTTP/1.1", "host: b"],
        path=b"/",
    ),
]


def _with_body(name: str, first: str, frame: str, body: bytes, content: bytes, **says: object) -> Case:
    fields = [frame] if first == OK else [HOST, frame]
    head = lines(first, *fields)
    return Case(name, RESPONSE if first == OK else REQUEST, head, says, head, body, content)


LENGTHS = [
    _with_body(
        f"{name}, {'response' if first == OK else 'request'}", first, frame, body, body, framing=LENGTH
    )
    for first in ("POST / HTTP/1.1", OK)
    for name, frame, body in [
        ("length", "Content-Length: 5", b"hello"),
        ("length with zeros", "content-length: 0005", b"hello"),
        ("length with spaces", "CONTENT-LENGTH:\t5 \t", b"hello"),
        ("length, lines as content", "Content-Length: 11", b"\r\n\r\nGET / \n"),
    ]
]

CHUNKS = [
    Case(
        f"{c.name}, {'response' if line == OK else 'request'}",
        RESPONSE if line == OK else REQUEST,
        head,
        {"framing": CHUNKED, "length": -1},
        head,
        c.body,
        c.content,
        c.trailers,
        c.raw,
    )
    for c in CHUNKED_BODIES
    for line in ("POST / HTTP/1.1", OK)
    for head in [lines(line, *([] if line == OK else [HOST]), "Transfer-Encoding: Chunked")]
]


def _answer(
    name: str,
    *text: str,
    passed: list[str] | None = None,
    body: bytes = b"",
    to_head: bool = False,
    eof: bool = False,
    **says: object,
) -> Case:
    head = lines(*text)
    return Case(name, RESPONSE, head, says, lines(*(passed or text)), body, body, to_head=to_head, eof=eof)


ANSWERS = [
    _answer("no reason, no space", "HTTP/1.1 204", status=204, reason=b"", framing=NO_BODY),
    _answer("no reason", "HTTP/1.1 204 ", status=204, reason=b""),
    _answer(
        "odd reason", "HTTP/1.1 299 \xe9 a\tb  c ", "Content-Length: 0", reason=b"\xe9 a\tb  c ", status=299
    ),
    _answer("status 999", "HTTP/1.1 999 x", "Content-Length: 0", status=999, framing=LENGTH),
    _answer(
        "1.0",
        "HTTP/1.0 200 OK",
        "Content-Length: 2",
        passed=[OK, "Content-Length: 2"],
        body=b"ab",
        minor=0,
        keep_alive=False,
    ),
    _answer(
        "1.0 kept",
        "HTTP/1.0 200 OK",
        "Connection: keep-alive",
        "Content-Length: 2",
        body=b"ab",
        passed=[OK, "Content-Length: 2"],
        keep_alive=True,
    ),
    _answer("1.5", "HTTP/1.5 200 OK", "Content-Length: 0", passed=[OK, "Content-Length: 0"], minor=1),
    _answer(
        "closed",
        OK,
        "Connection: close",
        "Content-Length: 0",
        passed=[OK, "Content-Length: 0"],
        keep_alive=False,
    ),
    _answer("until close", OK, "X: 1", body=b"hello", eof=True, framing=UNTIL_CLOSE, keep_alive=False),
    _answer("until close, empty", OK, eof=True, framing=UNTIL_CLOSE, keep_alive=False),
    _answer(
        "1.0 until close",
        "HTTP/1.0 200 OK",
        "Connection: keep-alive",
        passed=[OK],
        body=b"x",
        eof=True,
        keep_alive=False,
        framing=UNTIL_CLOSE,
    ),
    _answer("to HEAD", OK, "Content-Length: 5", to_head=True, framing=NO_BODY, length=5, keep_alive=True),
    _answer("to HEAD, chunked", OK, "Transfer-Encoding: chunked", to_head=True, framing=NO_BODY),
    _answer("to HEAD, no framing", OK, to_head=True, framing=NO_BODY, keep_alive=True),
    _answer("304", "HTTP/1.1 304 Not Modified", "Content-Length: 5", framing=NO_BODY, keep_alive=True),
    _answer(
        "204 with length",
        "HTTP/1.1 204 No Content",
        "content-length: 5",
        "x: 1",
        framing=NO_BODY,
        passed=["HTTP/1.1 204 No Content", "x: 1"],
    ),
    _answer(
        "204 chunked",
        "HTTP/1.1 204 No Content",
        "transfer-encoding: chunked",
        framing=NO_BODY,
        passed=["HTTP/1.1 204 No Content"],
    ),
    _answer("100", "HTTP/1.1 100 Continue", status=100, framing=NO_BODY, keep_alive=True),
    _answer("103", "HTTP/1.1 103 Early Hints", "Link: </a>", framing=NO_BODY),
    _answer(
        "101",
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "X: 1",
        passed=["HTTP/1.1 101 Switching Protocols", "X: 1", "connection: upgrade", "upgrade: websocket"],
        upgrade=b"websocket",
        framing=NO_BODY,
    ),
    _answer(
        "426",
        "HTTP/1.1 426 Upgrade Required",
        "Upgrade: TLS/1.3",
        "Connection: upgrade",
        "Content-Length: 0",
        passed=[
            "HTTP/1.1 426 Upgrade Required",
            "Content-Length: 0",
            "connection: upgrade",
            "upgrade: TLS/1.3",
        ],
        upgrade=b"TLS/1.3",
    ),
    _answer(
        "fields that only a request has",
        OK,
        "Host: \xff",
        "Host: b",
        "Expect: x",
        "Content-Length: 0",
        host=b"",
    ),
]

CASES = GETS + REWRITTEN + LENGTHS + CHUNKS + ANSWERS
