"""What is refused: bytes, and the kind of the refusal.  The first wrong byte decides.

From the table in docs/http1.md, llhttp's and h11's own tests, and the classes of request smuggling
(CL.TE, TE.CL, TE.TE, CL.0, 0.CL, TERM.EXT, EXT.TERM, expect, hop-by-hop abuse).
"""

from dataclasses import dataclass

from proxy.wire.h1 import REQUEST, RESPONSE
from tests.wire.drive import FIELDS, HEAD_SIZE


@dataclass(frozen=True)
class Bad:
    """One refused input; ``complete`` good messages may come before the refusal."""

    name: str
    role: int
    data: bytes
    kind: str
    eof: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


def _request(kind: str, *texts: bytes) -> list[Bad]:
    return [Bad(repr(text)[:60], REQUEST, text, kind) for text in texts]


def _response(kind: str, *texts: bytes) -> list[Bad]:
    return [Bad("answer " + repr(text)[:60], RESPONSE, text, kind) for text in texts]


def _fields(kind: str, *fields: bytes) -> list[Bad]:
    """Fields that make a good request bad."""
    return _request(kind, *(b"GET / HTTP/1.1\r\nHost: a\r\n" + f + b"\r\nY: 1\r\n\r\n" for f in fields))


def _framing(kind: str, *fields: bytes) -> list[Bad]:
    """Fields that frame a message so that it is refused, in both roles."""
    return _request(
        kind, *(b"POST / HTTP/1.1\r\nHost: a\r\n" + f + b"\r\n\r\n0\r\n\r\n" for f in fields)
    ) + _response(kind, *(b"HTTP/1.1 200 OK\r\n" + f + b"\r\n\r\n0\r\n\r\n" for f in fields))


def _chunks(kind: str, *bodies: bytes) -> list[Bad]:
    """Bodies that come chunked, in both roles."""
    frame = b"Transfer-Encoding: chunked\r\n\r\n"
    return _request(kind, *(b"POST / HTTP/1.1\r\nHost: a\r\n" + frame + b for b in bodies)) + _response(
        kind, *(b"HTTP/1.1 200 OK\r\n" + frame + b for b in bodies)
    )


CONTROLS = [bytes([c]) for c in (*range(9), 11, 12, *range(14, 32), 127)]

BYTES = [
    bad
    for c in CONTROLS
    for bad in (
        *_fields("control_character", b"X: a" + c + b"b", b"X" + c + b": a"),
        *_request("control_character", b"GET /" + c + b" HTTP/1.1\r\nHost: a\r\n\r\n", c),
        *_response("control_character", b"HTTP/1.1 200 O" + c + b"K\r\n\r\n"),
    )
]

