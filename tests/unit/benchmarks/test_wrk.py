"""What wrk prints, and that the script it runs says it."""

import http.server
import os
import threading
from collections.abc import Iterator

import pytest

from benchmarks.load import wrk
from benchmarks.load.rulesets import TIER_HEADER
from benchmarks.load.wrk import Load, WrkFailed
from tests.support.need import need

OUTPUT = """\
Running 1s test @ http://127.0.0.1:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
BENCH {"requests":20000,"microseconds":2000000,"bytes":1,"connect":1,"read":2,"write":0,"timeout":4,"status":2000,"p50":583,"p90":700,"p99":1354,"max":9000}
"""  # noqa: E501


def test_the_line_of_json_is_found_among_wrks_own() -> None:
    shot = wrk.parse(OUTPUT)
    assert (shot.requests, shot.seconds, shot.rate) == (20_000, 2.0, 10_000.0)
    assert (shot.p50, shot.p90, shot.p99, shot.maximum) == (583, 700, 1354, 9000)
    assert (shot.refused, shot.broken) == (2000, 7)


def test_no_result_is_an_error_that_shows_the_output() -> None:
    with pytest.raises(WrkFailed, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused")


class _Recorder(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: set[tuple[str, str | None, int]] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.add((self.path, self.headers[TIER_HEADER], len(body)))
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_real_run_sends_headers_and_body_and_counts_refusals(
    server: http.server.ThreadingHTTPServer,
) -> None:
    need("wrk")
    port = int(server.server_address[1])
    shot = wrk.fire(Load("/upload/x", 1, 1000), port, 1, frozenset(os.sched_getaffinity(0)))
    assert _Recorder.seen == {("/upload/x", "standard", 1000)}
    assert shot.requests > 0
    assert shot.refused == shot.requests
    assert 0 < shot.p50 <= shot.p99 <= shot.maximum
