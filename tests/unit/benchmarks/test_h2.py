"""The parts of the HTTP/2 load: frames, what h2load is told and prints, churn, the echo."""

import itertools
import os
import sys
from pathlib import Path

import pytest
from hpack import Decoder

from benchmarks.load import churn, h2_client, h2load, places, procs, report, rulesets, upstream, workloads
from benchmarks.load.client import WrongAnswer, expect
from benchmarks.load.echo import HEAD, TRAILERS, Echo
from benchmarks.load.h2_frames import cut, frame, reply
from benchmarks.load.h2load import H2Load, H2LoadFailed
from benchmarks.load.procs import free_port
from benchmarks.load.results import MemoryRow
from benchmarks.load.subjects import SUBJECTS, nghttpx
from proxy.wire.h2_frames import ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, SETTINGS
from tests.support.need import need

OUTPUT = """\
finished in 1.00s, 156608.00 req/s, 14.79MB/s
requests: 1010 total, 1100 started, 1000 done, 900 succeeded, {failed} failed, {errored} errored, 0 timeout
status codes: 900 2xx, 0 3xx, 0 4xx, 100 5xx
"""
LOG = [f"1000\t{503 if number < 100 else 200}\t{number}" for number in range(1, 1001)]


def test_frames_are_cut_where_they_end_and_the_rest_waits() -> None:
    first, second = frame(HEADERS, END_HEADERS, 3, b"abc"), frame(DATA, END_STREAM, 2**31 - 1, b"")
    whole = [(HEADERS, END_HEADERS, 3, b"abc"), (DATA, END_STREAM, 2**31 - 1, b"")]
    assert cut(first + second) == (whole, b"")
    for size in range(len(first + second)):
        found, rest = cut((first + second)[:size])
        assert found == whole[: (size >= len(first))]
        assert b"".join(frame(*one) for one in found) + rest == (first + second)[:size]


def test_settings_and_pings_are_acknowledged_and_acknowledgements_are_not() -> None:
    assert reply(SETTINGS, 0, b"x" * 6) == frame(SETTINGS, ACK, 0)
    assert reply(PING, 0, b"12345678") == frame(PING, ACK, 0, b"12345678")
    assert reply(PING, ACK, b"12345678") == reply(SETTINGS, ACK, b"") == b""


def test_h2loads_counts_and_the_latencies_of_its_log() -> None:
    shot = h2load.parse(OUTPUT.format(failed=100, errored=0), LOG, 2)
    assert (shot.requests, shot.rate, shot.refused, shot.broken) == (1000, 500.0, 99, 1)
    assert (shot.p50, shot.p90, shot.p99, shot.maximum) == (500, 900, 990, 1000)


def test_h2loads_streams_that_were_lost_are_broken() -> None:
    assert h2load.parse(OUTPUT.format(failed=107, errored=7), LOG, 2).broken == 8


def test_no_result_of_h2load_is_an_error_that_shows_the_output() -> None:
    with pytest.raises(H2LoadFailed, match="Could not connect"):
        h2load.parse("Could not connect to host", [], 1)


def test_distinct_paths_are_all_different_and_of_files_that_the_upstream_has(tmp_path: Path) -> None:
    upstream.orders(tmp_path)
    paths = list(rulesets.distinct_paths())
    assert len(set(paths)) == len(paths) == rulesets.ORDERS * rulesets.QUERIES
    for path in paths[: rulesets.ORDERS]:
        assert (tmp_path / path.partition("?")[0][1:]).read_bytes() == upstream.SMALL_BODY


def test_h2load_is_told_the_call_of_grpc_and_the_paths(tmp_path: Path) -> None:
    call = h2load.arguments(H2Load("grpc"), 8080, tmp_path)
    assert Path(call[call.index("--data") + 1]).read_bytes() == rulesets.grpc_message()
    assert "content-type: application/grpc" in call
    assert call[-1] == "http://127.0.0.1:8080/shop.v1.Orders/Get"
    many = h2load.arguments(H2Load("distinct"), 8080, tmp_path)
    listed = Path(many[many.index("--input-file") + 1]).read_text().splitlines()
    assert listed[0] == "http://127.0.0.1:8080/api/v1/orders/4711?expand=items&page=0"