LINE_ENDS = [
    *_request(
        "bare_lf",
        b"\n",
        b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nContent-Length: 5\r\n\r\nhello",
        b"GET /\nHTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\n/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    *_request(
        "bare_cr",
        b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\r: a\r\n\r\n",
        b"GET /\ra HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\rTransfer-Encoding: chunked\r\n\r\n",
    ),
    *_response(
        "bare_lf",
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nX: 1\nY: 2\r\n\r\n",
        b"\nHTTP/1.1 200 OK\r\n\r\n",
    ),
    *_response("bare_cr", b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", b"HTTP/1.1 200 O\rK\r\n\r\n"),
    *_request("empty_lines", b"\r\n" * 5 + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n" * 20),
]

FIRST_LINES = [
    *_request(
        "bad_request_line",
        *(
            line + b"\r\nHost: a\r\n\r\n"
            for line in (
                b" GET / HTTP/1.1",
                b"\tGET / HTTP/1.1",
                b"GET  / HTTP/1.1",
                b"GET /  HTTP/1.1",
                b"GET / HTTP/1.1 ",
                b"GET / HTTP/1.1 x",
                b"GET /a b HTTP/1.1",
                b"GET\t/ HTTP/1.1",
                b"GET /\tHTTP/1.1",
                b"G(T / HTTP/1.1",
                b"G\xc3\x89T / HTTP/1.1",
                b"GET:/ / HTTP/1.1",
                b" / HTTP/1.1",
                b"GET",
                b"GET ",
                b"GET / http/1.1",
                b"GET / HTTP/1.10",
                b"GET / HTTP/01.1",
                b"GET / HTTP/1",
                b"GET / HTTP/1.",
                b"GET / HTTP/.1",
                b"GET / HTTP/1,1",
                b"GET / HTTP/a.b",
                b"GET / HTTP/+1.1",
                b"GET / HTTP 1.1",
                b"GET / HTTP/1.1,HTTP/1.0",
                b"GET / HTTPS/1.1",
                b"GET / FTP/1.1",
                b"GET / ICE/1.0",
                b"HTTP/1.1 200 OK",
                b"hello",
            )
        ),
    ),
    *_request("bad_request_line", b"hello\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"GET / HTTP/1.1 HTTP/1.1\r\n"),
    *_request("http09", b"GET /\r\n", b"GET /\r\n\r\n", b"GET /index.html\r\nHost: a\r\n\r\n"),
    *_request(
        "bad_version",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/9.9\r\n",
        b"PRI * HTTP/2.1\r\n\r\n",
        b"PRI / HTTP/2.0\r\n\r\n",
    ),
    *_request(
        "http2_preface",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ),
    *_request(
        "bad_target",
        *(
            line + b"\r\nHost: a\r\n\r\n"
            for line in (
                b"GET /\xc3\xa9 HTTP/1.1",
                b"GET  HTTP/1.1",
                b"GET /a#b HTTP/1.1",
                b"GET # HTTP/1.1",
                b"GET a HTTP/1.1",
                b"GET index.html HTTP/1.1",
                b"GET ?a HTTP/1.1",
                b"GET * HTTP/1.1",
                b"OPTIONS ** HTTP/1.1",
                b"GET ftp://a/ HTTP/1.1",
                b"GET file:///etc/passwd HTTP/1.1",
                b"GET http:/a HTTP/1.1",
                b"GET http:a HTTP/1.1",
                b"GET \\a HTTP/1.1",
                b"GET a:80 HTTP/1.1",
            )
        ),
    ),
    *_request(
        "connect",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT * HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    *_response(
        "bad_status_line",
        *(
            line + b"\r\nContent-Length: 0\r\n\r\n"
            for line in (
                b"",
                b"HTTP/1.1",
                b"HTTP/1.1 ",
                b"HTTP/1.1  200 OK",
                b"HTTP/1.1\t200 OK",
                b"HTTP/1.1 20 OK",
                b"HTTP/1.1 2000 OK",
                b"HTTP/1.1 020 OK",
                b"HTTP/1.1 099 x",
                b"HTTP/1.1 000 x",
                b"HTTP/1.1 2x0 OK",
                b"HTTP/1.1 +20 OK",
                b"HTTP/1.1 -20 OK",
                b"HTTP/1.1 OK",
                b"HTTP/1.1 200\tOK",
                b"HTTP/1.1 200OK",
                b"http/1.1 200 OK",
                b"HTTP/1 200 OK",
                b"HTTP/11 200 OK",
                b"HTTP/1.10 200 OK",
                b"HTTP/1.1200 OK",
                b" HTTP/1.1 200 OK",
                b"ICY 200 OK",
                b"RTSP/1.0 200 OK",
                b"GET / HTTP/1.1",
                b"220 mail.example ESMTP",
            )
        ),
    ),
    *_response("bad_version", b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/0.9 200 OK\r\n\r\n", b"HTTP/3.1 200 OK\r\n"),
]

FIELD_LINES = [
    *_fields(
        "space_before_colon",
        b"X : 1",
        b"X\t: 1",
        b"X  : 1",
        b"Content-Length : 5",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b"a b : 1",
    ),
    *_fields(
        "bad_field_name",
        b": 1",
        b":",
        b"X Y: 1",
        b"X\tY: 1",
        b"X(: 1",
        b"X@Y: 1",
        b"[X]: 1",
        b'"X": 1',
        b"X/Y: 1",
        b"X;Y: 1",
        b"X,Y: 1",
        b"X=Y: 1",
        b"X?: 1",
        b"{X}: 1",
        b"X\\: 1",
        b"<X>: 1",
        b"\xffX: 1",
        b"Transfer-Encoding\xa0: chunked",
        b"\xe2\x80\x8bTransfer-Encoding: chunked",
        b"X\xc2\x85: 1",
    ),
    *_fields("missing_colon", b"X", b"Transfer-Encoding", b"garbage", b"chunked"),
    *_fields(
        "obs_fold",
        b" X: 1",
        b"\tX: 1",
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding:\r\n\tchunked",
        b"Content-Length:\r\n 5",
        b"X: a\r\n ",
        b" ",
    ),
    *_request(
        "obs_fold",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\tTransfer-Encoding: chunked\r\nHost: a\r\n\r\n",
    ),
    *_response("obs_fold", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n"),
    *_response("bad_field_name", b"HTTP/1.1 200 OK\r\nX Y: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n: a\r\n\r\n"),
    *_response("space_before_colon", b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello"),
    *_response("missing_colon", b"HTTP/1.1 200 OK\r\nX\r\n\r\n"),
    *_request("too_many_fields", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * FIELDS + b"\r\n"),
    *_response("too_many_fields", b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * (FIELDS + 1) + b"\r\n"),
]

HOSTS = [
    *_request(
        "missing_host",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: 1\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHosts: a\r\n\r\n",
        b"GET / HTTP/1.9\r\n\r\n",
    ),
    *_fields("repeated_host", b"Host: a", b"Host: b", b"host:", b"X: 1\r\nHOST: b"),
    *_request("repeated_host", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    *_request(
        "bad_host",
        *(
            b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
            for host in (
                b"",
                b" ",
                b":80",
                b"a b",
                b"a\tb",
                b"a,b",
                b"a, b",
                b"a/b",
                b"a?b",
                b"a#b",
                b"a@b",
                b"user:pw@a",
                b"a:b",
                b"a:80:80",
                b"a:-1",
                b"a:+80",
                b"a:123456",
                b"http://a",
                b"[::1",
                b"::1",
                b"[::1]x",
                b"[g]",
                b"[]",
                b"[fe80::1%25eth0]",
                b"a%",
                b"a%2",
                b"a%zz",
                b"\xc3\xa9",
                b"a\\b",
                b'"a"',
                b"<a>",
            )
        ),
        b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n",
        b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://?a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://b:x/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET http://b\\c/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
]

OPTIONS = [
    *_fields(
        "nominated_field",
        b"Connection: host",
        b"Connection: Content-Length",
        b"Connection: close, Content-Length\r\nContent-Length: 5",
        b"Connection: keep-alive, transfer-encoding",
        b"Connection: expect",
        b"Connection: close\r\nConnection: HOST",
    ),
    *_response(
        "nominated_field", b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\na"
    ),
    *_fields(
        "bad_expectation",
        b"Expect: y 100-continue",
        b"Expect: 100-continue, x",
        b"Expect: 200-ok",
        b"Expect:",
        b"Expect: 100-continue\r\nExpect: 100-continue",
        b"Expect: 100-continue;a=b",
        b"Expect: 100-continue 100-continue",
        b"Expect: x\r\nContent-Length: 5",
    ),
]

FRAMING = [
    *_framing(
        "bad_content_length",
        b"Content-Length:",
        b"Content-Length: -1",
        b"Content-Length: +5",
        b"Content-Length: 5 5",
        b"Content-Length: 5,5",
        b"Content-Length: 3, 3",
        b"Content-Length: 5, 6",
        b"Content-Length: 5,",
        b"Content-Length: ,5",
        b"Content-Length: 0x5",
        b"Content-Length: 5a",
        b"Content-Length: a",
        b"Content-Length: 5.0",
        b"Content-Length: 1e3",
        b"Content-Length: 1_0",
        b"Content-Length: '5'",
        b'Content-Length: "5"',
        b"Content-Length: 5;x",
        b"Content-Length: \xd9\xa5",
        b"Content-Length: \xb2",
        b"Content-Length: 1000000000000000000",
        b"Content-Length: 18446744073709551616",
        b"Content-Length: 0000000000000000005",
        b"Content-Length: " + b"9" * 400,
        b"Content-Length: chunked",
    ),
    *_framing(
        "repeated_content_length",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 0\r\nX: 1\r\nCONTENT-LENGTH: 5",
        b"Content-Length: 5\r\ncontent-length: -1",
        b"Content-Length: 5\r\nContent-Length:",
    ),
    *_framing(
        "length_and_coding",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0",
        b"transfer-ENCODING:chunked\r\nX: 1\r\ncontent-LENGTH:5",
        b"Content-Length: 5\r\nTransfer-Encoding: xchunked",
        b"Content-Length: 5\r\nTransfer-Encoding: identity",
        b"Content-Length: 5\r\nTransfer-Encoding:",
        b"Content-Length: 5\r\nTransfer-Encoding: \xffchunked",
    ),
    *_framing(
        "bad_coding",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: ,",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: ,chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
        b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: chunked; ",
        b'Transfer-Encoding: "chunked"',
        b"Transfer-Encoding: chunked chunked",
        b"Transfer-Encoding: x chunked",
        b"Transfer-Encoding: chunked\tx",
        b"Transfer-Encoding: \xa0chunked",
        b"Transfer-Encoding: chunked\xff",
        b"Transfer-Encoding: : chunked",
        b"Transfer-Encoding: [chunked]",
        b"Transfer-Encoding: chunked/1",
    ),
    *_framing(
        "unknown_coding",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunkedx",
        b"Transfer-Encoding: chunke",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: cow, chunked",
        b"Transfer-Encoding: 'chunked'",
    ),
    *_request(
        "coding_in_http10",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    ),
    *_response("coding_in_http10", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    *_response(
        "bad_content_length",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: -1\r\n\r\n",
    ),
]

CHUNKS = [
    *_chunks(
        "bad_chunk_size",
        b"\r\n",
        b"\r\n5\r\nhello\r\n",
        b"x\r\n",
        b"g\r\n",
        b"0x2\r\nab\r\n0\r\n\r\n",
        b"0X2\r\nab\r\n0\r\n\r\n",
        b"x2\r\nab\r\n",
        b"+2\r\nab\r\n",
        b"-1\r\n",
        b"-0\r\n\r\n",
        b" 2\r\nab\r\n",
        b"\t2\r\nab\r\n",
        b"2 \r\nab\r\n",
        b"2\t\r\nab\r\n",
        b"2 ;a\r\nab\r\n",
        b"2\t;a\r\nab\r\n",
        b"2 2\r\nab\r\n",
        b"2,2\r\nab\r\n",
        b"2.0\r\nab\r\n",
        b"2_0\r\nab\r\n",
        b"2h\r\nab\r\n",
        b"\n2\r\nab\r\n",
        b"2\nab\r\n0\r\n\r\n",
        b"2\n\r\nab\r\n",
        b"2\rab\r\n",
        b"2\r\r\nab\r\n",
        b"2\r;\nab\r\n",
        b"2\x00\r\nab\r\n",
        b"\x002\r\nab\r\n",
        b";a\r\nab\r\n",
        b"00000000000000002\r\nab\r\n",
        b"10000000000000000\r\n",
        b"fffffffffffffffff\r\n",
        b"0" * 1000,
        b"\xb2\r\nab\r\n",
        b"\xef\xbc\x92\r\nab\r\n",
        b"'2'\r\nab\r\n",
        b"0\n\r\n",
        b"0\n\n",
        b"2\r\nab\r\n0x0\r\n\r\n",
        b"2\r\nab\r\n\r\n",
        b"2\r\nab\r\n 0\r\n\r\n",
        b"chunked\r\n",
    ),
    *_chunks(
        "bad_chunk_extension",
        b"2;\nab\r\n",
        b"2;a\nab\r\n0\r\n\r\n",
        b"2;a=b\n\r\nab\r\n",
        b"2;a\rb\r\nab\r\n",
        b"2;a\r\r\nab\r\n",
        b"2;a\x00b\r\nab\r\n",
        b"2;\x7f\r\nab\r\n",
        b'2;a="\n"\r\nab\r\n',
        b'2;a="\r"\r\nab\r\n',
        b"0;a\n\r\n",
        b"5;\n050\r\n0\r\n\r\n",
    ),
    *_chunks(
        "chunk_line_too_long",
        b"1;" + b"x" * 1024 + b"\r\na\r\n",
        b"1;" + b"x" * 1500,
        b"0;" + b"x" * 3000 + b"\r\n\r\n",
    ),
    *_chunks(
        "bad_chunk_end",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"2\r\nab0\r\n\r\n",
        b"2\r\nab\n0\r\n\r\n",
        b"2\r\nab\r0\r\n\r\n",
        b"2\r\nab\r\r\n0\r\n\r\n",
        b"2\r\nab\n\r0\r\n\r\n",
        b"2\r\nab;\r\n0\r\n\r\n",
        b"2\r\nabXX0\r\n\r\n",
        b"1\r\na \r\n0\r\n\r\n",
    ),
    *_chunks(
        "bare_lf",
        b"0\r\n\n",
        b"0\r\nX: 1\n\r\n",
        b"0\r\nX: 1\r\n\n",
        b"0\r\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    *_chunks("bare_cr", b"0\r\n\r\r\n", b"0\r\n\rX", b"0\r\nX: a\rb\r\n\r\n"),
    *_chunks("obs_fold", b"0\r\n X: 1\r\n\r\n", b"0\r\nX: 1\r\n Y: 2\r\n\r\n", b"0\r\n \r\n\r\n"),
    *_chunks(
        "bad_field_name", b"0\r\nX Y: 1\r\n\r\n", b"0\r\n: 1\r\n\r\n", b"2\r\nab\r\n0\r\nX\xff: 1\r\n\r\n"
    ),
    *_chunks("space_before_colon", b"0\r\nX : 1\r\n\r\n"),
    *_chunks("missing_colon", b"0\r\nX\r\n\r\n", b"0\r\nGET / HTTP/1.1\r\n\r\n"),
    *_chunks("control_character", b"0\r\nX: \x00\r\n\r\n", b"0\r\n\x00"),
    *_chunks("too_many_trailers", b"0\r\n" + b"X: 1\r\n" * (FIELDS + 1) + b"\r\n"),
]

TRUNCATED = [
    Bad(f"{role} {data[:60]!r}", role, data, "truncated", eof=True)
    for role, data in [
        (REQUEST, b"G"),
        (REQUEST, b"\r"),
        (REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\n"),
        (REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\n\r"),
        (REQUEST, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"),
        (REQUEST, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell"),
        (RESPONSE, b"H"),
        (RESPONSE, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"),
        (RESPONSE, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP"),
        *[
            (role, head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
            for role, head in [
                (REQUEST, b"POST / HTTP/1.1\r\nHost: a\r\n"),
                (RESPONSE, b"HTTP/1.1 200 OK\r\n"),
            ]
            for body in [
                b"",
                b"5",
                b"5\r",
                b"5;a",
                b"5\r\n",
                b"5\r\nhell",
                b"5\r\nhello",
                b"5\r\nhello\r",
                b"5\r\nhello\r\n",
                b"0",
                b"0\r\n",
                b"0\r\n\r",
                b"0\r\nX: 1\r\n",
                b"0\r\nX: 1\r\n\r",
            ]
        ],
    ]
]

# Heads longer than the limit; the splits of these are few, not at each byte.
LARGE = [
    *_request(
        "uri_too_long",
        b"GET /" + b"a" * HEAD_SIZE + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"a" * (HEAD_SIZE + 1),
        b"GET / HTTP/1.1" + b" " * HEAD_SIZE,
    ),
    *_request(
        "head_too_large",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * HEAD_SIZE + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * HEAD_SIZE,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (HEAD_SIZE - 31) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * HEAD_SIZE + b"\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX Y: " + b"a" * HEAD_SIZE + b"\r\n\r\n",
    ),
    *_request(
        "bare_lf",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: " + b"a" * HEAD_SIZE + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: " + b"a" * HEAD_SIZE,
    ),
    *_request("http09", b"GET /\r\n" + b"a" * HEAD_SIZE),
    *_response(
        "head_too_large", b"HTTP/1.1 200 OK\r\nX: " + b"a" * HEAD_SIZE, b"HTTP/1.1 200 " + b"a" * HEAD_SIZE
    ),
    *_chunks(
        "trailers_too_large",
        b"0\r\nX: " + b"a" * HEAD_SIZE + b"\r\n\r\n",
        b"0\r\n" + b"a" * HEAD_SIZE,
        b"0\r\n" + b"X: 1\r\n" * HEAD_SIZE,
    ),
    *_chunks("chunk_line_too_long", (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 17),
]

SMALL = BYTES + LINE_ENDS + FIRST_LINES + FIELD_LINES + HOSTS + OPTIONS + FRAMING + CHUNKS + TRUNCATED