def test_blocks_of_churn_read_in_order_and_each_changes_the_table() -> None:
    decoder = Decoder()
    tables: list[object] = []
    for number, block in enumerate(churn.code(5, 40), 5):
        fields: list[object] = list(decoder.decode(block))
        assert fields == churn.request(number)
        tables.append(list(decoder.header_table.dynamic_entries))
    assert all(before != after for before, after in itertools.pairwise(tables))


@pytest.mark.parametrize(
    ("block", "refusal"),
    [
        (b"\x88\x5f\x01a", False),
        (b"\x20\x88", False),  # the table is emptied before
        (b"\x3f\xe1\x1f\x88", False),  # and given 4096 bytes
        (b"\x3f\xe1\x1f\x48\x03503", True),
        (b"\x8d", True),
        (b"", True),
    ],
)
def test_a_status_other_than_200_is_seen_in_the_coded_head(block: bytes, refusal: bool) -> None:
    assert churn.is_refusal(block) is refusal


class _Wire:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def test_calls_that_overlap_are_echoed_with_blocks_that_the_peer_can_read() -> None:
    wire, echo, decoder = _Wire(), Echo(), Decoder()
    echo.connection_made(wire)  # type: ignore[arg-type]
    sent = PREFACE + b"".join(frame(HEADERS, END_HEADERS, sid, b"\x83") for sid in (1, 3, 5))
    sent += frame(DATA, END_STREAM, 3, b"three") + frame(HEADERS, END_HEADERS, 7, b"\x83")
    sent += b"".join(frame(DATA, END_STREAM, sid, b"x") for sid in (1, 7, 5))
    for at in range(len(sent)):
        echo.data_received(sent[at : at + 1])
    found, rest = cut(b"".join(wire.written))
    got: dict[int, list[object]] = {}
    for kind, _, sid, payload in found:
        got.setdefault(sid, []).append(tuple(decoder.decode(payload)) if kind == HEADERS else payload)
    assert rest == b""
    assert got[3] == [HEAD, b"three", TRAILERS]
    assert got[1] == got[5] == got[7] == [HEAD, b"x", TRAILERS]


def test_the_load_of_churn_and_the_client_meet_a_real_server(tmp_path: Path) -> None:
    need("nghttpd")
    cores = frozenset(os.sched_getaffinity(0))
    with upstream.upstream(tmp_path, cores, upstream.HTTP2) as server:
        lists = [churn.code(1, 50), churn.code(51, 50)]  # few: connections have to be made anew
        tally, elapsed = churn.run(lists, server.port, 0.2, 8)
        with pytest.raises(WrongAnswer, match="status 404"):
            expect(server.port, "/api/v1/none", 200, ask=h2_client.ask)
    assert elapsed >= 0.2
    assert len(tally.taken) > 200
    assert (tally.refused, tally.broken) == (0, 0)


def test_streams_are_held_open_on_the_echo(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "log"
    command = [sys.executable, "-m", "benchmarks.load.echo", str(port)]
    cores = frozenset(os.sched_getaffinity(0))
    with procs.running(command, cores, log, places.ROOT) as pid:
        procs.wait_until(lambda: upstream.Upstream(port, upstream.GRPC).ready(port), pid, log)
        with h2_client.held(port, 150):
            assert h2_client.call(port, b"\0\0\0\0\1!") == (b"\0\0\0\0\1!", "0")


def test_nghttpx_speaks_http2_in_clear_text_on_both_sides() -> None:
    made = nghttpx.arguments(8080, 8081)
    assert "--frontend=127.0.0.1,8080;no-tls" in made
    assert "--backend=127.0.0.1,8081;;proto=h2" in made


def test_who_takes_part_in_the_workloads_of_http2() -> None:
    names = [subject.name for subject in SUBJECTS if workloads.H2_SAME.protocol in subject.protocols]
    assert names == ["misrule compiled", "misrule interpreted", "Envoy", "nghttpx", "no proxy"]
    assert workloads.protocols(["h2-streams", "small-1"]) == [upstream.HTTP1, upstream.GRPC]
    assert workloads.protocols(workloads.NAMES) == list(upstream.PROTOCOLS)


def test_memory_of_streams_is_told_above_idle() -> None:
    text = report.memory_table([MemoryRow("x", 1000, 50 * 2**20, 75 * 2**20)], "open streams")
    assert text.splitlines()[-1].split() == ["x", "50.0", "75.0", "25.0"]
    assert report.memory_table([], "open streams") == ""
